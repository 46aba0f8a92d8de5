//! The driver: the only owner of the scheduler. It takes inputs, hands them to the scheduler, and does what it says.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use weir_api::schedule::Schedule;
use weir_scheduler::{Input, Output, Reply, Request, RequestError, RequestId, Scheduler};
use weir_wire::{
    id::{RunId, Term},
    inspect::Seen,
    message,
    txn::CommitResult,
};

use crate::{
    assemble::{Assembled, Assembler},
    clock,
    commit::{Committer, Done},
    followers::Followers,
    handle::{CALLS_MAX, Call, Question},
    inspections::Inspections,
    leader::LeaderEvent,
    outlets::{Outlets, SessionEvent},
};

/// Most inputs of one kind that are handled before their effects are carried out.
const INPUTS_PER_TURN: usize = 128;
/// The longest sleep; a deadline further away is looked at again then.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Everything that brings inputs.
pub(crate) struct Inbox {
    pub(crate) commits: mpsc::Receiver<Done>,
    pub(crate) leader: mpsc::Receiver<LeaderEvent>,
    pub(crate) sessions: mpsc::Receiver<SessionEvent>,
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) assembled: mpsc::Receiver<Assembled>,
}

/// What other parts of the process learn from the driver.
pub(crate) struct Signals {
    /// The revision that people see.
    pub(crate) revision: watch::Sender<u64>,
    /// Whether executors are welcome.
    pub(crate) leading: watch::Sender<bool>,
    /// The newest term of which a transaction was refused.
    pub(crate) refused: watch::Sender<Term>,
}

/// Who waits for the answer to a request.
enum Waiting {
    Caller(oneshot::Sender<Result<Reply, RequestError>>),
    Follower {
        run: RunId,
        index: u32,
        pieces: mpsc::Sender<message::Output>,
        reply: oneshot::Sender<Result<Reply, RequestError>>,
    },
    Inspector {
        seen: oneshot::Sender<Seen>,
        reply: oneshot::Sender<Result<Reply, RequestError>>,
    },
    /// The driver itself, which does not care.
    Nobody,
}

pub(crate) struct Driver {
    scheduler: Scheduler,
    inbox: Inbox,
    signals: Signals,
    committer: Committer,
    assembler: Assembler,
    outlets: Outlets,
    followers: Followers,
    inspections: Inspections,
    waiting: BTreeMap<RequestId, Waiting>,
    /// Questions that wait until nobody else can lead.
    held: VecDeque<Question>,
    requests: u64,
}

