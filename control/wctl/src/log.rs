//! A task's log over connections that may break: what was shown is not shown again.

use std::time::Instant;

use weir_api::{LogRecord, LogStream, LogsQuery};
use weir_client::{Error, Lines};

use crate::{
    exit::Exit,
    failure::{Failure, Result},
    follow::{PATIENCE, RETRY_WAIT},
    output::terminal,
    session::Session,
};

/// Reads the log of one task.
pub(crate) struct Log<'a> {
    session: &'a Session,
    run: &'a str,
    index: u32,
    query: LogsQuery,
    lines: Option<Lines<LogRecord>>,
    /// Bytes of each stream that were returned.
    shown: [u64; 3],
    /// How much of them the present connection has yet to repeat.
    again: [u64; 3],
    broken_since: Option<Instant>,
}

impl<'a> Log<'a> {
    /// Opens a log.
    ///
    /// # Errors
    /// Fails when the cluster cannot be reached, or there is no such task.
    pub(crate) async fn open(session: &'a Session, run: &'a str, index: u32, query: LogsQuery) -> Result<Self> {
        let lines = session.client.task_logs(&session.namespace, run, index, &query).await?;
        let (shown, again) = ([0; 3], [0; 3]);
        Ok(Self { session, run, index, query, lines: Some(lines), shown, again, broken_since: None })
    }

    /// Waits for the next record, on a new connection when the old one broke; `None` at the end.
    ///
    /// # Errors
    /// Fails when the cluster cannot be reached for long, or the connection breaks and nothing is followed.
    pub(crate) async fn next(&mut self) -> Result<Option<LogRecord>> {
        loop {
            let read = match &mut self.lines {
                Some(lines) => lines.next().await,
                None => {
                    let opened =
                        self.session.client.task_logs(&self.session.namespace, self.run, self.index, &self.query);
                    match opened.await {
                        Ok(lines) => {
                            self.lines = Some(lines);
                            self.again = if self.query.tail.is_some() { [0; 3] } else { self.shown };
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            match read {
                Ok(None) => return Ok(None),
                Ok(Some(record)) => {
                    self.broken_since = None;
                    if let Some(record) = self.fresh(record) {
                        return Ok(Some(record));
                    }
                }
                Err(error) => self.broke(error).await?,
            }
        }
    }

    /// The part of a record that was not returned yet.
    fn fresh(&mut self, record: LogRecord) -> Option<LogRecord> {
        let slot = match record.stream {
            LogStream::Stdout => 0,
            LogStream::Stderr => 1,
            LogStream::Log => 2,
        };
        let bytes = record.bytes();
        let again = usize::try_from(self.again[slot]).unwrap_or(usize::MAX).min(bytes.len());
        self.again[slot] -= again as u64;
        self.shown[slot] += (bytes.len() - again) as u64;
        if again == 0 {
            return Some(record);
        }
        let rest = LogRecord::new(record.at_ms, record.stream, record.level, &bytes[again..]);
        (again < bytes.len() || record.dropped.is_some()).then_some(LogRecord { dropped: record.dropped, ..rest })
    }

    /// Waits before the next try, or gives up.
    async fn broke(&mut self, error: Error) -> Result<()> {
        if Exit::of_client(&error) != Exit::Unreachable || error.is_certificate() {
            return Err(error.into());
        }
        if !self.query.follow || self.broken_since.is_some_and(|since| since.elapsed() >= PATIENCE) {
            let task = format!("{}.{}", self.run, self.index);
            let message = format!("the connection to the cluster broke in the middle of the log of task {task}");
            let hint =
                format!("the task is not affected; `wctl logs {task}` shows its log once the cluster answers again");
            return Err(Failure::new(Exit::Unreachable, message).hint(hint));
        }
        if self.broken_since.is_none() {
            terminal::note("the connection to the cluster broke; trying again, the task goes on");
        }
        self.broken_since.get_or_insert_with(Instant::now);
        self.lines = None;
        if self.query.tail.is_some() {
            self.query.tail = Some(0);
            terminal::note("what is written meanwhile is not shown, because only the last lines were asked for");
        }
        tokio::time::sleep(RETRY_WAIT).await;
        Ok(())
    }
}
