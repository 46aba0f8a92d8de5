//! The commands that are about the kinds of jobs.

use std::time::Duration;

use weir_scheduler::{Input, Output, Request};
use weir_wire::{
    id::{Digest, JobName, Namespace},
    kind::{Condition, Cron, Dependency, Kind, Overlap, RunDependency, Service, Upstream},
    message::{Report, Started, ToControl},
    outcome::BlobRef,
    record::Quota,
    units::{CpuMillis, MemBytes},
    work::{JobRecord, RunRecord},
};

use crate::cluster::{Cluster, Words, duration, grant_of, number};

fn namespace() -> Namespace {
    "default".parse().expect("a valid name")
}

fn job_name(text: &str) -> JobName {
    text.parse().expect("a valid name")
}

fn condition(text: &str) -> Condition {
    let all = [Condition::Success, Condition::Failure, Condition::Any];
    all.into_iter().find(|condition| condition.as_str() == text).expect("a condition")
}

/// `quota cpu=2000 memory=64 running=5`: thousandths of a core, MiB, tasks.
fn quota(words: &Words<'_>) -> Quota {
    let limit = |name: &str| words.named.get(name).map(|text| number(text));
    let small = |limit: u64| u32::try_from(limit).expect("small");
    Quota {
        namespace: crate::place::namespace(words),
        weight: words.small("weight", 100),
        cpu: limit("cpu").map(|cpu| CpuMillis(small(cpu))),
        memory: limit("memory").map(|memory| MemBytes(memory << 20)),
        running: limit("running").map(small),
    }
}

/// The words of a `job` command that are not about batches.
pub(crate) fn shape(words: &Words<'_>, spec: &mut JobRecord) {
    let text = |name: &str| words.named.get(name).copied();
    let time = |name: &str, default: u64| text(name).map_or(Duration::from_secs(default), duration);
    spec.count = words.small("count", 1);
    spec.kind = match text("kind").unwrap_or("batch") {
        "batch" => Kind::Batch,
        "service" => Kind::Service(Service { healthy_after: time("healthy", 10) }),
        "system" => Kind::System,
        "function" => Kind::Function,
        "cron" => Kind::Cron(Cron {
            schedule: text("schedule").unwrap_or("60").to_owned(),
            time_zone: "UTC".to_owned(),
            overlap: match text("overlap").unwrap_or("forbid") {
                "allow" => Overlap::Allow,
                "replace" => Overlap::Replace,
                _ => Overlap::Forbid,
            },
            start_deadline: time("late", 300),
        }),
        other => panic!("no such kind: {other}"),
    };
    spec.max_failed = text("max_failed").map(|most| u32::try_from(number(most)).expect("small"));
    spec.start_deadline = text("start_deadline").map(duration);
    spec.after = text("after").map_or(Vec::new(), |list| list.split(',').map(dependency).collect());
    spec.input_from = text("input_from").map(job_name);
    if let Some(arg) = text("arg") {
        spec.args = vec![arg.to_owned()];
    }
}

fn dependency(text: &str) -> Dependency {
    let (job, how) = text.split_once(':').unwrap_or((text, "success"));
    Dependency { job: job_name(job), condition: condition(how) }
}

impl Cluster {
    /// The dependencies of a submission, `after=r1,item0:any`, and its input, `input_from=0`.
    pub(crate) fn depend(&self, words: &Words<'_>, record: &mut RunRecord) {
        let upstream = |text: &str| match text.strip_prefix("item") {
            Some(item) => Upstream::Item(u32::try_from(number(item)).expect("small")),
            None => Upstream::Run(self.names.find(text)),
        };
        let after = |text: &str| {
            let (run, how) = text.split_once(':').unwrap_or((text, "success"));
            RunDependency { upstream: upstream(run), condition: condition(how) }
        };
        record.after = words.named.get("after").map_or(Vec::new(), |list| list.split(',').map(after).collect());
        record.input_from = words.named.get("input_from").map(|place| u32::try_from(number(place)).expect("small"));
    }

