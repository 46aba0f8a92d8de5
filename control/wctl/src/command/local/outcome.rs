//! What comes of a local run: results, logs and failures.

use weir_api::{LogLevel, LogRecord, LogStream};
use weir_wire::{
    attempt::EndedAttempt,
    log::{self, Stream},
    outcome::Captured,
    task::Status,
};

use crate::{
    args::RunArgs,
    command::{
        logs::ToStderr,
        run::{save, show_result},
    },
    exit::Exit,
    failure::{Failure, Result},
    output::{terminal, text, write_stdout},
};

/// Shows what a task wrote beside its result.
pub(super) fn show_log(end: &EndedAttempt, stdout_is_result: bool) {
    let mut shown = ToStderr::new();
    for log::Record { stream, at_ms, bytes } in
        log::records(captured(&end.outcome.log, &end.large_log)).unwrap_or_default()
    {
        let (stream, level) = match stream {
            Stream::Stdout if stdout_is_result => continue,
            Stream::Stdout => (LogStream::Stdout, None),
            Stream::Stderr => (LogStream::Stderr, None),
            Stream::Log(level) => (LogStream::Log, Some(self::level(level))),
        };
        shown.show(&LogRecord::new(at_ms, stream, level, &bytes));
    }
}

const fn level(level: log::Level) -> LogLevel {
    match level {
        log::Level::Trace => LogLevel::Trace,
        log::Level::Debug => LogLevel::Debug,
        log::Level::Info => LogLevel::Info,
        log::Level::Warn => LogLevel::Warn,
        log::Level::Error => LogLevel::Error,
    }
}

fn captured<'a>(placed: &'a Captured, large: &'a [u8]) -> &'a [u8] {
    match placed {
        Captured::Inline(bytes) => bytes,
        Captured::Empty | Captured::Blob(_) => large,
    }
}

fn result(end: &EndedAttempt) -> &[u8] {
    captured(&end.outcome.result, &end.large_result)
}

/// Whether what a task writes to stdout goes where results go: when it has succeeded, and where it is alone and has no file
/// for its result.
pub(super) fn is_result(args: &RunArgs, count: u32, succeeded: bool) -> bool {
    succeeded || (count == 1 && args.output.is_none())
}

/// Writes results as `wctl run` does, and says what was used.
pub(super) fn conclude(args: &RunArgs, ended: &[EndedAttempt], stdout_is_result: bool) -> Result<Exit> {
    let bad: Vec<_> = ended.iter().filter(|end| end.outcome.status != Status::Succeeded).collect();
    let (mut fuel, mut cpu_us, mut memory) = (0u64, 0u64, 0u64);
    for usage in ended.iter().map(|end| end.outcome.usage) {
        fuel = fuel.saturating_add(usage.fuel.0);
        cpu_us = cpu_us.saturating_add(usage.cpu_us);
        memory = memory.max(usage.peak_memory.0);
    }
    if bad.is_empty() {
        let mut all = Vec::new();
        for end in ended {
            all.extend_from_slice(result(end));
            if ended.len() > 1 && all.last() != Some(&b'\n') {
                all.push(b'\n');
            }
        }
        match &args.output {
            Some(file) => save(file, &all)?,
            None if ended.len() == 1 => show_result(&all)?,
            None => write_stdout(&all)?,
        }
    } else if let [end] = ended
        && stdout_is_result
        && args.output.is_none()
    {
        // No result, but what it had to say before it failed.
        write_stdout(result(end))?;
    }
    let tasks = text::of_things(ended.len() as u64, "task");
    let (fuel, cpu, memory) = (text::count(fuel), text::micros(cpu_us), text::bytes(memory));
    terminal::note(&format!("{tasks}: fuel {fuel}, cpu {cpu}, peak memory {memory}"));
    let Some(first) = bad.first() else { return Ok(Exit::Ok) };
    let failure = first.outcome.failure.as_deref();
    if args.propagate_exit
        && let Some(code) = failure.and_then(|failure| failure.exit_code)
    {
        return Ok(Exit::Guest(u8::try_from(code & 0xff).unwrap_or(u8::MAX)));
    }
    let message = format!("{} of {tasks} did not succeed", bad.len());
    let mut report = Failure::new(Exit::TasksFailed, message);
    if let Some(failure) = failure {
        let mut hint = format!("task {}: {}: {}", first.id.task.index, failure.reason, failure.message);
        for frame in &failure.backtrace {
            hint.push_str(&format!("\n  at {frame}"));
        }
        report = report.hint(hint);
    }
    Err(report)
}
