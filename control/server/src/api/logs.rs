//! The log of a task as NDJSON: the stored one of an ended task, and the output of a running one as it comes.

use std::{io, time::Duration};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use weir_api::{LogRecord, LogsQuery, Problem, TaskState, routes};
use weir_scheduler::EntryLocation;
use weir_wire::{
    id::{Namespace, RunId},
    message::Output,
    segment::Entry,
};

use super::{
    Api,
    asked::{Asked, Segments},
    lines::{self, Filter, Replay, Seen, Tail},
    refusal::Refusal,
    reply::Reply,
    tasks::{self, Found},
    wait::{Changes, Woken},
};

/// Most chunks of lines that wait for one client.
const CHUNKS_WAITING_MAX: usize = 8;
/// An empty line is sent after a silence this long, so that nobody on the way takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A client that takes nothing for this long is given up.
const SEND_WAIT_MAX: Duration = Duration::from_secs(60);
/// Without `follow`, the log of a running task is what comes until it pauses for this long.
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(250);
/// The longest that is waited for such a pause: a task may write all the time.
const SNAPSHOT_TIME_MAX: Duration = Duration::from_secs(2);
/// Most pieces of such a log.
const SNAPSHOT_PIECES_MAX: usize = 100_000;

/// Reads a task's log, one record a line; with `follow` until the task has ended, with an empty line now and then.
#[utoipa::path(get, path = routes::TASK_LOGS, tag = "tasks", params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run"), ("index" = u32, Path, description = "The task"), LogsQuery),
    responses((status = 200, description = "One record a line", body = LogRecord, content_type = "application/x-ndjson"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(api): State<Api>,
    Segments((ns, run, index)): Segments<(String, String, String)>,
    Asked(query): Asked<LogsQuery>,
) -> Result<Response, Refusal> {
    let (namespace, run, index) = tasks::path(&ns, &run, &index)?;
    let changes = Changes::new(&api);
    let found = tasks::find(&api, &namespace, run, index).await?;
    let revision = found.revision;
    let permit = api.log_reads.clone().try_acquire_owned();
    let permit = permit
        .map_err(|_| Refusal::new(weir_api::Code::BackPressure, "too many logs are being read").retry_after(1))?;
    let (out, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
    let reader = Reader {
        api,
        namespace,
        run,
        index,
        filter: Filter::new(&query),
        tail: query.tail.and_then(|tail| usize::try_from(tail).ok()),
        out,
        seen: Seen::default(),
        attempt: 0,
        ended: false,
        _permit: permit,
    };
    tokio::spawn(reader.run(found, query.follow, changes));
    let body = Body::from_stream(ReceiverStream::new(chunks));
    Ok(Reply::body(body, routes::NDJSON_TYPE).revision(revision).done())
}

/// Reads one log for one client.
struct Reader {
    api: Api,
    namespace: Namespace,
    run: RunId,
    index: u32,
    filter: Filter,
    tail: Option<usize>,
    out: mpsc::Sender<Result<Bytes, io::Error>>,
    /// What was sent of the attempt that is followed.
    seen: Seen,
    attempt: u32,
    /// Whether the last piece of that attempt came: what is missing then is in the stored log.
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

/// Why reading ends early.
enum End {
    /// The client is gone.
    Gone,
    /// The log cannot be read on: the client is to notice.
    Broken(String),
}

impl End {
    fn closing() -> Self {
        Self::Broken("the control plane shuts down".to_owned())
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Broken(refusal.problem.detail)
    }
}

impl Reader {
    async fn run(mut self, found: Found, follow: bool, changes: Changes) {
        match self.read(found, follow, changes).await {
            Ok(()) | Err(End::Gone) => {}
            // Nobody is there to be told when this fails too.
            Err(End::Broken(why)) => drop(self.out.send(Err(io::Error::other(why))).await),
        }
    }

    async fn read(&mut self, mut found: Found, follow: bool, mut changes: Changes) -> Result<(), End> {
        loop {
            let Found { task, at, .. } = found;
            if task.state.is_terminal() {
                return self.stored(at, task.attempt).await;
            }
            if is_granted(task.state) {
                if task.attempt != self.attempt {
                    (self.seen, self.attempt, self.ended) = (Seen::default(), task.attempt, false);
                }
                if !self.ended {
                    self.live(follow).await?;
                }
            }
            if !follow {
                return if is_granted(task.state) { Ok(()) } else { self.between_attempts().await };
            }
            let woken = tokio::select! {
                woken = changes.next(Instant::now() + KEEP_ALIVE) => woken,
                () = self.out.closed() => return Err(End::Gone),
            };
            match woken {
                Woken::Changed => {}
                Woken::Deadline => self.send(Bytes::from_static(b"\n")).await?,
                Woken::Closed => return Err(End::closing()),
            }
            found = tasks::find(&self.api, &self.namespace, self.run, self.index).await?;
        }
    }

    /// Sends what the running attempt writes until it ends or, without `follow`, pauses. A node begins with what was
    /// written so far, which is left out where it was sent already.
    async fn live(&mut self, follow: bool) -> Result<(), End> {
        let Ok(mut pieces) = self.api.handle.follow(self.run, self.index).await else {
            // It has just ended or moved: the next look tells.
            return Ok(());
        };
        let mut replay = self.seen.replay();
        let cut_short = self.tail.is_some() && self.seen.is_empty();
        if !follow || cut_short {
            self.snapshot(&mut pieces, &mut replay).await?;
        }
        while follow && !self.ended {
            let piece = tokio::select! {
                piece = tokio::time::timeout(KEEP_ALIVE, pieces.recv()) => piece,
                () = self.out.closed() => return Err(End::Gone),
                () = self.api.closing.cancelled() => return Err(End::closing()),
            };
            match piece {
                Err(_) => {
                    self.send(Bytes::from_static(b"\n")).await?;
                    if !self.goes_on().await {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Ok(Some(piece)) => {
                    let mut lines = Vec::new();
                    let new = self.take(&piece, &mut replay);
                    if self.filter.wants(piece.stream) {
                        lines::write(piece.stream, piece.at_ms, new, &mut lines);
                    }
                    self.send(lines.into()).await?;
                    if piece.last {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a node holds the attempt that is followed: its last piece may have been lost with a session. Where nobody
    /// can tell, it is looked at again after the next silence.
    async fn goes_on(&self) -> bool {
        match tasks::find(&self.api, &self.namespace, self.run, self.index).await {
            Ok(Found { task, .. }) => is_granted(task.state) && task.attempt == self.attempt,
            Err(refusal) => refusal.problem.code != weir_api::Code::NotFound,
        }
    }

    /// Sends what comes until the first pause: all that was written so far, or the last lines of it.
    async fn snapshot(&mut self, pieces: &mut mpsc::Receiver<Output>, replay: &mut Replay) -> Result<(), End> {
        let mut all = Vec::new();
        let until = Instant::now() + SNAPSHOT_TIME_MAX;
        let pause = || until.min(Instant::now() + SNAPSHOT_PAUSE);
        while let Ok(Some(piece)) = tokio::time::timeout_at(pause(), pieces.recv()).await {
            let new = self.take(&piece, replay).len();
            let last = piece.last;
            if self.filter.wants(piece.stream) && new > 0 {
                all.push((piece, new));
            }
            if last || all.len() >= SNAPSHOT_PIECES_MAX {
                break;
            }
        }
        let parts = all.iter().map(|(piece, new)| (piece, &piece.bytes[piece.bytes.len() - new..]));
        let mut counter = Tail::counter();
        for (piece, new) in parts.clone() {
            counter.rest(piece.stream, new);
        }
        let mut tail = counter.last(self.tail);
        for (piece, new) in parts {
            let mut lines = Vec::new();
            lines::write(piece.stream, piece.at_ms, tail.rest(piece.stream, new), &mut lines);
            self.send(lines.into()).await?;
        }
        Ok(())
    }

    /// Remembers a piece, and returns what is new of it.
    fn take<'a>(&mut self, piece: &'a Output, replay: &mut Replay) -> &'a [u8] {
        let new = replay.rest(piece.stream, &piece.bytes);
        self.seen.add(piece.stream, piece.at_ms, new);
        // A node that does not hold the task, because it is on its way there, sends nothing but the last piece.
        self.ended |= piece.last && !self.seen.is_empty();
        new
    }

    /// Sends the log of the last attempt of a task that waits for another one, if it is kept: of long-running jobs it is.
    async fn between_attempts(&mut self) -> Result<(), End> {
        let (run, index) = (self.run, self.index);
        let at = self.api.ask(move |scheduler, _| scheduler.entry(run, index)).await?;
        self.stored(at, self.attempt).await
    }

    /// Sends the stored log, without what was sent of it already.
    async fn stored(&mut self, at: EntryLocation, attempt: u32) -> Result<(), End> {
        let Some(Entry { log, usage, .. }) = self.api.entry(self.run, self.index, at).await? else {
            return Ok(());
        };
        if attempt != self.attempt {
            self.seen = Seen::default();
        }
        let log = self.api.captured(&log).await?;
        let tail = self.tail.filter(|_| self.seen.is_empty());
        let mut rest = lines::Stored::new(&log, self.filter, tail, &self.seen)
            .map_err(|error| End::from(Refusal::internal("decode a log", &error)))?;
        while let Some(chunk) = rest.next_chunk(usage.output_bytes) {
            self.send(chunk.into()).await?;
        }
        Ok(())
    }

    async fn send(&self, chunk: Bytes) -> Result<(), End> {
        if chunk.is_empty() {
            return Ok(());
        }
        match tokio::time::timeout(SEND_WAIT_MAX, self.out.send(Ok(chunk))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// Whether a node holds the task, so that there may be output to follow.
fn is_granted(state: TaskState) -> bool {
    match state {
        TaskState::Assigned | TaskState::Running | TaskState::Stopping => true,
        TaskState::Pending
        | TaskState::Unknown
        | TaskState::Succeeded
        | TaskState::Failed
        | TaskState::Killed
        | TaskState::Lost
        | TaskState::Rejected => false,
    }
}
