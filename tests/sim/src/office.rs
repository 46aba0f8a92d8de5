//! Leadership as the control daemon seeks it: it campaigns, reads the store, and keeps its lease alive.

use core::time::Duration;
use std::rc::Rc;

use weir_scheduler::{Input, Scheduler};
use weir_wire::id::{Seq, Term};

use crate::{
    calls::{Ask, PageAsk, Said},
    event::Kind,
    oracle::Checking,
    property::{Check, Property, broken},
    store::{PREFIXES, Pair, assemble},
    world::{World, ns},
};

/// The length of a leader's lease, and how often it is kept alive.
pub(crate) const LEADER_LEASE: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_millis(750);
/// What of the lease a leader counts on.
const LEADER_LEASE_SURE: Duration = Duration::from_millis(2850);
/// The longest pause between two looks of a candidate.
const CAMPAIGN_EVERY: Duration = Duration::from_millis(250);
/// Most pairs of a page.
const PAGE_LEN_MAX: usize = 4096;

/// How a replica stands towards leadership.
#[derive(Debug, Default)]
pub(crate) enum Office {
    /// It campaigns now and then.
    #[default]
    Follower,
    /// It has won and reads the store.
    Reading(Reading),
    /// It was told what the store held.
    Leading(Term),
}

/// A store being read, page by page.
#[derive(Debug)]
pub(crate) struct Reading {
    term: Term,
    number: u32,
    head: Seq,
    pairs: Vec<Pair>,
}

impl Office {
    fn term(&self) -> Option<Term> {
        match self {
            Self::Follower => None,
            Self::Reading(reading) => Some(reading.term),
            Self::Leading(term) => Some(*term),
        }
    }
}

impl World {
    /// Makes a replica a follower, which looks after a while whether somebody leads.
    pub(crate) fn follow(&mut self, at: usize) {
        let lag = self.options.store.watch_lag_max;
        let replica = &mut self.replicas[at];
        replica.office = Office::Follower;
        let pause = replica.rng.duration(Duration::from_millis(20), CAMPAIGN_EVERY);
        // A follower that relies on a watch may hear late that the leader's key is gone.
        let late = replica.rng.duration(Duration::ZERO, lag);
        let epoch = replica.epoch;
        self.events.push(self.now + ns(pause + late), Kind::Campaign { replica: at, epoch });
    }

    /// A follower tries to become leader.
    pub(crate) fn campaign(&mut self, at: usize) {
        if matches!(self.replicas[at].office, Office::Follower) {
            self.call(at, Ask::Campaign);
        }
    }

    pub(crate) fn campaign_answered(&mut self, at: usize, lease: u64, sent: u64, said: &Said) -> Check {
        let Said::Won(term) = *said else {
            if matches!(said, Said::Nothing) {
                // A key that was created all the same goes with its lease.
                self.call(at, Ask::Revoke { lease });
            }
            self.follow(at);
            return Ok(());
        };
        self.replicas[at].office = Office::Reading(Reading { term, number: 0, head: Seq(0), pairs: Vec::new() });
        let epoch = self.replicas[at].epoch;
        self.events.push(sent.max(self.now) + ns(KEEP_ALIVE), Kind::KeepAlive { replica: at, epoch, term });
        self.certain(at, sent)?;
        self.read(at);
        Ok(())
    }

    /// Leadership is certain for a while from when a renewal was sent.
    fn certain(&mut self, at: usize, sent: u64) -> Check {
        let until = self.replicas[at].clock.mono(sent) + LEADER_LEASE_SURE;
        self.control_input(at, Input::LeadershipUntil(until))
    }

    /// Begins to read the store.
    fn read(&mut self, at: usize) {
        let Office::Reading(reading) = &mut self.replicas[at].office else { return };
        reading.number += 1;
        reading.pairs.clear();
        let options = self.options.store;
        let pinned = options.pinned.then(|| (self.store.revision, Rc::new(self.store.map.clone())));
        reading.head = self.store.head;
        let (term, number) = (reading.term, reading.number);
        let ask = PageAsk { term, reading: number, prefix: 0, after: None, limit: options.page_len, pinned };
        self.call(at, Ask::Page(ask));
    }

