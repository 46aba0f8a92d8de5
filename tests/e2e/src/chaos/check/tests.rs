//! A sound history passes, and each fault put into one is reported as what it is.

use std::time::Duration;

use super::{Promise, check};
use crate::chaos::history::{
    ClockSet, Cron, Deed, End, Expected, History, Lasting, Recorded, Seen, Step, Stored, Submission, input,
};

fn step(node: usize, mark: &str, deed: Deed) -> Step {
    Step { node, mark: mark.to_owned(), deed }
}

fn submission(job: &str, count: u32, expected: Expected, run: &str) -> Submission {
    let (job, answers) = (job.to_owned(), vec![run.to_owned(), run.to_owned()]);
    Submission { job, count, expected, answers, result: None }
}

fn run(job: &str, key: Option<&str>, ends: &[End]) -> Stored {
    let tasks: Vec<(u32, End)> = (0..).zip(ends.iter().copied()).collect();
    let succeeded = tasks.iter().filter(|(_, end)| *end == End::Succeeded);
    let results = succeeded.map(|(index, _)| (*index, input(key.unwrap_or("cron"), *index).into_bytes())).collect();
    Stored {
        job: job.to_owned(),
        key: key.map(str::to_owned),
        ended: true,
        count: u32::try_from(ends.len()).unwrap(),
        ended_count: ends.len() as u64,
        scheduled_ms: None,
        tasks,
        results,
    }
}

fn firing(at_ms: u64) -> Stored {
    Stored { scheduled_ms: Some(at_ms), ..run("tick", None, &[End::Succeeded]) }
}

/// Three submissions, a cron job that fired while nobody disturbed it, and a fenced task that moved.
fn sound() -> History {
    let mut history = History::default();
    for (key, submission) in [
        ("a", submission("echo", 2, Expected::Echo, "r1")),
        ("b", submission("fail", 1, Expected::Failure, "r2")),
        ("c", submission("once", 2, Expected::Once, "r3")),
    ] {
        history.submissions.insert(key.to_owned(), submission);
    }
    for (id, stored) in [
        ("r1", run("echo", Some("a"), &[End::Succeeded, End::Succeeded])),
        ("r2", run("fail", Some("b"), &[End::Failed])),
        ("r3", run("once", Some("c"), &[End::Succeeded, End::Lost])),
        ("t1", firing(2_000)),
        ("t2", firing(8_000)),
    ] {
        history.stored.insert(id.to_owned(), stored);
    }
    history.steps = vec![step(0, "c.0", Deed::Open), step(0, "c.0", Deed::Read), step(0, "c.0", Deed::Close)];
    // Executor 0 is frozen, 1 takes over, and 0 finds when it wakes up that its lease has ended.
    for (node, deed) in [(0, Deed::Open), (0, Deed::Read), (1, Deed::Open), (1, Deed::Read), (0, Deed::Close)] {
        history.steps.push(step(node, "keeper", deed));
    }
    history.lasting.push(Lasting { job: "web".to_owned(), wanted: 3, running: 3 });
    let (since, until) = (Duration::from_secs(1), Duration::from_secs(10));
    history.cron = Cron { job: "tick".to_owned(), period_ms: 2_000, since, until };
    history.disturbed.push((Duration::from_millis(3_500), Duration::from_millis(6_500)));
    history
}

/// The promises that are broken after a change of the sound history.
fn broken(change: impl FnOnce(&mut History)) -> Vec<Promise> {
    let mut history = sound();
    change(&mut history);
    check(&history).into_iter().map(|violation| violation.promise).collect()
}

fn stored<'a>(history: &'a mut History, run: &str) -> &'a mut Stored {
    history.stored.get_mut(run).unwrap()
}

#[test]
fn a_sound_history_passes() {
    assert_eq!(check(&sound()), []);
}

