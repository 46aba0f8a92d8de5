//! The loop around the agent: one turn takes what has happened, hands it over, and does what is asked for.

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use weir_agent::{Agent, DisconnectReason, ExitReason, Input, Output, Start, Stats, limits::MEASURE_EVERY};
use weir_sandbox::Sandbox;
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, Command, EndedAttempt},
    id::Term,
    outcome::{Failure, Outcome},
    task::{Reason, Source, Status},
};

use crate::{
    clock,
    payloads::Payloads,
    readiness,
    sampler::Sampler,
    transfer::{Done, Transfers},
    uplink::{Event, Uplink},
};

/// Most batches of sandbox events in one turn.
const BATCHES_MAX: usize = 64;
/// How long the last outcomes may take after the grace has passed.
const FLUSH_TIME: Duration = Duration::from_secs(5);

/// All that the loop holds.
pub(crate) struct Driver {
    pub(crate) agent: Agent,
    pub(crate) sandbox: Sandbox,
    pub(crate) events: mpsc::UnboundedReceiver<Vec<AttemptEvent>>,
    pub(crate) uplink: Uplink,
    pub(crate) transfers: Transfers,
    pub(crate) transferred: mpsc::UnboundedReceiver<Done>,
    pub(crate) payloads: Payloads,
    pub(crate) sampler: Sampler,
    pub(crate) stats: watch::Sender<Stats>,
    pub(crate) grace: Duration,
    /// The term that is over of the control plane of which a warning was given.
    pub(crate) stale_said: Option<Term>,
}

/// How the loop ended.
#[derive(Debug)]
pub(crate) enum End {
    Exit(ExitReason),
    /// The grace has passed, and not everything is recorded.
    GraceOver,
    Link(weir_link::Error),
}

/// The steps of a shutdown, each with its time.
enum Stage {
    Serving,
    Draining(Instant),
    Flushing(Instant),
}