    pub(crate) fn page_answered(&mut self, at: usize, mut ask: PageAsk, said: Said) -> Check {
        let Office::Reading(reading) = &mut self.replicas[at].office else { return Ok(()) };
        if (reading.term, reading.number) != (ask.term, ask.reading) {
            return Ok(());
        }
        let Said::Page(pairs) = said else {
            self.count("load-restart");
            self.read(at);
            return Ok(());
        };
        if pairs.len() < ask.limit {
            ask.prefix += 1;
            ask.after = None;
        } else {
            ask.after = pairs.last().map(|(key, _)| key.clone());
            ask.limit = (ask.limit * 8).min(PAGE_LEN_MAX);
        }
        reading.pairs.extend(pairs);
        if ask.prefix < PREFIXES.len() {
            self.call(at, Ask::Page(ask));
            return Ok(());
        }
        let Office::Reading(reading) = std::mem::take(&mut self.replicas[at].office) else { return Ok(()) };
        self.elected(at, reading)
    }

    /// A new leader has read the store.
    fn elected(&mut self, at: usize, reading: Reading) -> Check {
        let Reading { term, head, pairs, .. } = reading;
        let loaded = assemble(head, pairs.iter().map(|(key, value)| (key.as_str(), &value[..])));
        // Whoever was deposed while it read may have read anything, and must survive it.
        let leads = self.store.term() == Some(term);
        if leads {
            self.oracle.rebuilds(&loaded, Checking::Load)?;
        }
        let loaded = match loaded {
            Ok(loaded) => Box::new(loaded),
            Err(message) => return broken(Property::View, message),
        };
        self.replicas[at].office = Office::Leading(term);
        self.replicas[at].committing = false;
        self.control_input(at, Input::Elected { term, loaded })?;
        if leads { self.check_view(at) } else { Ok(()) }
    }

    /// A leader renews its lease.
    pub(crate) fn keep_alive(&mut self, at: usize, term: Term) {
        if self.replicas[at].office.term() == Some(term) {
            self.call(at, Ask::Renew { term });
        }
    }

    pub(crate) fn renew_answered(&mut self, at: usize, term: Term, sent: u64, said: &Said) -> Check {
        if self.replicas[at].office.term() != Some(term) {
            return Ok(());
        }
        let epoch = self.replicas[at].epoch;
        match said {
            Said::Kept(true) => {
                let next = (sent + ns(KEEP_ALIVE)).max(self.now);
                self.events.push(next, Kind::KeepAlive { replica: at, epoch, term });
                self.certain(at, sent)
            }
            Said::Kept(false) => self.deposed(at, term),
            Said::Nothing | Said::Commit(_) | Said::Won(_) | Said::Lost | Said::Page(_) | Said::Compacted => {
                let pause = self.replicas[at].rng.duration(Duration::from_millis(50), KEEP_ALIVE);
                self.events.push(self.now + ns(pause), Kind::KeepAlive { replica: at, epoch, term });
                Ok(())
            }
        }
    }

    /// A replica learns that it does not lead.
    pub(crate) fn deposed(&mut self, at: usize, term: Term) -> Check {
        if self.replicas[at].office.term() != Some(term) {
            return Ok(());
        }
        let told = matches!(self.replicas[at].office, Office::Leading(_));
        self.follow(at);
        let leads = self.replicas[at].scheduler.as_ref().and_then(Scheduler::term) == Some(term);
        if told && leads { self.control_input(at, Input::Deposed) } else { Ok(()) }
    }

    /// The lease of a leader may have ended: then the store removes its key, sooner or later.
    pub(crate) fn expire(&mut self, term: Term) {
        let Some(leader) = self.store.newest.filter(|leader| self.store.led && leader.term == term) else {
            return;
        };
        if leader.until > self.now {
            self.events.push(leader.until, Kind::Expire { term });
            return;
        }
        let lag = self.rng.store.duration(Duration::ZERO, self.options.store.removal_lag_max);
        self.events.push(self.now + ns(lag), Kind::Remove { term });
    }

    /// The store removes the key of a leader whose lease has ended.
    pub(crate) fn remove(&mut self, term: Term) {
        if self.store.term() == Some(term) {
            self.trace.line(self.now, format_args!("the leader key of term {term} is gone"));
            self.store.depose(&mut self.trace);
        }
    }

    /// The store loses the lease of a living leader.
    pub(crate) fn lose_lease(&mut self) {
        if let Some(leader) = self.store.newest.filter(|_| self.store.led) {
            self.lease_broken_until = self.lease_broken_until.max(leader.until);
            self.remove(leader.term);
        }
    }
}