#[test]
fn a_lost_submission_is_reported() {
    let found = broken(|history| drop(history.stored.remove("r1")));
    assert_eq!(found, [Promise::Acknowledged, Promise::Acknowledged], "once for each answer");
}

#[test]
fn a_submission_without_an_answer_may_exist_or_not() {
    assert_eq!(broken(|history| history.submissions.get_mut("a").unwrap().answers.clear()), []);
    let neither = broken(|history| {
        history.submissions.get_mut("a").unwrap().answers.clear();
        history.stored.remove("r1");
    });
    assert_eq!(neither, []);
}

#[test]
fn a_key_that_made_two_runs_is_reported() {
    let twice = |history: &mut History| {
        let second = history.stored["r1"].clone();
        history.stored.insert("r9".to_owned(), second);
    };
    assert_eq!(broken(twice), [Promise::Idempotent]);
    let answered = |history: &mut History| {
        twice(history);
        history.submissions.get_mut("a").unwrap().answers.push("r9".to_owned());
    };
    assert_eq!(broken(answered), [Promise::Idempotent, Promise::Idempotent]);
}

#[test]
fn a_lost_task_is_reported() {
    let never_ended = |history: &mut History| {
        let run = stored(history, "r1");
        run.tasks.pop();
        run.ended_count = 1;
        run.ended = false;
    };
    assert_eq!(broken(never_ended), [Promise::OneOutcome]);
    assert_eq!(broken(|history| stored(history, "r1").tasks.truncate(1)), [Promise::OneOutcome]);
    assert_eq!(broken(|history| stored(history, "t1").ended = false), [Promise::OneOutcome]);
}

#[test]
fn a_doubled_outcome_is_reported() {
    assert_eq!(broken(|history| stored(history, "r2").tasks.push((0, End::Failed))), [Promise::OneOutcome]);
    assert_eq!(broken(|history| stored(history, "r2").ended_count = 2), [Promise::OneOutcome]);
    let result = |history: &mut History| stored(history, "r1").results.push((1, b"a.1".to_vec()));
    assert_eq!(broken(result), [Promise::RightOutcome]);
}

#[test]
fn a_wrong_outcome_is_reported() {
    let failed = |history: &mut History| stored(history, "r1").tasks[1].1 = End::Failed;
    assert_eq!(broken(failed), [Promise::RightOutcome]);
    let another = |history: &mut History| stored(history, "r1").results[1].1 = b"a.0".to_vec();
    assert_eq!(broken(another), [Promise::RightOutcome]);
    let missing = |history: &mut History| drop(stored(history, "r1").results.pop());
    assert_eq!(broken(missing), [Promise::RightOutcome]);
    let to_caller = |history: &mut History| history.submissions.get_mut("a").unwrap().result = Some(b"a.1".to_vec());
    assert_eq!(broken(to_caller), [Promise::RightOutcome]);
}

#[test]
fn an_outcome_that_changed_is_reported() {
    let seen = |end| move |history: &mut History| history.seen.push(Seen { run: "r3".to_owned(), index: 1, end });
    assert_eq!(broken(seen(End::Lost)), []);
    assert_eq!(broken(seen(End::Succeeded)), [Promise::Final]);
}

#[test]
fn a_second_execution_of_at_most_once_is_reported() {
    let again = |history: &mut History| {
        history.steps.push(step(1, "c.0", Deed::Open));
        history.steps.push(step(1, "c.0", Deed::Close));
    };
    assert_eq!(broken(again), [Promise::AtMostOnce]);
}

#[test]
fn an_overlap_of_at_most_once_is_reported() {
    let beside = |history: &mut History| history.steps.insert(1, step(0, "c.0", Deed::Open));
    assert_eq!(broken(beside), [Promise::AtMostOnce, Promise::Fenced]);
    let elsewhere = |history: &mut History| {
        history.steps.splice(
            2..2,
            [(1, Deed::Open), (1, Deed::Read), (0, Deed::Read)].map(|(node, deed)| step(node, "c.0", deed)),
        );
    };
    assert_eq!(broken(elsewhere), [Promise::AtMostOnce, Promise::Fenced]);
}

