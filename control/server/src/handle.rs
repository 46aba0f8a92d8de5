//! What the HTTP API holds of the control plane: questions and requests to the driver, blobs, and the state of affairs.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};
use weir_scheduler::{Reply, Request, RequestError, Scheduler};
use weir_wire::{id::RunId, inspect::Seen, message, units::Now};

use crate::{
    blobs::Blobs,
    metrics::Metrics,
    status::{ClusterStatus, StatusBoard},
    store::Store,
};

/// Most calls that wait for the driver; beyond that callers are told that the cluster is busy.
pub(crate) const CALLS_MAX: usize = 1024;
/// Most pieces of output that wait for one follower; beyond that pieces are dropped and counted.
pub(crate) const FOLLOW_PIECES_MAX: usize = 256;

/// One of many handles on the running control plane.
#[derive(Clone)]
pub(crate) struct ControlHandle {
    calls: mpsc::Sender<Call>,
    revision: watch::Receiver<u64>,
    shared: Arc<Shared>,
}

/// What handles share with the rest of the process.
pub(crate) struct Shared {
    pub(crate) blobs: Blobs,
    pub(crate) store: Store,
    pub(crate) status: StatusBoard,
    pub(crate) metrics: Metrics,
}

/// A question to the scheduler: called with nothing when this process does not lead.
pub(crate) type Question = Box<dyn FnOnce(Option<(&Scheduler, Now)>) + Send>;

/// What a handle sends to the driver.
pub(crate) enum Call {
    /// A request that changes something.
    Request { request: Request, reply: oneshot::Sender<Result<Reply, RequestError>> },
    /// A question that changes nothing, answered from what is known.
    Query(Question),
    /// The same, once nobody else can lead.
    CertainQuery(Question),
    /// Somebody wants the output of a task; the reply is false when the task is not running.
    Follow {
        run: RunId,
        index: u32,
        pieces: mpsc::Sender<message::Output>,
        reply: oneshot::Sender<Result<Reply, RequestError>>,
    },
    /// Somebody wants to know what a task does; the reply says whether its node was asked.
    Inspect {
        run: RunId,
        index: u32,
        sample_for: Option<Duration>,
        seen: oneshot::Sender<Seen>,
        reply: oneshot::Sender<Result<Reply, RequestError>>,
    },
}

impl ControlHandle {
    pub(crate) fn new(calls: mpsc::Sender<Call>, revision: watch::Receiver<u64>, shared: Arc<Shared>) -> Self {
        Self { calls, revision, shared }
    }

    /// Has the scheduler carry out a request; the answer comes after its commit.
    ///
    /// # Errors
    /// [`RequestError::Busy`] when too many calls wait, [`RequestError::NotLeader`] when this process does not lead,
    /// [`RequestError::Interrupted`] when it lost leadership before the outcome was known, or what the scheduler says.
    pub(crate) async fn request(&self, request: Request) -> Result<Reply, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.call(Call::Request { request, reply })?;
        answer.await.unwrap_or(Err(RequestError::Interrupted))
    }

    /// Asks the scheduler; `question` runs between two of its inputs, so it must be short. It may not know yet that it
    /// has a successor, which knows more: for what people are told there is [`query_certain`](Self::query_certain).
    ///
    /// # Errors
    /// [`RequestError::Busy`] or [`RequestError::NotLeader`].
    pub(crate) async fn query<R: Send + 'static>(
        &self,
        question: impl FnOnce(&Scheduler, Now) -> R + Send + 'static,
    ) -> Result<R, RequestError> {
        self.put(question, Call::Query).await
    }

    /// Asks the scheduler while nobody else can lead; waits for the renewal of a lease that may have lapsed, for as long
    /// as that takes.
    ///
    /// # Errors
    /// [`RequestError::Busy`] or [`RequestError::NotLeader`].
    pub(crate) async fn query_certain<R: Send + 'static>(
        &self,
        question: impl FnOnce(&Scheduler, Now) -> R + Send + 'static,
    ) -> Result<R, RequestError> {
        self.put(question, Call::CertainQuery).await
    }

    async fn put<R: Send + 'static>(
        &self,
        question: impl FnOnce(&Scheduler, Now) -> R + Send + 'static,
        call: fn(Question) -> Call,
    ) -> Result<R, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.call(call(Box::new(move |leader| {
            let answer = leader.map(|(scheduler, now)| question(scheduler, now));
            // Fails only when nobody waits for the answer any more.
            drop(reply.send(answer));
        })))?;
        answer.await.ok().flatten().ok_or(RequestError::NotLeader)
    }

    /// Asks for the output of a running task as it comes; the channel closes when the task ends or is not running.
    ///
    /// A slow reader loses pieces; a piece of the stream [`Log`](weir_wire::log::Stream::Log) then says how many.
    ///
    /// # Errors
    /// [`RequestError::Busy`], [`RequestError::NotLeader`], or that there is no such run or task.
    pub(crate) async fn follow(&self, run: RunId, index: u32) -> Result<mpsc::Receiver<message::Output>, RequestError> {
        let (pieces, output) = mpsc::channel(FOLLOW_PIECES_MAX);
        let (reply, answer) = oneshot::channel();
        self.call(Call::Follow { run, index, pieces, reply })?;
        answer.await.unwrap_or(Err(RequestError::Interrupted))?;
        Ok(output)
    }

    /// Asks the node of a running task what it does at this moment or, over some time, where its time goes. The channel
    /// closes when leadership is lost; a node that does not answer is the caller's to give up.
    ///
    /// # Errors
    /// [`RequestError::Busy`], [`RequestError::NotLeader`], that there is no such run or task, or that its node cannot be
    /// asked.
    pub(crate) async fn inspect(
        &self,
        run: RunId,
        index: u32,
        sample_for: Option<Duration>,
    ) -> Result<oneshot::Receiver<Seen>, RequestError> {
        let (waiting, seen) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        self.call(Call::Inspect { run, index, sample_for, seen: waiting, reply })?;
        answer.await.unwrap_or(Err(RequestError::Interrupted))?;
        Ok(seen)
    }

    /// The store's revision after the last change that people can see; wakes those who wait for one.
    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }

    /// The blob store.
    pub(crate) fn blobs(&self) -> &Blobs {
        &self.shared.blobs
    }

    /// What is kept, and where.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Who leads, and how the store is doing.
    pub(crate) fn status(&self) -> ClusterStatus {
        self.shared.status.read()
    }

    /// Waits until the state of affairs is one of those wanted.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&ClusterStatus) -> bool) {
        self.shared.status.wait_for(wanted).await;
    }

    /// All metrics in the text format of Prometheus.
    pub(crate) async fn metrics(&self) -> String {
        let stats = self.query(|scheduler, _| scheduler.stats()).await.ok();
        self.shared.metrics.render(stats, self.calls.max_capacity() - self.calls.capacity())
    }

    fn call(&self, call: Call) -> Result<(), RequestError> {
        self.calls.try_send(call).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RequestError::Busy("too many requests wait for the leader"),
            mpsc::error::TrySendError::Closed(_) => RequestError::NotLeader,
        })
    }
}
