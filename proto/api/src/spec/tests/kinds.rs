//! What the kinds, tiers and sections mean for each other.

use super::super::*;
use super::toml;

fn read(extra: &str) -> JobSpec {
    JobSpec::from_toml(&toml(extra)).unwrap_or_else(|invalid| panic!("{extra}: {invalid}"))
}

#[test]
fn each_kind_has_its_own_defaults() {
    for (extra, kind, count, timeout_ms, fuel, attempts) in [
        ("", Kind::Batch, 1, Some(30_000), 10_000_000_000, Some(3)),
        ("kind = \"service\"", Kind::Service, 1, None, *limits::FUEL.end(), None),
        ("kind = \"cron\"\n[cron]\nschedule = \"@daily\"", Kind::Cron, 1, Some(30_000), 10_000_000_000, Some(3)),
        ("kind = \"system\"", Kind::System, 1, None, *limits::FUEL.end(), None),
        ("kind = \"function\"", Kind::Function, 1, None, *limits::FUEL.end(), Some(3)),
    ] {
        let spec = read(extra);
        assert_eq!((spec.kind, spec.count), (kind, count), "{extra}");
        assert_eq!((spec.resources.timeout_ms, spec.resources.fuel), (timeout_ms, fuel), "{extra}");
        assert_eq!(spec.retry.attempts, attempts, "{extra}");
        assert_eq!(spec.tier, Tier::Preemptible, "{extra}");
        assert_eq!(spec.cron.is_some(), kind == Kind::Cron, "{extra}");
        assert_eq!(spec.update.is_some(), kind == Kind::Service, "{extra}");
        assert_eq!(spec.to_document().job.count.is_some(), kind.counts(), "{extra}");
    }
    let cron = read("kind = \"cron\"\n[cron]\nschedule = \"@daily\"").cron.unwrap();
    assert_eq!((cron.time_zone.as_str(), cron.overlap), ("UTC", Overlap::Forbid));
    assert_eq!(cron.start_deadline_ms, 3_600_000);
    assert_eq!(read("kind = \"service\"").update, Some(Update { healthy_after_ms: 5_000 }));
}

#[test]
fn execution_follows_the_fence() {
    use {Mode::AtLeastOnce, Mode::AtMostOnce, OnDisconnect::Keep, OnDisconnect::Stop};
    for (extra, mode, on_disconnect, fenced, attempts) in [
        ("", AtLeastOnce, Keep, false, 3),
        ("[execution]\non_disconnect = \"stop\"", AtLeastOnce, Stop, false, 3),
        ("[execution]\nfenced = true", AtLeastOnce, Stop, true, 3),
        ("[execution]\nfenced = true\non_disconnect = \"stop\"", AtLeastOnce, Stop, true, 3),
        ("[execution]\nmode = \"at_most_once\"", AtMostOnce, Stop, true, 1),
        ("[execution]\nmode = \"at_most_once\"\nfenced = true\n[retry]\nattempts = 1", AtMostOnce, Stop, true, 1),
    ] {
        let spec = read(extra);
        assert_eq!(spec.execution, Execution { mode, on_disconnect, fenced, deterministic: false }, "{extra}");
        assert_eq!(spec.retry.attempts, Some(attempts), "{extra}");
    }
}

/// One spec of every kind with everything that it may have.
pub(super) const COMPLETE: &[&str] = &[
    r#"
count = 7
max_running = 3
max_failed = 0
start_deadline = "10m"
after = ["extract", { job = "load", when = "any" }, { job = "clean", when = "failure" }]
input_from = "extract"
tier = "production"
[execution]
mode = "at_most_once"
[placement]
constraints = ["arch == x86_64", "zone != c", "zone in [a, b]", "rack not in [r1]", 'os matches "^linux"',
    "kernel version >= 6.1", "gpu exists", "fpga not exists"]
affinities = ["zone == a : 50", { constraint = "disk == ssd", weight = -20 }, 'image == "a:1" : -100']
spread = "zone"
max_per_node = 2
pool = "gpu"
"#,
    r#"
kind = "service"
count = 3
tier = "production"
[update]
healthy_after = "0ms"
[[grants.net]]
host = "db.internal"
port = 5432
[execution]
fenced = true
[retry]
backoff = "2s..5m"
[resources]
timeout = "none"
[placement]
spread = "rack"
max_per_node = 1
"#,
    r#"
kind = "cron"
count = 4
max_failed = 10
start_deadline = "30s"
[cron]
schedule = "0 */5  * * * *"
time_zone = "Europe/Berlin"
overlap = "replace"
start_deadline = "90m"
[resources]
timeout = "7d"
"#,
    r#"
kind = "system"
tier = "revocable"
[resources]
timeout = "1d"
scratch = "3MiB"
[execution]
on_disconnect = "stop"
[placement]
constraints = ["gpu exists"]
"#,
    r#"
kind = "function"
start_deadline = "1s"
[execution]
deterministic = true
[resources]
timeout = "none"
[retry]
attempts = 1
"#,
];

