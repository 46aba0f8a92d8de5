//! From a document to a validated spec, section by section.

mod contradiction;
mod execution;
mod job;
mod placement;

use serde_json::Value;

use super::{
    Cron, DirGrant, Invalid, JobSpec, Kind, NetGrant, Overlap, Problem, Resources, Update, defaults,
    fields::{HOST_ALLOWED, NAME_ALLOWED, check_guest_path, check_host, check_name},
    limits,
    section::{CPU, DURATION, NUMBER, SIZE, Section},
};
use crate::schedule::{self, Schedule};

const SCHEDULE_ALLOWED: &str = "five fields (minute hour day month weekday), six with seconds first, or one of \
    @yearly @annually @monthly @weekly @daily @midnight @hourly";

pub(super) fn job_spec(value: &Value) -> Result<JobSpec, Invalid> {
    let mut problems = Vec::new();
    let mut root = Section::open("", Some(value.clone()), &mut problems);
    let [job, resources, grants, execution, retry, placement] =
        ["job", "resources", "grants", "execution", "retry", "placement"].map(|key| root.take(key));
    if job.is_none() {
        root.refuse("job", "is missing", "a table with at least `name` and `module`");
    }
    let kind = job.as_ref().and_then(job::kind);
    let cron = root.applies("cron", kind, &[Kind::Cron]).then(|| root.take("cron")).flatten();
    let update = root.applies("update", kind, &[Kind::Service]).then(|| root.take("update")).flatten();
    root.finish();
    let job = job.and_then(|job| job::read(job, kind, &mut problems));
    let cron = read_cron(cron, kind, &mut problems);
    let update = read_update(update, kind, &mut problems);
    let resources = read_resources(resources, kind, &mut problems);
    let (dirs, nets) = read_grants(grants, &mut problems);
    let execution = execution::read(execution, kind, &mut problems);
    if execution.deterministic {
        execution::check_deterministic(&dirs, &nets, &resources, &mut problems);
    }
    if resources.scratch_bytes > 0 {
        check_scratch(&dirs, &mut problems);
    }
    let retry = execution::read_retry(retry, kind, execution.mode, &mut problems);
    let placement = placement::read(placement, kind, &mut problems);
    match job {
        Some(job) if problems.is_empty() => Ok(JobSpec {
            name: job.name,
            kind: job.kind,
            count: job.count,
            max_running: job.max_running,
            max_failed: job.max_failed,
            start_deadline_ms: job.start_deadline_ms,
            after: job.after,
            input_from: job.input_from,
            priority: job.priority,
            tier: job.tier,
            module: job.module,
            args: job.args,
            env: job.env,
            cron,
            update,
            resources,
            dirs,
            nets,
            execution,
            retry,
            placement,
        }),
        Some(_) | None => Err(Invalid { problems }),
    }
}

fn read_cron(value: Option<Value>, kind: Option<Kind>, problems: &mut Vec<Problem>) -> Option<Cron> {
    if value.is_none() {
        if kind == Some(Kind::Cron) {
            let allowed = Some("a table with at least `schedule`".to_owned());
            problems.push(Problem::new("cron", "is missing", allowed));
        }
        return None;
    }
    let mut section = Section::open("cron", value, problems);
    let expression = section.required("schedule", SCHEDULE_ALLOWED, |_| Ok(()));
    let time_zone = section.string("time_zone").unwrap_or_else(|| defaults::TIME_ZONE.to_owned());
    match Schedule::parse(expression.as_deref().unwrap_or("@daily"), &time_zone) {
        Ok(_) => {}
        Err(error @ schedule::Error::TimeZone { .. }) => {
            section.refuse("time_zone", error.to_string(), "an IANA name such as Europe/Berlin");
        }
        Err(error) => section.refuse("schedule", error.to_string(), SCHEDULE_ALLOWED),
    }
    let overlap = section.word("overlap", Overlap::ALL).unwrap_or(Overlap::Forbid);
    let start_deadline_ms = section
        .quantity("start_deadline", DURATION, limits::START_DEADLINE_MS)
        .unwrap_or(defaults::CRON_START_DEADLINE_MS);
    section.finish();
    let schedule = expression?.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(Cron { schedule, time_zone, overlap, start_deadline_ms })
}

fn read_update(value: Option<Value>, kind: Option<Kind>, problems: &mut Vec<Problem>) -> Option<Update> {
    let mut section = Section::open("update", value, problems);
    let healthy_after_ms =
        section.quantity("healthy_after", DURATION, limits::HEALTHY_AFTER_MS).unwrap_or(defaults::HEALTHY_AFTER_MS);
    section.finish();
    (kind == Some(Kind::Service)).then_some(Update { healthy_after_ms })
}

