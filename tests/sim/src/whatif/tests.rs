//! What-if against whole small clusters.

use super::*;

const NODES: &str = r#"
[[node]]
name = "big"
count = 2
cpu = 4
memory = "8GiB"
attributes = { zone = "a" }

[[node]]
name = "small"
count = 2
cpu = 2
memory = "4GiB"
attributes = { zone = "b" }
"#;

fn run(trace: &str) -> Report {
    let cluster = Cluster::parse("nodes.toml", NODES).expect("nodes");
    let workload = Workload::parse("trace.jsonl", trace.as_bytes()).expect("a workload");
    simulate(&cluster, &workload, &Options::default()).expect("a simulation")
}

#[test]
fn a_full_cluster_runs_in_waves() {
    // 12 cores: two waves of 12 tasks of a core each.
    let report = run(r#"{"job":"a","count":24,"cpu":1,"memory":"1GiB","duration":10,"usage":0.5}"#);
    assert_eq!((report.tasks_ended, report.tasks_never_started), (24, 0));
    assert!((20.0..20.1).contains(&report.makespan_s), "{}", report.makespan_s);
    let share = |found: f64, expected: f64| (found - expected).abs() < 0.01;
    assert!(share(report.cpu.reserved.mean, 1.0) && share(report.cpu.used.mean, 0.5), "{:?}", report.cpu);
    assert!(share(report.memory.reserved.peak, 0.5), "{:?}", report.memory);
    let waits = &report.waiting_by_tier[0];
    assert!(waits.p50_s < 0.1 && waits.max_s >= 10.0 && waits.max_s < 10.1, "{waits:?}");
}

/// A file beside this crate's sources.
fn testdata(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn convert(files: &[&str]) -> Result<alibaba::Converted, Error> {
    let mut converter = alibaba::Converter::new(Some("512GiB")).expect("a size");
    for file in files {
        converter.read(&testdata(file))?;
    }
    converter.finish()
}

#[test]
fn a_public_trace_becomes_a_cluster_and_a_workload_that_run() {
    let nodes = convert(&["alibaba-2018/machine_meta.csv"]).expect("machines");
    assert_eq!(
        nodes.notes[..2],
        [
            "1 lines were left out: a further event of a machine",
            "1 lines were left out: a machine without CPU or memory",
        ]
    );
    let cluster = Cluster::parse("nodes.toml", &nodes.text).expect("nodes");
    let sizes: Vec<_> = cluster.groups.iter().map(|group| (group.count, group.resources.cpu.0)).collect();
    assert_eq!(sizes, [(2, 96_000), (1, 64_000), (1, 96_000)]);
    assert_eq!(cluster.groups[1].attributes["failure_domain_2"], "12");

    let trace = convert(&["alibaba-2018/batch_task.csv"]).expect("tasks");
    assert_eq!(trace.notes.len(), 4, "{:?}", trace.notes);
    let lines: Vec<&str> = trace.text.lines().collect();
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[0], r#"{"at":0,"job":"j-7-0-0","count":40,"cpu":1.0,"memory":"2098MiB","duration":60}"#);
    assert!(trace.text.contains(
        r#""job":"j-7-0-2","count":5,"cpu":1.0,"memory":"2098MiB","duration":30,"after":["j-7-0-1","j-7-0-3"]"#
    ));
    let workload = Workload::parse("trace.jsonl", trace.text.as_bytes()).expect("a workload");
    assert_eq!(workload.tasks(), 263);
    let report = simulate(&cluster, &workload, &Options::default()).expect("a simulation");
    assert_eq!((report.tasks_ended, report.tasks_never_started), (263, 0));
}

#[test]
fn what_is_no_such_table_is_refused_with_its_line() {
    for (text, expected) in [
        ("a,b\n", "t.csv line 1: has 2 columns"),
        ("m,0,1,1,96,100,USING\nM1,1,j,1,Terminated,1,2,100,1\n", "t.csv line 2: has 9 columns"),
        ("m,0,1,1,x,100,USING\n", "t.csv line 1: cpu_num is \"x\""),
        ("m,0,1,1,96,101,USING\n", "t.csv line 1: mem_size is 101"),
        ("M1,1,j,1,Terminated,x,2,100,1\n", "t.csv line 1: start_time is \"x\""),
        ("M1,1,j,1,Terminated,1,2,900000,1\n", "t.csv line 1: cpu is 9000"),
        (
            "M1_2,1,j,1,Terminated,1,2,100,1\nM2_1,1,j,1,Terminated,1,2,100,1\n",
            "t.csv line 1: task M1_2 of job j waits",
        ),
        ("M1,1,j,1,Failed,1,2,100,1\n", "nothing is left to convert"),
        ("", "nothing is left to convert"),
    ] {
        let mut converter = alibaba::Converter::new(None).expect("the default");
        let done = converter.table("t.csv", text.as_bytes()).and_then(|()| converter.finish().map(|_| ()));
        let error = done.expect_err(text).to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    assert!(alibaba::Converter::new(Some("many")).is_err());
}

#[test]
fn wrong_lines_of_a_workload_are_refused_with_their_number() {
    for (line, expected) in [
        ("{", "EOF while parsing"),
        ("[]", "invalid"),
        (r#"{"job":"a","duration":1,"memry":"1GiB"}"#, "unknown field `memry`"),
        (r#"{"duration":1}"#, "missing field `job`"),
        (r#"{"job":"a"}"#, "duration is missing"),
        (r#"{"job":"A B","duration":1}"#, "job: "),
        (r#"{"job":"a","duration":-1}"#, "duration is -1"),
        (r#"{"job":"a","duration":[]}"#, "a list of durations"),
        (r#"{"job":"a","duration":{"mean":1,"max":2}}"#, "a drawn duration is"),
        (r#"{"job":"a","duration":{"min":2,"max":1}}"#, "a drawn duration is"),
        (r#"{"job":"a","duration":{"mean":1,"sigma":9}}"#, "sigma"),
        (r#"{"job":"a","duration":1,"at":1e99}"#, "at is"),
        (r#"{"job":"a","duration":1,"cpu":0}"#, "cpu is 0"),
        (r#"{"job":"a","duration":1,"memory":"0B"}"#, "memory is 0"),
        (r#"{"job":"a","duration":1,"memory":"1"}"#, "is not a size"),
        (r#"{"job":"a","duration":1,"priority":101}"#, "priority is 101"),
        (r#"{"job":"a","duration":1,"count":0}"#, "count is 0"),
        (r#"{"job":"a","duration":1,"usage":2}"#, "usage of cpu is 2"),
        (r#"{"job":"a","duration":1,"usage":{"disk":1}}"#, "usage is a number from 0 to 1, or"),
        (r#"{"job":"a","duration":"long"}"#, "duration is a number of seconds, a list"),
        (r#"{"job":"a","duration":1,"kind":"cron"}"#, "unknown variant `cron`"),
        (r#"{"job":"a","duration":[1],"kind":"service"}"#, "is one number"),
        (r#"{"job":"a","duration":1,"kind":"function","count":2}"#, "has no count"),
        (r#"{"job":"a","duration":1,"tier":"best"}"#, "unknown variant `best`"),
        (r#"{"job":"a","duration":1,"constraints":["zone"]}"#, "constraint \"zone\": "),
        (r#"{"job":"a","duration":1,"after":["b"]}"#, "no job b is submitted before"),
        (r#"{"job":"a","duration":1,"after":["a"]}"#, "no job a is submitted before"),
        (r#"{"job":"ok","duration":1,"after":["ok:maybe"]}"#, "is none of success, failure, any"),
    ] {
        let text = format!("{{\"job\":\"ok\",\"duration\":1}}\n\n{line}\n");
        let error = Workload::parse("trace.jsonl", text.as_bytes()).expect_err(line).to_string();
        assert!(error.starts_with("trace.jsonl line 3: ") && error.contains(expected), "{line}: {error}");
    }
    let error = Workload::parse("trace.jsonl", "\n".as_bytes()).expect_err("nothing").to_string();
    assert_eq!(error, "trace.jsonl: submits nothing");
}

#[test]
fn wrong_nodes_are_refused_with_their_line() {
    for (text, expected) in [
        ("[[node]]\ncpu = 1\n", "nodes.toml line 1: missing field `memory`"),
        ("\n[[node]]\ncpu = 1\nmemory = \"1GiB\"\ncpus = 2\n", "nodes.toml line 5: unknown field `cpus`"),
        ("[[node]]\ncpu = 0\nmemory = \"1GiB\"\n", "nodes.toml line 1: cpu is 0"),
        ("[[node]]\nname = \"A\"\ncpu = 1\nmemory = \"1GiB\"\n", "nodes.toml line 1: name \"A\""),
        ("[[node]]\ncpu = 1\nmemory = \"1GiB\"\nlanes = 0\n", "nodes.toml line 1: lanes is 0"),
        ("[[node]]\ncount = 100001\ncpu = 1\nmemory = \"1GiB\"\n", "count is 100001"),
        ("[[quota]]\nnamespace = \"a\"\nweight = 0\n", "nodes.toml line 1: weight is 0"),
        ("[[node]\n", "nodes.toml line 1: "),
        ("", "nodes.toml: describes no node"),
    ] {
        let error = Cluster::parse("nodes.toml", text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

/// The example of the documentation; with `WEIR_BLESS` set, the file is written anew.
#[test]
fn the_example_has_its_report() {
    let cluster = Cluster::read(&testdata("what-if/nodes.toml")).expect("nodes");
    let workload = Workload::read(&testdata("what-if/trace.jsonl")).expect("a workload");
    let options = Options::default();
    let report = simulate(&cluster, &workload, &options).expect("a simulation");
    assert_eq!(report, simulate(&cluster, &workload, &options).expect("the same simulation"));
    let path = testdata("what-if/report.txt");
    let text = report.to_string();
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(&path, &text).expect("the file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, text, "if the change is meant, run the test with WEIR_BLESS=1");
    let json = serde_json::to_value(&report).expect("a report is plain data");
    assert_eq!(json["waiting_for_ever"][0]["job"], "huge");
}

/// Twelve cores and 24 GiB, all of it reserved by production that uses a part.
const RESERVED: &str = r#"{"job":"web","kind":"service","tier":"production","count":12,"cpu":1,"memory":"2GiB","usage":{"cpu":0.3,"memory":0.5},"duration":600}"#;

#[test]
fn revocable_work_uses_what_production_leaves_idle_and_evicts_none_of_it() {
    let trace = format!(
        "{RESERVED}\n{}",
        r#"{"at":20,"job":"train","tier":"revocable","count":200,"cpu":0.5,"memory":"512MiB","duration":30}"#
    );
    let cluster = Cluster::parse("nodes.toml", NODES).expect("nodes");
    let workload = Workload::parse("trace.jsonl", trace.as_bytes()).expect("a workload");
    let options = Options { until: Some(core::time::Duration::from_secs(600)), ..Options::default() };
    let with = simulate(&cluster, &workload, &options).expect("a simulation");
    let without = simulate(&cluster, &workload.without_revocable(), &options).expect("a simulation");
    assert_eq!((with.tasks_ended, with.tasks_never_started), (200, 0));
    assert_eq!(with.ended_early("preempted"), 0);
    assert_eq!((with.waiting_by_tier[0].name.as_str(), with.waiting_by_tier[0].tasks), ("production", 12));
    assert!(with.waiting_by_tier[0].max_s < 1.0, "{:?}", with.waiting_by_tier);
    // 200 tasks of half a core for 30 s, over 12 cores and 600 s.
    let gained = with.mean_used().0 - without.mean_used().0;
    assert!((gained - 0.4167).abs() < 0.001, "gained {gained}");
    assert!(with.oversubscription.cpu_reserved_beyond > 0.3, "{:?}", with.oversubscription);
    let compared = with.compared_with(&without);
    assert!(compared.to_string().contains("gained        +41.7 points of CPU"), "{compared}");
}

#[test]
fn production_makes_room_for_itself_and_nothing_else_does() {
    for (tier, evicted) in [("production", 4), ("preemptible", 0), ("revocable", 0)] {
        let report = run(&format!(
            "{}\n{{\"at\":100,\"job\":\"b\",\"tier\":\"{tier}\",\"count\":4,\"cpu\":1,\"duration\":50}}\n",
            r#"{"job":"a","count":12,"cpu":1,"memory":"1GiB","duration":1000}"#
        ));
        assert_eq!(report.ended_early("preempted"), evicted, "{tier}");
        assert_eq!((report.tasks_ended, report.tasks_never_started), (16, 0), "{tier}");
        let waits = report.waiting_by_tier.iter().find(|waits| waits.tasks == 4);
        // A second before it evicts, ten for those that go; others wait until the first ones end.
        let max = waits.map_or(900.0, |waits| waits.max_s);
        assert!(if evicted > 0 { (11.0..12.0).contains(&max) } else { max >= 900.0 }, "{tier}: {max}");
    }
}

#[test]
fn packed_nodes_leave_room_for_large_tasks() {
    let cluster = Cluster::parse("nodes.toml", NODES).expect("nodes");
    let trace = "{\"job\":\"small\",\"count\":4,\"cpu\":1,\"duration\":100}\n\
                 {\"at\":1,\"job\":\"large\",\"cpu\":4,\"duration\":10}\n";
    let workload = Workload::parse("trace.jsonl", trace.as_bytes()).expect("a workload");
    let wait = |policy| {
        let options = Options { policy, ..Options::default() };
        let report = simulate(&cluster, &workload, &options).expect("a simulation");
        report.waiting_by_tier[0].max_s
    };
    let (spread, pack) = (wait(Policy::Spread), wait(Policy::Pack));
    assert!(pack < 1.0 && spread > 90.0, "packed: {pack}, spread: {spread}");
}

#[test]
fn stages_wait_for_each_other_and_not_for_their_place() {
    let report = run("{\"job\":\"extract\",\"count\":3,\"cpu\":1,\"duration\":[10,20]}\n\
         {\"job\":\"load\",\"cpu\":1,\"duration\":5,\"after\":[\"extract\"]}\n\
         {\"job\":\"agent\",\"kind\":\"system\",\"tier\":\"production\",\"cpu\":0.1,\"duration\":20}\n\
         {\"job\":\"ask\",\"kind\":\"function\",\"cpu\":0.1,\"duration\":1}\n");
    assert_eq!((report.tasks_ended, report.tasks_started, report.tasks_never_started), (5, 9, 0));
    assert!((25.0..25.5).contains(&report.makespan_s), "{}", report.makespan_s);
    assert!(report.waiting_by_tier.iter().all(|waits| waits.max_s < 0.1), "{:?}", report.waiting_by_tier);
}

#[test]
fn a_quota_that_is_full_refuses_a_line_and_the_rest_goes_on() {
    let nodes = format!("{NODES}\n[[quota]]\nnamespace = \"web\"\ncpu = 2\n");
    let cluster = Cluster::parse("nodes.toml", &nodes).expect("nodes");
    let line = "{\"job\":\"a\",\"namespace\":\"web\",\"tier\":\"production\",\"count\":2,\"cpu\":1,\"duration\":10}\n";
    let workload = Workload::parse("trace.jsonl", format!("{line}{line}").as_bytes()).expect("a workload");
    let report = simulate(&cluster, &workload, &Options::default()).expect("a simulation");
    assert_eq!((report.tasks_ended, report.lines_refused, report.refused[0].line), (2, 1, 2));
    assert!(report.refused[0].why.contains("quota"), "{:?}", report.refused);
}
