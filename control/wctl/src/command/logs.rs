use std::io::Write as _;

use weir_api::{FoundKind, LogRecord, LogStream, LogsQuery, TaskState, TasksQuery};

use super::task::silence;
use crate::{
    args::LogsArgs,
    exit::Exit,
    failure::Result,
    log::Log,
    output::{
        terminal,
        text::{ahead, of_things, printable},
        write_stdout,
    },
    resolve::{self, Target},
    session::Session,
};

/// The tasks of one page when the logs of a whole run are shown.
const PAGE: u32 = 1_000;

/// `wctl logs`.
pub(crate) async fn logs(session: &Session, args: &LogsArgs) -> Result<Exit> {
    let run = match resolve::target(session, &args.target, &[FoundKind::Job, FoundKind::Run]).await? {
        Target::Task(run, index) => return single(session, args, &run, index).await,
        Target::Run(run) => run,
        Target::Job(job) => resolve::latest_run(session, &job).await?,
        Target::Node(node) => unreachable!("nodes were not asked for: {node}"),
    };
    if let Some(index) = args.index {
        return single(session, args, &run, index).await;
    }
    let mut query = TasksQuery { limit: Some(PAGE), ..TasksQuery::default() };
    let mut silent = 0;
    loop {
        let page = session.client.tasks(&session.namespace, &run, &query).await?;
        let alone = page.items.len() == 1 && page.next.is_none() && query.cursor.is_none();
        if alone {
            return single(session, args, &run, page.items[0].index).await;
        }
        for task in &page.items {
            silent += u64::from(task.state == TaskState::Unknown);
            one(session, args, &run, task.index, Some(task.index)).await?;
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None if silent == 0 || args.follow => return Ok(Exit::Ok),
            None => {
                let tasks = of_things(silent, "task");
                terminal::note(&format!("what {tasks} of run {run} wrote is not known: the nodes do not answer"));
                return Ok(Exit::Conflict);
            }
        }
    }
}

/// Shows the log of one task alone, and says so where its node cannot be asked for it.
async fn single(session: &Session, args: &LogsArgs, run: &str, index: u32) -> Result<Exit> {
    let task = session.client.task(&session.namespace, run, index).await?;
    let silent = task.state == TaskState::Unknown;
    if silent {
        terminal::note(&silence(&task));
    }
    let empty = one(session, args, run, index, None).await?;
    if empty && !args.follow && !silent {
        why_empty(session, run, index).await?;
    }
    Ok(if silent && !args.follow { Exit::Conflict } else { Exit::Ok })
}

/// Shows the log of one task, and tells whether it is empty; `label` goes before each line where the logs of several are
/// shown.
async fn one(session: &Session, args: &LogsArgs, run: &str, index: u32, label: Option<u32>) -> Result<bool> {
    let query = LogsQuery { follow: args.follow, stdout: args.stdout, stderr: args.stderr, tail: args.tail };
    let mut lines = Log::open(session, run, index, query).await?;
    let mut machine = !session.out.is_for_people();
    let mut column = Column { label, timestamps: args.timestamps, at_start: true };
    let mut empty = true;
    while let Some(record) = lines.next().await? {
        empty = false;
        if machine {
            session.out.value(&record, &task_name(run, index))?;
        } else {
            write_stdout(&column.render(&record))?;
        }
    }
    machine |= column.at_start;
    if !machine {
        write_stdout(b"\n")?;
    }
    Ok(empty)
}

/// Says why a task that is tried again has nothing to show.
async fn why_empty(session: &Session, run: &str, index: u32) -> Result<()> {
    let task = session.client.task(&session.namespace, run, index).await?;
    if task.state == TaskState::Pending && task.reason.is_some() {
        let next = task.next_retry_ms.map(|at| format!(", {}", ahead(at))).unwrap_or_default();
        terminal::note(&format!(
            "task {} waits for its next attempt{next}; the log of an attempt is kept when the task has ended with it",
            task.id
        ));
    }
    Ok(())
}

fn task_name(run: &str, index: u32) -> String {
    format!("{run}.{index}")
}