fn read_resources(value: Option<Value>, kind: Option<Kind>, problems: &mut Vec<Problem>) -> Resources {
    let mut section = Section::open("resources", value, problems);
    let default = kind.unwrap_or(Kind::Batch);
    let resources = Resources {
        cpu_milli: narrow(section.quantity("cpu", CPU, limits::CPU_MILLI)).unwrap_or(defaults::CPU_MILLI),
        memory_bytes: section.quantity("memory", SIZE, limits::MEMORY_BYTES).unwrap_or(defaults::MEMORY_BYTES),
        fuel: section.quantity("fuel", NUMBER, limits::FUEL).unwrap_or(defaults::fuel(default)),
        timeout_ms: read_timeout(&mut section, kind),
        output_bytes: section.quantity("output", SIZE, limits::OUTPUT_BYTES).unwrap_or(defaults::OUTPUT_BYTES),
        scratch_bytes: section.quantity("scratch", SIZE, limits::SCRATCH_BYTES).unwrap_or(0),
    };
    section.finish();
    resources
}

/// Refuses a directory where the scratch directory is.
fn check_scratch(dirs: &[DirGrant], problems: &mut Vec<Problem>) {
    for (i, dir) in dirs.iter().enumerate() {
        if dir.guest.trim_end_matches('/') == limits::SCRATCH_PATH {
            let reason = format!("is `{}`, where the scratch directory is", dir.guest);
            problems.push(Problem::new(format!("grants.dir[{i}].guest"), reason, Some("another path".to_owned())));
        }
    }
}

/// `none` where work need not end.
fn read_timeout(section: &mut Section<'_>, kind: Option<Kind>) -> Option<u64> {
    const KEY: &str = "timeout";
    let default = defaults::timeout_ms(kind.unwrap_or(Kind::Batch));
    if !section.is_text(KEY, "none") {
        return section.quantity(KEY, DURATION, limits::TIMEOUT_MS).or(default);
    }
    section.take(KEY);
    if let (Some(kind), Some(_)) = (kind, default) {
        section.refuse(KEY, format!("is none, but the tasks of a {kind} job have to end"), "1ms to 7d");
    }
    None
}

fn read_grants(value: Option<Value>, problems: &mut Vec<Problem>) -> (Vec<DirGrant>, Vec<NetGrant>) {
    let mut section = Section::open("grants", value, problems);
    let dirs = section.array("dir", limits::DIRS_MAX);
    let nets = section.array("net", limits::NETS_MAX);
    section.finish();
    (read_dirs(dirs, problems), read_nets(nets, problems))
}

fn read_nets(nets: Vec<Value>, problems: &mut Vec<Problem>) -> Vec<NetGrant> {
    let mut grants: Vec<NetGrant> = Vec::new();
    for (i, value) in nets.into_iter().enumerate() {
        let mut entry = Section::open(&format!("grants.net[{i}]"), Some(value), problems);
        let host = entry.required("host", HOST_ALLOWED, check_host);
        if !entry.has("port") {
            entry.refuse("port", "is missing", "1 to 65535");
        }
        let port = narrow(entry.quantity("port", NUMBER, limits::PORT));
        entry.finish();
        if let (Some(host), Some(port)) = (host, port) {
            grants.push(NetGrant { host: host.to_ascii_lowercase(), port });
        }
    }
    grants
}

fn read_dirs(dirs: Vec<Value>, problems: &mut Vec<Problem>) -> Vec<DirGrant> {
    let mut grants: Vec<DirGrant> = Vec::new();
    for (i, value) in dirs.into_iter().enumerate() {
        let mut entry = Section::open(&format!("grants.dir[{i}]"), Some(value), problems);
        let host = entry.required("host", NAME_ALLOWED, check_name);
        let guest = entry.required("guest", "an absolute path without `.` and `..`", check_guest_path);
        let writable = read_dir_mode(&mut entry);
        if let Some(other) = guest.as_deref().and_then(|guest| grants.iter().position(|grant| grant.guest == guest)) {
            entry.refuse("guest", format!("is the guest path of grants.dir[{other}] as well"), "a path of its own");
        }
        entry.finish();
        if let (Some(host), Some(guest)) = (host, guest) {
            grants.push(DirGrant { host, guest, writable });
        }
    }
    grants
}

fn read_dir_mode(section: &mut Section<'_>) -> bool {
    match section.string("mode").as_deref() {
        None | Some("ro") => false,
        Some("rw") => true,
        Some(text) => {
            section.refuse("mode", format!("`{}` is not known", text.escape_debug()), "ro or rw");
            false
        }
    }
}

/// Narrows a quantity whose range was checked already.
fn narrow<T: TryFrom<u64>>(value: Option<u64>) -> Option<T> {
    value.and_then(|value| T::try_from(value).ok())
}
