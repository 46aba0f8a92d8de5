mod kinds;
mod manual;

use super::*;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn toml(extra: &str) -> String {
    format!("[job]\nname = \"j\"\nmodule = \"m.wasm\"\n{extra}")
}

#[test]
fn defaults_are_the_documented_ones() {
    let spec = JobSpec::from_toml(&toml("")).unwrap();
    assert_eq!((spec.count, spec.max_running, spec.priority), (1, None, 50));
    assert_eq!(
        spec.resources,
        Resources {
            cpu_milli: 100,
            memory_bytes: 64 << 20,
            fuel: 10_000_000_000,
            timeout_ms: Some(30_000),
            output_bytes: 1 << 20,
            scratch_bytes: 0,
        }
    );
    assert_eq!(spec.retry, Retry { attempts: Some(3), backoff_min_ms: 1_000, backoff_max_ms: 30_000 });
    assert_eq!(spec.module, ModuleRef::Path("m.wasm".to_owned()));
    assert_eq!(spec.module_digest().unwrap_err().problems[0].path, "job.module");
}

#[test]
fn everything_is_read() {
    let text = format!(
        r#"
[job]
name = "word-count"
kind = "batch"
count = 1000
max_running = 200
priority = 70
module = "{DIGEST}"
args = ["--top", "10"]
env = {{ LANG = "C" }}
[resources]
cpu = 0.5
memory = "128MiB"
fuel = 10e9
timeout = "1m"
output = "2MiB"
[[grants.dir]]
host = "corpus"
guest = "/data"
[execution]
mode = "at_least_once"
on_disconnect = "keep"
fenced = false
[retry]
attempts = 5
backoff = "500ms..1m"
[placement]
constraints = ["arch == x86_64", "zone == \"a b\""]
"#
    );
    let spec = JobSpec::from_toml(&text).unwrap();
    assert_eq!((spec.count, spec.max_running, spec.priority), (1_000, Some(200), 70));
    assert_eq!(spec.resources.cpu_milli, 500);
    assert_eq!(spec.resources.fuel, 10_000_000_000);
    assert_eq!(spec.resources.timeout_ms, Some(60_000));
    assert_eq!(spec.dirs, [DirGrant { host: "corpus".to_owned(), guest: "/data".to_owned(), writable: false }]);
    assert_eq!(spec.retry, Retry { attempts: Some(5), backoff_min_ms: 500, backoff_max_ms: 60_000 });
    assert_eq!(spec.placement.constraints[1], "zone == \"a b\"".parse().unwrap());
    assert_eq!(spec.module_digest().unwrap(), DIGEST);

    let document = spec.to_document();
    assert_eq!(JobSpec::from_document(&document).unwrap(), spec, "the canonical form reads back");
    let json = serde_json::to_vec(&document).unwrap();
    assert_eq!(JobSpec::from_json(&json).unwrap(), spec, "through JSON too");
}

/// What is added to a good spec, the key that is refused, and why.
const REFUSALS: &[(&str, &str, &str)] = &[
    ("count = 0", "job.count", "0 is out of range"),
    ("count = 10_000_001", "job.count", "10000001 is out of range"),
    ("count = -1", "job.count", "`-1` is not a number from 0 on"),
    ("count = 1.5", "job.count", "`1.5` is not a whole number of units"),
    ("count = true", "job.count", "is a boolean"),
    ("priority = 101", "job.priority", "101 is out of range"),
    ("max_running = 0", "job.max_running", "0 is out of range"),
    ("kind = \"btach\"", "job.kind", "`btach` is not known; did you mean `batch`?"),
    ("kidn = \"batch\"", "job.kidn", "unknown key; did you mean `kind`?"),
    ("args = [1]", "job.args[0]", "is a number"),
    ("args = \"x\"", "job.args", "is a string"),
    ("args = [\"a\\u0000b\"]", "job.args[0]", "contains a NUL"),
    ("env = { WEIR_RUN = \"x\" }", "job.env.WEIR_RUN", "names starting with `WEIR_` are set by Weir"),
    ("env = { \"a=b\" = \"x\" }", "job.env.a=b", "is not a usable name and string"),
    ("[resources]\ncpu = 0", "resources.cpu", "0 is out of range"),
    ("[resources]\ncpu = 1.5", "resources.cpu", "1.5 is out of range"),
    ("[resources]\nmemory = 64", "resources.memory", "the number 64 has no unit"),
    ("[resources]\nmemory = \"1B\"", "resources.memory", "1B is out of range"),
    ("[resources]\nmemory = \"9GiB\"", "resources.memory", "9GiB is out of range"),
    ("[resources]\ntimeout = \"30\"", "resources.timeout", "`30` has no unit; write one of ms, s, m, h, d"),
    ("[resources]\nfuel = 0", "resources.fuel", "0 is out of range"),
    ("[resources]\nouptut = \"1MiB\"", "resources.ouptut", "unknown key; did you mean `output`?"),
    ("[retry]\nattempts = 0", "retry.attempts", "0 is out of range"),
    ("[retry]\nbackoff = \"30s..1s\"", "retry.backoff", "`30s..1s` is out of range"),
    ("[retry]\nbackoff = \"30s\"", "retry.backoff", "`30s` is not a range"),
    ("[[grants.dir]]\nhost = \"c\"", "grants.dir[0].guest", "is missing"),
    ("[[grants.dir]]\nhost = \"c\"\nguest = \"data\"", "grants.dir[0].guest", "`data` is not absolute"),
    ("[[grants.dir]]\nhost = \"c\"\nguest = \"/a/../b\"", "grants.dir[0].guest", "`/a/../b` contains `.` or `..`"),
    ("[[grants.dir]]\nhost = \"/etc\"\nguest = \"/b\"", "grants.dir[0].host", "`/etc` is not a name"),
    ("[grants]\ndir = 3", "grants.dir", "is a number"),
    ("[execution]\nfenced = 1", "execution.fenced", "is a number"),
    ("count = nan", "job.count", "is nan"),
    ("max_running = inf", "job.max_running", "is inf"),
    ("priority = -inf", "job.priority", "is -inf"),
    ("count = -nan", "job.count", "is nan"),
    ("args = [\"a\", +inf]", "job.args[1]", "is inf"),
    ("[resources]\ncpu = nan", "resources.cpu", "is nan"),
    ("[resources]\nfuel = inf", "resources.fuel", "is inf"),
    ("[resources]\nmemory = nan", "resources.memory", "is nan"),
    ("[execution]\nfenced = nan", "execution.fenced", "is nan"),
    ("count = 2026-11-23", "job.count", "is a date"),
    ("count = 2026-11-23T10:00:00Z", "job.count", "is a date"),
    ("[[grants.dir]]\nhost = 2026-11-23\nguest = \"/c\"", "grants.dir[0].host", "is a date"),
    ("[resources]\ntimeout = 10:00:00", "resources.timeout", "is a time of day"),
    ("[plaecment]", "plaecment", "unknown key; did you mean `placement`?"),
];