#[test]
fn the_canonical_form_of_every_kind_reads_back() {
    for extra in COMPLETE {
        let spec = read(extra);
        let document = spec.to_document();
        assert_eq!(JobSpec::from_document(&document).unwrap(), spec, "{extra}");
        let written = ::toml::to_string(&document).unwrap();
        assert_eq!(JobSpec::from_toml(&written).unwrap(), spec, "through TOML: {written}");
        let json = serde_json::to_vec(&document).unwrap();
        assert_eq!(serde_json::from_slice::<Document>(&json).unwrap(), document, "{extra}");
    }
}

#[test]
fn long_and_short_forms_mean_the_same() {
    let spec = read(COMPLETE[0]);
    let after: Vec<_> = spec.after.iter().map(|after| (after.job.as_str(), after.when)).collect();
    assert_eq!(after, [("extract", When::Success), ("load", When::Any), ("clean", When::Failure)]);
    let affinities: Vec<_> =
        spec.placement.affinities.iter().map(|wish| (wish.constraint.to_string(), wish.weight)).collect();
    let expected = [("zone == a", 50), ("disk == ssd", -20), ("image == a:1", -100)];
    assert_eq!(affinities, expected.map(|(constraint, weight)| (constraint.to_owned(), weight)));
}

/// What is added to a good spec, the key that is refused, and a part of why.
const CONTRADICTIONS: &[(&str, &str, &str)] = &[
    ("kind = \"system\"\ncount = 2", "job.count", "does not apply to a system job"),
    ("kind = \"function\"\ncount = 1", "job.count", "does not apply to a function job"),
    ("kind = \"service\"\ncount = 100_001", "job.count", "100001 is out of range"),
    ("kind = \"service\"\nmax_running = 2", "job.max_running", "does not apply to a service job"),
    ("kind = \"service\"\nmax_failed = 2", "job.max_failed", "does not apply to a service job"),
    ("kind = \"function\"\nmax_failed = 2", "job.max_failed", "does not apply to a function job"),
    ("kind = \"system\"\nstart_deadline = \"1m\"", "job.start_deadline", "does not apply to a system job"),
    ("kind = \"service\"\nstart_deadline = \"1m\"", "job.start_deadline", "does not apply to a service job"),
    ("start_deadline = \"10ms\"", "job.start_deadline", "10ms is out of range"),
    ("kind = \"service\"\nafter = [\"a\"]", "job.after", "does not apply to a service job"),
    ("kind = \"cron\"\nafter = []\n[cron]\nschedule = \"@daily\"", "job.after", "does not apply to a cron job"),
    ("kind = \"function\"\ninput_from = \"a\"", "job.input_from", "does not apply to a function job"),
    ("after = [\"j\"]", "job.after[0]", "is the job itself"),
    ("after = [\"a\", { job = \"a\", when = \"any\" }]", "job.after[1]", "names the job of entry 0 again"),
    ("after = [\"A\"]", "job.after[0]", "`A` is not a name"),
    ("after = [1]", "job.after[0]", "is a number"),
    ("after = [{ job = \"a\", when = \"sucess\" }]", "job.after[0].when", "did you mean `success`?"),
    ("after = [{ when = \"any\" }]", "job.after[0].job", "is missing"),
    ("after = [{ job = \"a\", wehn = \"any\" }]", "job.after[0].wehn", "did you mean `when`?"),
    ("input_from = \"a\"", "job.input_from", "`a` is not in `after`"),
    ("after = [{ job = \"a\", when = \"any\" }]\ninput_from = \"a\"", "job.input_from", "no results for"),
    ("tier = \"prod\"", "job.tier", "`prod` is not known; did you mean `production`?"),
    ("kind = \"cron\"", "cron", "is missing"),
    ("[cron]\nschedule = \"@daily\"", "cron", "does not apply to a batch job"),
    ("kind = \"cron\"\n[cron]", "cron.schedule", "is missing"),
    ("kind = \"cron\"\n[cron]\nschedule = \"* * * *\"", "cron.schedule", "it has 4 fields"),
    ("kind = \"cron\"\n[cron]\nschedule = \"0 0 30 2 *\"", "cron.schedule", "never fires"),
    ("kind = \"cron\"\n[cron]\nschedule = 5", "cron.schedule", "is a number"),
    ("kind = \"cron\"\n[cron]\nschedule = \"@daily\"\ntime_zone = \"Mars\"", "cron.time_zone", "is not a time zone"),
    ("kind = \"cron\"\n[cron]\nschedule = \"@daily\"\noverlap = \"skip\"", "cron.overlap", "`skip` is not known"),
    ("kind = \"cron\"\n[cron]\nschedule = \"@daily\"\nstart_deadline = \"31d\"", "cron.start_deadline", "31d is out"),
    ("[update]\nhealthy_after = \"1s\"", "update", "does not apply to a batch job"),
    ("kind = \"service\"\n[update]\nhealthy_after = \"2h\"", "update.healthy_after", "2h is out of range"),
    ("[resources]\ntimeout = \"none\"", "resources.timeout", "the tasks of a batch job have to end"),
    ("kind = \"function\"\n[resources]\ntimeout = \"8d\"", "resources.timeout", "8d is out of range"),
    ("[execution]\nmode = \"at_most_once\"\nfenced = false", "execution.fenced", "is always fenced"),
    ("[execution]\nmode = \"at_most_once\"\non_disconnect = \"keep\"", "execution.on_disconnect", "second copy"),
    ("[execution]\nfenced = true\non_disconnect = \"keep\"", "execution.on_disconnect", "second copy"),
    ("kind = \"service\"\n[execution]\nmode = \"at_most_once\"", "execution.mode", "does not apply to a service"),
    ("kind = \"system\"\n[execution]\nmode = \"at_most_once\"", "execution.mode", "does not apply to a system"),
    ("[execution]\nmode = \"at_most_once\"\n[retry]\nattempts = 2", "retry.attempts", "has one attempt"),
    ("[resources]\nscratch = \"1KiB\"", "resources.scratch", "1KiB is out of range"),
    (
        "[resources]\nscratch = \"1MiB\"\n[[grants.dir]]\nhost = \"c\"\nguest = \"/tmp/\"",
        "grants.dir[0].guest",
        "where the scratch directory is",
    ),
    ("[resources]\nscratch = \"1MiB\"\n[execution]\ndeterministic = true", "execution.deterministic", "real times"),
    ("[[grants.net]]\nhost = \"a.b\"", "grants.net[0].port", "is missing"),
    ("[[grants.net]]\nhost = \"a.b\"\nport = 65536", "grants.net[0].port", "out of range"),
    ("[[grants.net]]\nhost = \"a b\"\nport = 1", "grants.net[0].host", "no name and no address"),
    ("[[grants.net]]\nhost = \"127.1\"\nport = 1", "grants.net[0].host", "no name and no address"),
    ("[[grants.net]]\nhost = \"::ffff:127.0.0.1\"\nport = 1", "grants.net[0].host", "write 127.0.0.1"),
    ("[[grants.net]]\nhost = \"0.0.0.0\"\nport = 1", "grants.net[0].host", "the address of no machine"),
    (
        "[[grants.net]]\nhost = \"a.b\"\nport = 1\n[execution]\ndeterministic = true",
        "execution.deterministic",
        "hear from elsewhere",
    ),
    ("kind = \"system\"\n[execution]\ndeterministic = true", "execution.deterministic", "does not apply to a system"),
    (
        "[execution]\ndeterministic = true\n[[grants.dir]]\nhost = \"c\"\nguest = \"/c\"\nmode = \"rw\"",
        "execution.deterministic",
        "grants.dir[0] lets `c` be changed",
    ),
    ("kind = \"service\"\n[retry]\nattempts = 2", "retry.attempts", "does not apply to a service job"),
    ("kind = \"system\"\n[retry]\nattempts = 1", "retry.attempts", "does not apply to a system job"),
    ("[placement]\nconstraints = [\"zone\"]", "placement.constraints[0]", "has no operator"),
    ("[placement]\nconstraints = [\"pool == a\"]", "placement.constraints[0]", "set `placement.pool`"),
    ("[placement]\nconstraints = [\"a == 1\", \"b == 1\", \"a == 2\"]", "placement.constraints[2]", "no node meets"),
    ("[placement]\nconstraints = [\"a in [1, 2]\", \"a not in [2, 1]\"]", "placement.constraints[1]", "no node meets"),
    ("[placement]\nconstraints = [\"a != 1\", \"a = 1\"]", "placement.constraints[1]", "no node meets"),
    ("[placement]\nconstraints = [\"a not exists\", \"a matches x\"]", "placement.constraints[1]", "no node meets"),
    ("[placement]\nconstraints = [\"a exists\", \"a not exists\"]", "placement.constraints[1]", "no node meets"),
    ("[placement]\naffinities = [\"zone == a\"]", "placement.affinities[0]", "has no weight"),
    ("[placement]\naffinities = [\"image == a:50\"]", "placement.affinities[0]", "has no weight"),
    ("[placement]\naffinities = [\"zone == a : 0\"]", "placement.affinities[0]", "`0` is not a weight"),
    ("[placement]\naffinities = [\"zone == a : 101\"]", "placement.affinities[0]", "`101` is not a weight"),
    ("[placement]\naffinities = [\"zone : 10\"]", "placement.affinities[0]", "has no operator"),
    ("[placement]\naffinities = [{ constraint = \"a exists\" }]", "placement.affinities[0].weight", "is missing"),
    (
        "[placement]\naffinities = [{ constraint = \"a\", weight = 1 }]",
        "placement.affinities[0].constraint",
        "has no op",
    ),
    (
        "[placement]\naffinities = [{ constraint = \"a exists\", weight = 1.5 }]",
        "placement.affinities[0].weight",
        "`1.5` is not a weight",
    ),
    ("[placement]\naffinities = [true]", "placement.affinities[0]", "is a boolean"),
    ("[placement]\nspread = \"a zone\"", "placement.spread", "does not start with an attribute"),
    ("kind = \"system\"\n[placement]\nspread = \"zone\"", "placement.spread", "does not apply to a system job"),
    ("kind = \"system\"\n[placement]\nmax_per_node = 1", "placement.max_per_node", "does not apply to a system job"),
    ("kind = \"function\"\n[placement]\nmax_per_node = 1", "placement.max_per_node", "does not apply to a function"),
    ("[placement]\nmax_per_node = 0", "placement.max_per_node", "0 is out of range"),
    ("[placement]\npool = \"GPU\"", "placement.pool", "`GPU` is not a name"),
];