#[test]
fn a_success_that_nobody_saw_begin_is_reported() {
    assert_eq!(broken(|history| history.steps.clear()), [Promise::AtMostOnce]);
}

#[test]
fn a_fenced_task_that_goes_on_beside_its_replacement_is_reported() {
    let woken = |history: &mut History| {
        let before_its_end = history.steps.len() - 1;
        history.steps.insert(before_its_end, step(0, "keeper", Deed::Read));
    };
    assert_eq!(broken(woken), [Promise::Fenced]);
    let back = |history: &mut History| {
        for deed in [Deed::Open, Deed::Read] {
            history.steps.push(step(0, "keeper", deed));
        }
    };
    assert_eq!(broken(back), [], "it moved back");
}

#[test]
fn a_doubled_firing_is_reported() {
    assert_eq!(broken(|history| drop(history.stored.insert("t3".to_owned(), firing(8_000)))), [Promise::Cron]);
    assert_eq!(broken(|history| stored(history, "t2").scheduled_ms = None), [Promise::Cron, Promise::Cron]);
}

#[test]
fn a_gap_is_reported_unless_nobody_could_fire() {
    assert_eq!(broken(|history| drop(history.stored.remove("t2"))), [Promise::Cron]);
    assert_eq!(broken(|history| history.disturbed.clear()), [Promise::Cron, Promise::Cron], "4 s and 6 s");
}

#[test]
fn instants_are_those_of_the_clock_as_it_was_set() {
    let ahead = |history: &mut History, offset_ms| {
        history.clock = vec![ClockSet { at: Duration::from_secs(5), offset_ms }];
    };
    assert_eq!(broken(|history| ahead(history, 3_600_000)), [Promise::Cron], "3608 s did not fire");
    let fired = |history: &mut History, at_ms| {
        ahead(history, 3_600_000);
        stored(history, "t2").scheduled_ms = Some(at_ms);
    };
    assert_eq!(broken(|history| fired(history, 3_608_000)), []);
    assert_eq!(broken(|history| fired(history, 3_606_000)), [Promise::Cron], "it was disturbed then, and not later");
}

#[test]
fn a_service_without_all_of_its_tasks_is_reported() {
    assert_eq!(broken(|history| history.lasting[0].running = 2), [Promise::Lasting]);
    assert_eq!(broken(|history| history.lasting[0].running = 4), [Promise::Lasting]);
}

#[test]
fn a_daemon_that_crashed_is_reported() {
    assert_eq!(broken(|history| history.crashed.push("a replica".to_owned())), [Promise::Alive]);
}

#[test]
fn an_outcome_that_was_recorded_twice_or_never_is_reported() {
    let log = |ranges: &[(&str, u32, u32, End)]| {
        let recorded = |(run, first, len, end): &(&str, u32, u32, End)| Recorded {
            run: (*run).to_owned(),
            first: *first,
            len: *len,
            end: *end,
        };
        let ranges = ranges.iter().map(recorded).collect();
        move |history: &mut History| history.recorded = Some(ranges)
    };
    let once = [
        ("r1", 0, 2, End::Succeeded),
        ("r2", 0, 1, End::Failed),
        ("r3", 1, 1, End::Lost),
        ("r3", 0, 1, End::Succeeded),
        ("t1", 0, 1, End::Succeeded),
        ("t2", 0, 1, End::Succeeded),
    ];
    assert_eq!(broken(log(&once)), []);
    assert_eq!(broken(log(&[&once[..], &[("r1", 1, 1, End::Succeeded)]].concat())), [Promise::OneOutcome]);
    assert_eq!(broken(log(&once[1..])), [Promise::OneOutcome, Promise::OneOutcome], "both tasks");
}