impl Driver {
    /// Runs until the agent ends; `shutdown` asks it to.
    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) -> End {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut stage = Stage::Serving;
        let (mut batches, mut events, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
        let mut measure = interval(MEASURE_EVERY);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            let tick_at = self.tick_at();
            let stage_at = stage.until();
            tokio::select! {
                () = self.uplink.next(&mut events) => {}
                _ = self.events.recv_many(&mut batches, BATCHES_MAX) => {}
                Some(done) = self.transferred.recv() => inputs.push(self.transferred(done)),
                () = &mut shutdown, if matches!(stage, Stage::Serving) => {
                    stage = Stage::Draining(Instant::now() + self.grace);
                    readiness::notify("STOPPING=1");
                    inputs.push(Input::ShuttingDown);
                }
                () = sleep_until(stage_at.unwrap_or_else(Instant::now)), if stage_at.is_some() => {
                    if matches!(stage, Stage::Flushing(_)) {
                        break End::GraceOver;
                    }
                    stage = Stage::Flushing(Instant::now() + FLUSH_TIME);
                    inputs.push(Input::ShutDownNow);
                }
                _ = measure.tick() => {
                    let now = clock::now().mono;
                    self.sandbox.tick(now);
                    let used = self.sampler.sample(now, self.sandbox.used());
                    inputs.extend(used.map(Input::Measured));
                }
                () = sleep_until(tick_at.unwrap_or_else(Instant::now)), if tick_at.is_some() => inputs.push(Input::Tick),
            }
            if let Some(error) = self.take_events(&mut events, &mut inputs) {
                break End::Link(error);
            }
            inputs.extend(batches.drain(..).flatten().map(Input::Sandbox));
            if let Some(reason) = self.turn(&mut inputs).await {
                break End::Exit(reason);
            }
        };
        self.uplink.finish().await;
        self.sandbox.shutdown();
        end
    }

    /// Hands the inputs over and follows the outputs until there are none.
    async fn turn(&mut self, inputs: &mut Vec<Input>) -> Option<ExitReason> {
        let was_up = self.agent.is_up();
        loop {
            let now = clock::now();
            if self.agent.poll_deadline().is_some_and(|(at, _)| at <= now.mono) {
                inputs.push(Input::Tick);
            }
            inputs.drain(..).for_each(|input| self.agent.handle(now, input));
            let mut commands = Vec::new();
            let mut exit = None;
            while let Some(output) = self.agent.poll_output() {
                exit = self.follow(output, &mut commands, inputs).await.or(exit);
            }
            if !commands.is_empty() {
                self.sandbox.send_many(commands);
            }
            if exit.is_some() || inputs.is_empty() {
                self.stats.send_replace(self.agent.stats());
                if !was_up && self.agent.is_up() {
                    self.stale_said = None;
                    self.uplink.accepted();
                    readiness::notify("READY=1");
                }
                return exit;
            }
        }
    }

    async fn follow(
        &mut self,
        output: Output,
        commands: &mut Vec<Command>,
        inputs: &mut Vec<Input>,
    ) -> Option<ExitReason> {
        match output {
            Output::Send(message) => self.uplink.send(&message).await,
            Output::Start(Start { id, ordinal, ahead, payload }) => match self.payloads.resolve(id.task.run, payload) {
                Ok(payload) => commands.push(Command::Start(AttemptSpec { id, ordinal, ahead, payload })),
                Err(why) => {
                    let failure = Failure::new(Reason::HostError, Source::Executor, why);
                    let outcome = Outcome::not_run(Status::Failed, failure);
                    let (large_result, large_log) = ([].into(), [].into());
                    let ended = EndedAttempt { id, outcome, large_result, large_log, next_started: false };
                    inputs.push(Input::Sandbox(AttemptEvent::Ended(Box::new(ended))));
                }
            },
            Output::Sandbox(command) => {
                if let Command::Forget(run) = &command {
                    self.payloads.forget(*run);
                }
                commands.push(command);
            }
            Output::FetchModule(digest) => self.transfers.module(self.uplink.session(), digest),
            Output::FetchPayload { run, blob } => match self.payloads.share(&blob.digest) {
                Some(bytes) => self.transfers.have_payload(run, blob.digest, bytes),
                None => self.transfers.payload(self.uplink.session(), run, blob),
            },
            Output::Upload { id, part, bytes } => self.transfers.upload(self.uplink.session(), id, part, bytes),
            Output::Disconnect(reason) => self.leave(&reason),
            Output::Exit(reason) => return Some(reason),
        }
        None
    }

    fn leave(&mut self, reason: &DisconnectReason) {
        let DisconnectReason::StaleTerm { found, known } = reason else {
            tracing::info!(%reason, "leaving the session");
            return self.uplink.close(&reason.to_string());
        };
        if self.stale_said.replace(*found).is_none() {
            tracing::warn!(
                leader.term = found.0,
                known.term = known.0,
                "the control plane's store is older than what this executor has seen of it: a snapshot was restored, or it \
                 runs on another store; what runs here goes on and is reported to nobody; if the store is the right one, \
                 restart this executor, which ends its tasks"
            );
        }
        self.uplink.leave_stale(&reason.to_string());
    }

    /// Turns what the link brought into inputs; the error that ends everything, if there is one.
    fn take_events(&mut self, events: &mut Vec<Event>, inputs: &mut Vec<Input>) -> Option<weir_link::Error> {
        for event in events.drain(..) {
            inputs.push(match event {
                Event::Connected(session, sender) => {
                    self.uplink.opened(session, sender);
                    Input::Connected
                }
                Event::Message(message) => Input::Control(message),
                Event::Disconnected => {
                    self.uplink.close("the session is over");
                    Input::Disconnected
                }
                Event::Failed(error) => return Some(error),
            });
        }
        None
    }

    fn transferred(&mut self, done: Done) -> Input {
        match done {
            Done::Input(input) => input,
            Done::Payload { run, digest, bytes } => {
                if self.payloads.put(run, digest, bytes) {
                    return Input::PayloadReady { run };
                }
                let message = "the memory for payloads is in use".to_owned();
                Input::PayloadFailed { run, message, retry: true }
            }
        }
    }

    /// When the agent wants to come back.
    fn tick_at(&self) -> Option<Instant> {
        let (at, _) = self.agent.poll_deadline()?;
        Some(Instant::now() + at.since(clock::now().mono))
    }
}

impl Stage {
    const fn until(&self) -> Option<Instant> {
        match self {
            Self::Serving => None,
            Self::Draining(at) | Self::Flushing(at) => Some(*at),
        }
    }
}
