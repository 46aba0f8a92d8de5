use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use weir_sdk::testing::TestHost;

use super::*;

/// A directory of its own for one test, removed afterwards.
struct Corpus(PathBuf);

impl Corpus {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("wordcount-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(root)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Corpus {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(index: u32, count: u32, input: Input) -> Result<Output, Error> {
    TestHost::new().task(index, count).run(|| wordcount(Some(input))).value
}

fn all_of(path: &Path) -> Input {
    Input { path: Some(path.to_owned()), files: Vec::new(), top: Some(TOP_MAX) }
}

#[test]
fn the_tasks_of_a_run_divide_a_corpus() {
    let long = "the quick brown fox jumps over the lazy dog — don't ask why\n".repeat(50);
    let corpus = Corpus::new("divide", &[("a.txt", &long), ("sub/b.txt", "the end"), ("empty", ""), ("z", "THE END.")]);
    let whole = run(0, 1, all_of(corpus.path())).unwrap();
    assert_eq!((whole.files, whole.words), (3, 50 * 12 + 4));
    assert_eq!(whole.top[0], Count { word: "the".to_owned(), count: 102 });

    for count in [2, 3, 7, 64] {
        let mut sum = BTreeMap::new();
        let (mut words, mut bytes) = (0, 0);
        for index in 0..count {
            let output = run(index, count, all_of(corpus.path())).unwrap();
            (words, bytes) = (words + output.words, bytes + output.bytes);
            for Count { word, count } in output.top {
                *sum.entry(word).or_insert(0) += count;
            }
        }
        assert_eq!((words, bytes), (whole.words, whole.bytes), "{count} tasks");
        let expected: BTreeMap<_, _> = whole.top.iter().map(|top| (top.word.clone(), top.count)).collect();
        assert_eq!(sum, expected, "{count} tasks");
    }
}

#[test]
fn files_are_named_one_by_one() {
    let corpus = Corpus::new("files", &[("a", "one two"), ("b", "three"), ("c", "four")]);
    let files = vec![corpus.path().join("c"), corpus.path().join("a")];
    let output = run(0, 1, Input { files, ..Input::default() }).unwrap();
    assert_eq!((output.files, output.bytes, output.words, output.distinct), (2, 11, 3, 3));
}

#[test]
fn input_and_output_on_the_wire() {
    let corpus = Corpus::new("wire", &[("a", "b a b")]);
    let input = format!(r#"{{"path":"{}","top":1}}"#, corpus.path().display());
    let seen = TestHost::new().run_payload(input.as_bytes(), wordcount);
    let expected = r#"{"files":1,"bytes":5,"words":3,"distinct":2,"top":[{"word":"b","count":2}]}"#;
    assert_eq!(String::from_utf8(seen.value.unwrap()).unwrap(), expected);
    assert_eq!(seen.progress, [(5, 5)]);
}

#[test]
fn more_tasks_than_bytes_leaves_some_without_work() {
    let corpus = Corpus::new("few", &[("a", "x")]);
    let words: u64 = (0..5).map(|index| run(index, 5, all_of(corpus.path())).unwrap().words).sum();
    assert_eq!(words, 1);
}

#[test]
fn mistakes_in_the_input_are_explained() {
    let missing = "failed to read /nowhere (a published directory is granted with `--grant dir:NAME:/data:ro`): ";
    for (payload, message) in [
        (r#"{"path":"/nowhere"}"#, missing),
        (r#"{"path":"/a","files":["/b"]}"#, "give either `path` or `files`, not both"),
        (r#"{"top":1001}"#, "top is 1001, the most is 1000"),
        (r#"{"topp":1}"#, "unknown field `topp`"),
    ] {
        let error = TestHost::new().run_payload(payload.as_bytes(), wordcount).value.unwrap_err();
        assert!(error.message().contains(message), "{error}");
    }
}

#[test]
#[cfg(unix)]
fn links_in_a_directory_are_left_out() {
    let corpus = Corpus::new("links", &[("a", "one")]);
    std::os::unix::fs::symlink(corpus.path(), corpus.path().join("loop")).unwrap();
    std::os::unix::fs::symlink(corpus.path().join("a"), corpus.path().join("b")).unwrap();
    let seen = TestHost::new().run(|| wordcount(Some(all_of(corpus.path()))));
    assert_eq!(seen.value.unwrap().words, 1);
    assert_eq!(seen.log.iter().filter(|(level, _)| *level == log::Level::Debug).count(), 2);
}
