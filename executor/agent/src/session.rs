//! The session with the control plane: greeting, term, lease, full state.

use alloc::boxed::Box;
use core::time::Duration;

use weir_wire::{
    attempt::{Command, LeaseSpec},
    message::{FullState, Refuse, RefuseCode, Renew, ToControl, WIRE_MIN, Welcome},
    node::Hello,
    task,
    units::Instant,
};

use crate::{
    agent::Agent,
    limits,
    output::{DisconnectReason, ExitReason, Output},
};

/// How far the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Down,
    /// Greeted; the answer is awaited until then.
    Greeting(Instant),
    /// Accepted.
    Up {
        /// When the peer counts as silent.
        silent_at: Instant,
        /// The wire version.
        wire: u32,
    },
}

impl Session {
    pub(crate) const fn is_open(self) -> bool {
        !matches!(self, Self::Down)
    }

    pub(crate) const fn silent_at(self) -> Option<Instant> {
        match self {
            Self::Down => None,
            Self::Greeting(at) | Self::Up { silent_at: at, .. } => Some(at),
        }
    }

    /// Whether the peer knows what this wire version brought.
    pub(crate) const fn speaks(self, version: u32) -> bool {
        matches!(self, Self::Up { wire, .. } if wire >= version)
    }
}

impl Agent {
    pub(crate) fn connected(&mut self) {
        self.disconnected();
        self.session = Session::Greeting(self.now.mono + limits::GREETING_TIMEOUT);
        let config = &self.config;
        let hello = Hello {
            wire_min: WIRE_MIN,
            wire_max: config.wire_max,
            cluster: config.cluster.clone(),
            node: config.node.clone(),
            installation: config.installation,
            incarnation: config.incarnation,
            boot: config.boot,
            version: config.version.clone(),
            attributes: config.attributes.clone(),
            capacity: config.capacity,
            lanes_max: config.lanes_max,
            modules: self.compiled(),
        };
        self.emit(Output::Send(ToControl::Hello(Box::new(hello))));
    }

    /// Forgets what belonged to the session; what runs goes on, and so does the lease.
    pub(crate) fn disconnected(&mut self) {
        if self.session == Session::Down {
            return;
        }
        self.session = Session::Down;
        self.lease.pause();
        self.news.clear();
        self.unfollow_all();
        self.inspections.clear();
        self.speedometer.forget_said();
        if !self.lease.holds(self.now.mono) {
            // Nothing was ever promised for it, so that no end of a lease will stop it.
            self.stop_uncovered();
        }
        tracing::debug!(held = self.ranges.len(), outbox = self.outbox.len(), "session ended");
    }

    pub(crate) fn hang_up(&mut self, reason: DisconnectReason) {
        tracing::debug!(%reason, "leaving the session");
        self.disconnected();
        self.emit(Output::Disconnect(reason));
    }

    pub(crate) fn refused(&mut self, refuse: Refuse) {
        if !self.session.is_open() {
            return;
        }
        let Refuse { code, message } = refuse;
        match code {
            RefuseCode::NotLeader => self.hang_up(DisconnectReason::NotLeader(message)),
            RefuseCode::Superseded => {
                self.cancel_all(task::Reason::ExecutorRestarted);
                self.exit(ExitReason::Superseded { incarnation: self.config.incarnation, message });
            }
            RefuseCode::WireVersion | RefuseCode::Cluster | RefuseCode::Identity | RefuseCode::Malformed => {
                self.exit(ExitReason::Refused { code, message });
            }
        }
    }

    pub(crate) fn welcomed(&mut self, welcome: &Welcome) {
        if !matches!(self.session, Session::Greeting(_)) {
            if self.session.is_open() {
                self.hang_up(DisconnectReason::Protocol("a second welcome"));
            }
            return;
        }
        if !(WIRE_MIN..=self.config.wire_max).contains(&welcome.wire) {
            return self.hang_up(DisconnectReason::Protocol("a wire version that was not offered"));
        }
        if welcome.term < self.term {
            return self.hang_up(DisconnectReason::StaleTerm { found: welcome.term, known: self.term });
        }
        tracing::info!(term = welcome.term.0, held = self.ranges.len(), outbox = self.outbox.len(), "joined");
        self.term = welcome.term;
        let now = self.now.mono;
        self.lease.begin(now, welcome.lease, welcome.renew_every);
        self.session = Session::Up { silent_at: now + self.silence_max(), wire: welcome.wire };
        // Before the full state, which makes the node ready for grants.
        self.say_draining();
        self.present();
        self.renew();
        self.report_speed();
        self.ask_again();
    }

    /// Sends what is held; everything unacknowledged follows in reports.
    pub(crate) fn present(&mut self) {
        let grants = self.ranges.values().map(crate::range::Range::held).collect();
        self.stats.outcomes_resent += self.outbox.rewind() as u64;
        let state = FullState { grants, outbox_first: self.outbox.first(), outbox_next: self.outbox.next() };
        self.emit(Output::Send(ToControl::State(state)));
    }

    /// Tells the control plane that no grants are wanted here, once that is so.
    pub(crate) fn say_draining(&mut self) {
        if self.is_draining() && self.is_up() {
            self.emit(Output::Send(ToControl::Draining));
        }
    }

    pub(crate) fn renew(&mut self) {
        let random = self.next_random();
        let token = self.lease.renew(self.now.mono, random);
        self.emit(Output::Send(ToControl::Renew(Renew { token })));
    }

    pub(crate) fn renewed(&mut self, token: u64) {
        if self.lease.renewed(self.now.mono, token) {
            let silence_max = self.now.mono + self.silence_max();
            if let Session::Up { silent_at, .. } = &mut self.session {
                *silent_at = silence_max;
            }
            if self.ranges.values().any(|range| range.fenced) {
                self.pass_lease_on();
            }
        }
    }

    /// Tells the sandbox how long fenced attempts may run: after a freeze it may be awake before the agent.
    pub(crate) fn pass_lease_on(&mut self) {
        if let Some(until) = self.lease.until() {
            self.emit(Output::Sandbox(Command::Lease(LeaseSpec { until_ns: until.0 })));
        }
    }

    /// A peer that answers no renewal for a whole lease does not lead, whatever its connection says.
    fn silence_max(&self) -> Duration {
        self.lease.length()
    }
}