/// Where in a line the output is.
pub(crate) struct Column {
    label: Option<u32>,
    timestamps: bool,
    at_start: bool,
}

impl Column {
    /// The record's bytes with what goes before each line; a log call is a line of its own.
    fn render(&mut self, record: &LogRecord) -> Vec<u8> {
        let mut text = Vec::new();
        if let Some(dropped) = record.dropped {
            self.line(
                record.at_ms,
                format!("[{dropped} bytes dropped: the output budget was used up]").as_bytes(),
                &mut text,
            );
        }
        match record.stream {
            LogStream::Log => self.line(record.at_ms, line_of(record).as_bytes(), &mut text),
            LogStream::Stdout | LogStream::Stderr => {
                for part in record.bytes().split_inclusive(|byte| *byte == b'\n') {
                    self.prefix(record.at_ms, &mut text);
                    text.extend_from_slice(part);
                    self.at_start = part.last() == Some(&b'\n');
                }
            }
        }
        text
    }

    fn line(&mut self, at_ms: u64, line: &[u8], text: &mut Vec<u8>) {
        if !self.at_start {
            text.push(b'\n');
            self.at_start = true;
        }
        self.prefix(at_ms, text);
        text.extend_from_slice(line);
        text.push(b'\n');
    }

    fn prefix(&self, at_ms: u64, text: &mut Vec<u8>) {
        if !self.at_start {
            return;
        }
        if let Some(label) = self.label {
            text.extend_from_slice(format!("[{label}] ").as_bytes());
        }
        if self.timestamps {
            text.extend_from_slice(format!("{}.{:03} ", at_ms / 1_000, at_ms % 1_000).as_bytes());
        }
    }
}

fn line_of(record: &LogRecord) -> String {
    let level = record.level.map_or("info", |level| level.as_str());
    format!("{level:<5} {}", printable(String::from_utf8_lossy(&record.bytes()).trim_end()))
}

/// Records on stderr, as `wctl run` shows them.
pub(crate) struct ToStderr(Column);

impl ToStderr {
    pub(crate) const fn new() -> Self {
        Self(Column { label: None, timestamps: false, at_start: true })
    }

    /// Shows a record.
    pub(crate) fn show(&mut self, record: &LogRecord) {
        let text = self.0.render(record);
        // There is nobody to tell when stderr itself fails.
        let _ = std::io::stderr().lock().write_all(&text);
    }
}

#[cfg(test)]
mod tests {
    use weir_api::LogLevel;

    use super::*;

    fn render(column: &mut Column, stream: LogStream, level: Option<LogLevel>, bytes: &[u8]) -> String {
        String::from_utf8(column.render(&LogRecord::new(1_234, stream, level, bytes))).unwrap()
    }

    #[test]
    fn output_is_shown_as_it_was_written() {
        let mut column = Column { label: None, timestamps: false, at_start: true };
        assert_eq!(render(&mut column, LogStream::Stdout, None, b"a"), "a");
        assert_eq!(render(&mut column, LogStream::Log, Some(LogLevel::Warn), b"careful"), "\nwarn  careful\n");
        assert_eq!(render(&mut column, LogStream::Stderr, None, b"b\n"), "b\n");
    }

    #[test]
    fn labels_and_times_go_before_each_line() {
        let mut column = Column { label: Some(7), timestamps: true, at_start: true };
        assert_eq!(render(&mut column, LogStream::Stdout, None, b"a\nb"), "[7] 1.234 a\n[7] 1.234 b");
        assert_eq!(render(&mut column, LogStream::Stdout, None, b"c\n"), "c\n");
    }

    #[test]
    fn dropped_bytes_are_told() {
        let mut record = LogRecord::new(0, LogStream::Stdout, None, b"x\n");
        record.dropped = Some(5);
        let mut column = Column { label: None, timestamps: false, at_start: true };
        let text = String::from_utf8(column.render(&record)).unwrap();
        assert_eq!(text, "[5 bytes dropped: the output budget was used up]\nx\n");
    }
}
