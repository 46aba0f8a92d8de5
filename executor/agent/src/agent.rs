//! The state machine itself: its calls, and which part handles what.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use weir_wire::{
    attempt::AttemptEvent,
    id::{Digest, RunId, TaskId, Term},
    message::{Extended, ToExecutor},
    units::{Instant, Now},
};

use crate::{
    config::Config,
    input::Input,
    inspect::Inspection,
    lease::Lease,
    ledger::Ledger,
    news::News,
    outbox::Outbox,
    output::{DisconnectReason, ExitReason, Output, Reason},
    range::{ModuleEntry, Range, RangeKey, Run},
    session::Session,
    speed::Speedometer,
    stats::{Stats, Totals},
};

/// One node.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) session: Session,
    pub(crate) term: Term,
    pub(crate) lease: Lease,
    pub(crate) ledger: Ledger,
    pub(crate) runs: BTreeMap<RunId, Run>,
    pub(crate) modules: BTreeMap<Digest, ModuleEntry>,
    /// Modules that became ready so far.
    pub(crate) compiled: u64,
    pub(crate) ranges: BTreeMap<RangeKey, Range>,
    pub(crate) running: usize,
    /// The sum of what the sandbox may start by itself.
    pub(crate) ahead: usize,
    pub(crate) parked: usize,
    pub(crate) outbox: Outbox,
    pub(crate) news: News,
    pub(crate) last_report: Instant,
    /// Ranges that were closed since then.
    pub(crate) closed: usize,
    pub(crate) last_returned: Instant,
    pub(crate) follows: BTreeSet<TaskId>,
    pub(crate) inspections: Vec<Inspection>,
    pub(crate) speedometer: Speedometer,
    pub(crate) sweep_at: Option<Instant>,
    /// Some revocable attempts were throttled when that was last looked at.
    pub(crate) cpu_is_short: bool,
    /// Running tasks that are to be ended, by when.
    pub(crate) graces: BTreeSet<(Instant, RangeKey)>,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) stage: Stage,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) stats: Totals,
    random: u64,
}

/// How near the daemon is to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Serving,
    Draining,
    Exited,
}