#[test]
fn contradictions_name_the_key() {
    for (extra, path, reason) in CONTRADICTIONS {
        let invalid = JobSpec::from_toml(&toml(extra)).expect_err(extra);
        assert_eq!(invalid.problems.len(), 1, "{extra}: {invalid}");
        let problem = &invalid.problems[0];
        assert_eq!(problem.path, *path, "{extra}: {invalid}");
        assert!(problem.reason.contains(reason), "{extra}: {invalid}");
        assert!(problem.allowed.is_some(), "{extra}");
        assert_eq!(invalid.code(), crate::Code::InvalidSpec, "{extra}");
    }
}

#[test]
fn constraints_that_can_be_met_are_no_contradiction() {
    for constraints in [
        "\"a == 1\", \"a in [1, 2]\", \"a != 2\", \"a exists\"",
        "\"a not exists\", \"a != 1\", \"a not in [1, 2]\"",
        "\"a matches x\", \"a version > 1\", \"b not exists\"",
    ] {
        read(&format!("[placement]\nconstraints = [{constraints}]"));
    }
}

#[test]
fn a_wrong_kind_is_one_problem() {
    let invalid = JobSpec::from_toml(&toml("kind = \"servise\"\nmax_failed = 1\n[cron]\n[update]\n")).unwrap_err();
    let paths: Vec<&str> = invalid.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["job.kind", "cron.schedule"], "{invalid}");
}

#[test]
fn there_are_at_most_so_many_entries() {
    let after: Vec<String> = (0..=limits::AFTER_MAX).map(|i| format!("\"a{i}\"")).collect();
    let wishes = vec!["\"a exists : 1\""; limits::AFFINITIES_MAX + 1];
    for (extra, path) in [
        (format!("after = [{}]", after.join(",")), "job.after"),
        (format!("[placement]\naffinities = [{}]", wishes.join(",")), "placement.affinities"),
    ] {
        assert_eq!(JobSpec::from_toml(&toml(&extra)).unwrap_err().problems[0].path, path);
    }
}