    /// Carries out a command about kinds of jobs; false if it is none.
    pub(crate) fn kind_command(&mut self, words: &Words<'_>) -> bool {
        let (namespace, name) = (namespace(), words.plain.get(1).copied().unwrap_or_default());
        match words.plain[0] {
            "scale" => {
                let desired = u32::try_from(number(words.plain[2])).expect("small");
                self.request(Request::Scale { namespace, job: job_name(name), desired });
            }
            "restart" => self.request(Request::Restart { namespace, job: job_name(name) }),
            "pause" => self.request(Request::Pause { namespace, job: job_name(name), on: true }),
            "resume" => self.request(Request::Pause { namespace, job: job_name(name), on: false }),
            "quota" if name == "remove" => self.request(Request::RemoveQuota(namespace)),
            "quota" => self.request(Request::SetQuota(quota(words))),
            "usage" => {
                let usage = self.scheduler.quota_usage(&namespace);
                let (cpu, memory, tasks) = (usage.cpu_millis, usage.memory_bytes >> 20, usage.tasks);
                self.say(&format!("{cpu} m cpu, {memory} MiB, {tasks} tasks"));
            }
            "started" => {
                let (term, grant) = grant_of(words.plain[2]);
                let task = self.task_of(words.plain[3]);
                let started = vec![Started { id: weir_wire::id::AttemptId { task, term, grant } }];
                let report = Report { first: words.number("first", 1), started, ..Report::default() };
                self.message(name, ToControl::Report(report));
            }
            "assembled" => {
                let result = match words.plain[2] {
                    "ok" => Ok(BlobRef { digest: Digest([7; 32]), len: 7 }),
                    _ => Err("the blob store is away".to_owned()),
                };
                let run = self.names.find(name);
                self.input(Input::InputAssembled { run, result });
            }
            "wall" => self.wall_ahead_ms += i64::try_from(number(words.plain[2])).expect("small") * sign(name),
            // Time passes second by second, and executors are heard.
            "pass" => {
                for _ in 0..duration(name).as_secs() {
                    self.command("tick 1s");
                    for session in &words.plain[2..] {
                        self.command(&format!("renew {session}"));
                    }
                }
            }
            "runs" => {
                let mut runs = self.scheduler.runs(None, None, None, usize::MAX);
                runs.reverse();
                for (_, run) in runs {
                    let name = self.names.of(run.run);
                    self.view(&name);
                }
            }
            "view" => self.view(name),
            "health" => {
                let view = self.scheduler.run(self.names.find(name)).expect("a run");
                self.say(&format!("{name} {} of {} healthy", view.healthy.unwrap_or(0), view.target.unwrap_or(0)));
            }
            "about" => {
                let view = self.scheduler.job_view(&namespace, &job_name(name)).expect("a job");
                let newest = view.newest_run.map_or_else(|| "none".to_owned(), |run| self.names.of(run));
                let (version, paused, open) = (view.version, view.paused, view.open_runs);
                let (through, next) = (view.cron_through_ms, view.next_ms);
                self.say(&format!(
                    "version {version}, paused {paused}, newest {newest}, {open} open, through {through:?}, next {next:?}"
                ));
            }
            _ => return false,
        }
        true
    }

    /// What people see of a run beside its tasks.
    fn view(&mut self, name: &str) {
        let Some(view) = self.scheduler.run(self.names.find(name)) else {
            return self.say("no such run");
        };
        let mut text = format!("{name} {} {} version {}", view.kind, view.state.as_str(), view.version);
        if let (Some(desired), Some(target)) = (view.desired, view.target) {
            text.push_str(&format!(", {desired} of {target} wanted"));
        }
        text.push_str(&format!(", {} tasks, {} restarts", view.count, view.restarts));
        if let Some(at) = view.scheduled_ms {
            text.push_str(&format!(", for {at}"));
        }
        for dependency in &view.waiting_for {
            let (run, state) = (self.names.of(dependency.run), dependency.state.as_str());
            text.push_str(&format!(", waits for {} of {run} ({state})", dependency.condition.as_str()));
        }
        if view.paused {
            text.push_str(", paused");
        }
        self.say(&text);
    }

    /// Answers for schedules, which are numbers of seconds here.
    pub(crate) fn instant(&mut self, output: &Output) {
        if let Output::NextInstant { namespace, job, version, schedule, after_ms, .. } = output {
            let every = number(schedule) * 1000;
            let at_ms = Some((after_ms / every + 1) * every);
            let (namespace, job, version, after_ms) = (namespace.clone(), job.clone(), *version, *after_ms);
            self.input(Input::NextInstant { namespace, job, version, after_ms, at_ms });
        }
    }
}

fn sign(word: &str) -> i64 {
    if word == "back" { -1 } else { 1 }
}