impl Agent {
    /// A node that holds nothing. `seed` spreads its renewals.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        let config = config.clamped();
        Self {
            ledger: Ledger::new(config.capacity),
            config,
            now: Now::default(),
            session: Session::Down,
            term: Term::default(),
            lease: Lease::default(),
            runs: BTreeMap::new(),
            modules: BTreeMap::new(),
            compiled: 0,
            ranges: BTreeMap::new(),
            running: 0,
            ahead: 0,
            parked: 0,
            outbox: Outbox::new(),
            news: News::default(),
            last_report: Instant::default(),
            closed: 0,
            last_returned: Instant::default(),
            follows: BTreeSet::new(),
            inspections: Vec::new(),
            speedometer: Speedometer::default(),
            sweep_at: None,
            cpu_is_short: false,
            graces: BTreeSet::new(),
            retry_at: None,
            stage: Stage::Serving,
            outputs: VecDeque::new(),
            stats: Totals::default(),
            random: seed,
        }
    }

    /// Takes one input. Cost: constant for the events of short attempts, linear in the held ranges for session changes,
    /// stops and ticks.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = Now { mono: now.mono.max(self.now.mono), wall_ms: now.wall_ms };
        if self.stage == Stage::Exited {
            return;
        }
        self.check_lease();
        match input {
            Input::Connected => self.connected(),
            Input::Disconnected => self.disconnected(),
            Input::Control(message) => self.control(message),
            Input::Sandbox(AttemptEvent::Ended(ended)) => self.ended(*ended),
            Input::Sandbox(AttemptEvent::Progress(progress)) => self.progress(&progress),
            Input::Sandbox(AttemptEvent::Output(chunk)) => self.live_output(&chunk),
            Input::Sandbox(AttemptEvent::Seen(seen)) => self.seen(seen),
            Input::Sandbox(AttemptEvent::Settled(id)) => self.settled(id),
            Input::Sandbox(AttemptEvent::Module(ready)) => self.module_ready(ready),
            Input::ModuleStored { digest, path } => self.module_stored(digest, path),
            Input::ModuleFailed { digest, message, retry } => self.module_failed(digest, message, retry),
            Input::PayloadReady { run } => self.payload_ready(run),
            Input::PayloadFailed { run, message, retry } => self.payload_failed(run, message, retry),
            Input::BlobUploaded { id, part, blob } => self.uploaded(id, part, blob),
            Input::BlobUploadFailed { id, part, bytes, message, retry } => {
                self.upload_failed(id, part, bytes, &message, retry);
            }
            Input::Measured(used) => self.measured(used),
            Input::ShuttingDown => self.drain(),
            Input::ShutDownNow => self.shut_down_now(),
            Input::Tick => self.tick(),
        }
        self.exit_if_drained();
    }

    /// The next thing to do. Drain until `None` after each turn; a turn may be several inputs.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if self.stage == Stage::Exited {
            return None;
        }
        self.report_if_due().or_else(|| {
            self.exit_if_drained();
            self.outputs.pop_front()
        })
    }

    /// When to call [`Agent::handle`] with [`Input::Tick`] at the latest, and why.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<(Instant, Reason)> {
        if self.stage == Stage::Exited {
            return None;
        }
        [
            (self.report_at(), Reason::Report),
            (self.sweep_at, Reason::Sweep),
            (self.graces.first().map(|(at, _)| *at), Reason::Grace),
            (self.lease.renew_at(), Reason::Renew),
            (self.lease.until(), Reason::LeaseEnd),
            (self.session.silent_at(), Reason::Silence),
            (self.retry_at.filter(|_| self.is_up()), Reason::Retry),
        ]
        .into_iter()
        .filter_map(|(at, reason)| Some((at?, reason)))
        .min()
    }

    /// What the node holds and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            connected: self.is_up(),
            term: self.term,
            lease_until: self.lease.until(),
            capacity: self.ledger.capacity(),
            reserved: self.ledger.reserved(),
            revocable: self.ledger.revocable(),
            measured: self.ledger.measured(),
            ranges: self.ranges.len(),
            running: self.running,
            parked: self.parked,
            outbox_len: self.outbox.len(),
            outbox_bytes: self.outbox.bytes(),
            runs: self.runs.len(),
            modules: self.modules.len(),
            fuel_per_s: self.speedometer.fuel_per_s(),
            totals: self.stats,
        }
    }

    /// Whether a leader accepted the session.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.session, Session::Up { .. })
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.stage != Stage::Serving
    }

    pub(crate) fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn exit(&mut self, reason: ExitReason) {
        tracing::info!(%reason, "leaving");
        self.stage = Stage::Exited;
        self.emit(Output::Exit(reason));
    }

    pub(crate) fn next_random(&mut self) -> u64 {
        // SplitMix64: one stream, used only to spread renewals.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    }

    fn control(&mut self, message: ToExecutor) {
        if let ToExecutor::Refuse(refuse) = message {
            return self.refused(refuse);
        }
        if let ToExecutor::Welcome(welcome) = message {
            return self.welcomed(&welcome);
        }
        if !self.is_up() {
            if self.session.is_open() {
                self.hang_up(DisconnectReason::Protocol("a message before the welcome"));
            }
            return;
        }
        match message {
            ToExecutor::Define(spec) | ToExecutor::DefineMore(Extended(spec)) => self.define(spec),
            ToExecutor::Grant(grant) => self.grant(grant),
            ToExecutor::Stop(stop) => self.stop(&stop),
            ToExecutor::Ack(ack) => self.acknowledged(ack.through),
            ToExecutor::Renewed(renewed) => self.renewed(renewed.token),
            ToExecutor::Forget(run) => self.forget(run),
            ToExecutor::Present => self.present(),
            ToExecutor::Follow(follow) => self.follow(follow),
            ToExecutor::Inspect(inspect) => self.inspect(inspect),
            ToExecutor::Welcome(_) | ToExecutor::Refuse(_) => {}
        }
    }

    fn tick(&mut self) {
        let now = self.now.mono;
        self.graces_passed();
        if self.session.silent_at().is_some_and(|at| at <= now) {
            self.hang_up(DisconnectReason::Silent);
        }
        if self.lease.renew_at().is_some_and(|at| at <= now) {
            self.renew();
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep();
        }
        if self.is_up() && self.retry_at.is_some_and(|at| at <= now) {
            self.ask_again();
        }
    }

    fn drain(&mut self) {
        if self.stage == Stage::Serving {
            tracing::info!(ranges = self.ranges.len(), running = self.running, "draining");
            self.stage = Stage::Draining;
            self.say_draining();
            self.give_back_all();
        }
    }

    fn shut_down_now(&mut self) {
        self.drain();
        self.cancel_all(weir_wire::task::Reason::Drained);
    }

    fn exit_if_drained(&mut self) {
        let told = !self.is_up() || self.news.returned.is_empty();
        if self.stage == Stage::Draining && self.ranges.is_empty() && self.outbox.len() == 0 && told {
            self.exit(ExitReason::Drained);
        }
    }
}