impl Driver {
    pub(crate) fn new(
        scheduler: Scheduler,
        inbox: Inbox,
        signals: Signals,
        committer: Committer,
        assembler: Assembler,
    ) -> Self {
        Self {
            scheduler,
            inbox,
            signals,
            committer,
            assembler,
            outlets: Outlets::default(),
            followers: Followers::default(),
            inspections: Inspections::default(),
            waiting: BTreeMap::new(),
            held: VecDeque::new(),
            requests: 0,
        }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = self.pause();
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.outlets.close_all("this replica stops").await,
                Some(done) = self.inbox.commits.recv() => self.committed(&done),
                Some(event) = self.inbox.leader.recv() => self.leadership(event),
                Some(assembled) = self.inbox.assembled.recv() => self.assembled(assembled),
                Some(event) = self.inbox.sessions.recv() => self.session(event),
                Some(call) = self.inbox.calls.recv() => self.call(call),
                () = sleep(pause) => self.input(Input::Tick),
            }
            self.take_what_is_there();
            if self.pause().is_zero() {
                self.input(Input::Tick);
            }
            self.carry_out();
        }
    }

    /// How long until the scheduler's next deadline.
    fn pause(&self) -> Duration {
        let deadline = self.scheduler.poll_deadline();
        deadline.map_or(SLEEP_MAX, |(at, _)| at.since(clock::mono()).min(SLEEP_MAX))
    }

    /// Handles what has arrived meanwhile: waking up costs more than an input.
    fn take_what_is_there(&mut self) {
        while let Ok(done) = self.inbox.commits.try_recv() {
            self.committed(&done);
        }
        while let Ok(event) = self.inbox.leader.try_recv() {
            self.leadership(event);
        }
        for _ in 0..INPUTS_PER_TURN {
            let Ok(event) = self.inbox.sessions.try_recv() else { break };
            self.session(event);
        }
        for _ in 0..INPUTS_PER_TURN {
            let Ok(call) = self.inbox.calls.try_recv() else { break };
            self.call(call);
        }
    }

    fn input(&mut self, input: Input) {
        self.scheduler.handle(clock::now(), input);
    }

    fn committed(&mut self, done: &Done) {
        if !self.committer.accept(done) {
            return;
        }
        let (seq, result) = (done.seq, done.result);
        if let (CommitResult::Deposed, Some(term)) = (result, self.scheduler.term()) {
            self.signals.refused.send_replace(term);
        }
        self.input(Input::CommitDone { seq, result });
    }

    fn assembled(&mut self, assembled: Assembled) {
        if self.assembler.accept(&assembled) {
            let Assembled { run, result, .. } = assembled;
            self.input(Input::InputAssembled { run, result });
        }
    }

    fn leadership(&mut self, event: LeaderEvent) {
        match event {
            LeaderEvent::Until(until) => {
                self.input(Input::LeadershipUntil(until));
                self.answer_held();
            }
            LeaderEvent::Elected { term, loaded } => {
                self.input(Input::Elected { term, loaded });
                self.signals.revision.send_replace(self.scheduler.revision());
                self.signals.leading.send_replace(true);
            }
            LeaderEvent::Deposed => {
                self.signals.leading.send_replace(false);
                // A transaction of the old term that was not begun yet must not be begun later.
                self.carry_out();
                self.committer.give_up();
                self.assembler.give_up();
                self.input(Input::Deposed);
                self.carry_out();
                self.held.drain(..).for_each(|question| question(None));
                self.outlets.refuse_all("this replica is no longer the leader");
                self.followers.clear();
                self.inspections.clear();
            }
        }
    }

    fn session(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Connected { session, hello, outlet } => {
                self.outlets.add(session, outlet);
                self.input(Input::NodeConnected { session, hello });
            }
            SessionEvent::Message { session, message } => {
                if self.outlets.contains(session) {
                    self.input(Input::NodeMessage { session, message });
                }
            }
            SessionEvent::Disconnected { session } => {
                self.outlets.forget(session);
                self.input(Input::NodeDisconnected { session });
            }
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Request { request, reply } => self.request(request, Waiting::Caller(reply)),
            Call::Query(question) => self.answer_question(question),
            Call::CertainQuery(question) if self.is_in_doubt() => {
                if self.held.len() >= CALLS_MAX {
                    // Whoever asked first has waited for longest, and may be gone.
                    drop(self.held.pop_front());
                }
                self.held.push_back(question);
            }
            Call::CertainQuery(question) => self.answer_question(question),
            Call::Follow { run, index, pieces, reply } => {
                if self.followers.has_room() {
                    let on = Request::Follow { run, index, on: true };
                    self.request(on, Waiting::Follower { run, index, pieces, reply });
                } else {
                    answer(reply, Err(RequestError::Busy("too many tasks are being followed")));
                }
            }
            Call::Inspect { run, index, sample_for, seen, reply } => {
                if self.inspections.has_room() {
                    let inspect = Request::Inspect { run, index, sample_for };
                    self.request(inspect, Waiting::Inspector { seen, reply });
                } else {
                    answer(reply, Err(RequestError::Busy("too many tasks are being looked into")));
                }
            }
        }
    }

    /// Whether this process leads unless somebody else does.
    fn is_in_doubt(&self) -> bool {
        self.scheduler.is_leader() && !self.scheduler.is_certain(clock::mono())
    }

    fn answer_question(&self, question: Question) {
        question(self.scheduler.is_leader().then(|| (&self.scheduler, clock::now())));
    }

    fn answer_held(&mut self) {
        if !self.is_in_doubt() {
            std::mem::take(&mut self.held).into_iter().for_each(|question| self.answer_question(question));
        }
    }

    fn request(&mut self, request: Request, waiting: Waiting) {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.waiting.insert(id, waiting);
        self.input(Input::Request { id, request });
    }

    /// Does what the scheduler says, in its order.
    fn carry_out(&mut self) {
        while let Some(output) = self.scheduler.poll_output() {
            match output {
                Output::Commit { txn, object } => self.committer.begin(*txn, object),
                Output::Send { session, message } => self.outlets.send(session, &message),
                Output::Close { session } => self.outlets.close(session),
                Output::Reply { id, result } => self.reply(id, result),
                Output::TaskOutput(output) => self.deliver(&output),
                Output::Inspected(inspected) => self.inspections.answer(*inspected),
                Output::AssembleInput { run, from, items } => self.assembler.begin(&self.scheduler, run, from, items),
                Output::NextInstant { namespace, job, version, schedule, time_zone, after_ms } => {
                    let at_ms = next_instant(&schedule, &time_zone, after_ms);
                    self.input(Input::NextInstant { namespace, job, version, after_ms, at_ms });
                }
                Output::Changed { revision } => drop(self.signals.revision.send_replace(revision)),
            }
        }
    }

    fn reply(&mut self, id: RequestId, result: Result<Reply, RequestError>) {
        match self.waiting.remove(&id) {
            Some(Waiting::Caller(reply)) => answer(reply, result),
            Some(Waiting::Follower { run, index, pieces, reply }) => {
                if result == Ok(Reply::Following(true)) {
                    self.followers.add(run, index, pieces);
                }
                answer(reply, result);
            }
            Some(Waiting::Inspector { seen, reply }) => {
                if result.is_ok() {
                    self.inspections.add(id.0, seen);
                }
                answer(reply, result);
            }
            Some(Waiting::Nobody) | None => {}
        }
    }

    fn deliver(&mut self, output: &message::Output) {
        if !self.followers.deliver(output) && !output.last {
            let (run, index) = (output.run, output.index);
            self.request(Request::Follow { run, index, on: false }, Waiting::Nobody);
        }
    }
}

/// When a cron job fires next; never, if its schedule cannot be read, which is checked before it is stored.
fn next_instant(schedule: &str, time_zone: &str, after_ms: u64) -> Option<u64> {
    match Schedule::parse(schedule, time_zone) {
        Ok(schedule) => schedule.next(after_ms),
        Err(error) => {
            tracing::error!(%error, schedule, time_zone, "a stored schedule cannot be read");
            None
        }
    }
}

/// Whoever asked may have gone.
fn answer(reply: oneshot::Sender<Result<Reply, RequestError>>, result: Result<Reply, RequestError>) {
    drop(reply.send(result));
}