#[test]
fn refusals_name_the_key() {
    for (extra, path, reason) in REFUSALS {
        let invalid = JobSpec::from_toml(&toml(extra)).unwrap_err();
        assert_eq!(invalid.problems.len(), 1, "{extra}: {invalid}");
        assert_eq!(
            (invalid.problems[0].path.as_str(), invalid.problems[0].reason.as_str()),
            (*path, *reason),
            "{extra}"
        );
        assert!(invalid.problems[0].allowed.is_some(), "{extra}");
        assert_eq!(invalid.code(), crate::Code::InvalidSpec, "{extra}");
    }
}

#[test]
fn a_directory_is_writable_only_where_that_is_said() {
    for (mode, writable) in [("", false), ("mode = \"ro\"", false), ("mode = \"rw\"", true)] {
        let text = toml(&format!("[[grants.dir]]\nhost = \"c\"\nguest = \"/c\"\n{mode}"));
        let spec = JobSpec::from_toml(&text).unwrap();
        assert_eq!(spec.dirs[0].writable, writable, "{mode}");
        assert_eq!(JobSpec::from_document(&spec.to_document()).unwrap(), spec);
    }
    let invalid = JobSpec::from_toml(&toml("[[grants.dir]]\nhost = \"c\"\nguest = \"/c\"\nmode = \"w\"")).unwrap_err();
    assert_eq!(invalid.problems[0].path, "grants.dir[0].mode");
}

#[test]
fn places_to_connect_to_are_read() {
    let text = "[[grants.net]]\nhost = \"DB.internal\"\nport = 5432\n[[grants.net]]\nhost = \"fd00::1\"\nport = 1";
    let spec = JobSpec::from_toml(&toml(text)).unwrap();
    let nets: Vec<_> = spec.nets.iter().map(|net| (net.host.as_str(), net.port)).collect();
    assert_eq!(nets, [("db.internal", 5432), ("fd00::1", 1)]);
    assert_eq!(JobSpec::from_document(&spec.to_document()).unwrap(), spec);
}

#[test]
fn a_null_of_json_counts_as_not_written() {
    let text = br#"{"job":{"name":"j","module":"m","count":null},"resources":{"cpu":null}}"#;
    let spec = JobSpec::from_json(text).unwrap();
    assert_eq!((spec.count, spec.resources.cpu_milli), (1, 100));
}

#[test]
fn all_problems_are_reported_together() {
    let text = "typo = 1\n[job]\nname = \"No\"\ncount = 0\n[resources]\nmemory = \"x\"\n[retry]\nattempts = 1000\n";
    let invalid = JobSpec::from_toml(text).unwrap_err();
    let paths: Vec<&str> = invalid.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["typo", "job.name", "job.count", "job.module", "resources.memory", "retry.attempts"]);
}

#[test]
fn a_guest_path_is_granted_once() {
    let dir = "[[grants.dir]]\nhost = \"c\"\nguest = \"/c\"\n";
    let invalid = JobSpec::from_toml(&toml(&format!("{dir}{dir}"))).unwrap_err();
    assert_eq!(invalid.problems[0].path, "grants.dir[1].guest");
}

#[test]
fn syntax_errors_are_not_panics() {
    for text in ["", "[job", "job = 1", "\u{0}", "[job]\nname = 1"] {
        assert!(JobSpec::from_toml(text).is_err(), "{text:?}");
    }
    for text in [&b"[]"[..], b"null", b"{", b"{\"job\":[]}", b"\xff", b"{\"job\":{\"name\":null}}"] {
        assert!(JobSpec::from_json(text).is_err());
    }
}

#[test]
fn names_and_digests() {
    for (name, ok) in [
        ("a", true),
        ("word-count_2.x", true),
        ("", false),
        ("-a", false),
        ("a-", false),
        ("A", false),
        ("a/b", false),
        ("ä", false),
        (&"a".repeat(63), true),
        (&"a".repeat(64), false),
    ] {
        assert_eq!(check_name(name).is_ok(), ok, "{name}");
    }
    assert!(check_digest(DIGEST).is_ok());
    for digest in ["sha256:", &DIGEST[..70], &DIGEST.to_uppercase(), "md5:00"] {
        assert!(check_digest(digest).is_err(), "{digest}");
    }
}
