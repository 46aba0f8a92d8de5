//! The way to the store and back: requests take time, may be lost either way, and may land late.

use core::time::Duration;
use std::rc::Rc;

use weir_wire::{
    id::{Seq, Term},
    txn::{CommitResult, Txn},
};

use crate::{
    event::Kind,
    office::LEADER_LEASE,
    oracle::Checking,
    property::Check,
    store::{Map, PREFIXES, Pair, page},
    world::{World, ns},
};

/// How long a replica waits for an answer that does not come.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// What is asked of the store.
#[derive(Debug)]
pub(crate) enum Ask {
    Commit {
        txn: Txn,
        object: Option<(String, Vec<u8>)>,
    },
    /// Create the leader key, on a lease that began when this was sent.
    Campaign,
    /// Renew the lease of a term.
    Renew {
        term: Term,
    },
    /// End a lease, and with it a leader key that hangs on it.
    Revoke {
        lease: u64,
    },
    /// Read a page.
    Page(PageAsk),
}

/// Which page is to be read.
#[derive(Debug, Clone)]
pub(crate) struct PageAsk {
    pub(crate) term: Term,
    /// The number of this reading of the store, within a term.
    pub(crate) reading: u32,
    pub(crate) prefix: usize,
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
    /// What is read: a revision, or whatever is there.
    pub(crate) pinned: Option<(u64, Rc<Map>)>,
}

/// What the store says.
#[derive(Debug)]
pub(crate) enum Said {
    Nothing,
    Commit(CommitResult),
    Won(Term),
    Lost,
    Kept(bool),
    Page(Vec<Pair>),
    Compacted,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) replica: usize,
    epoch: u64,
    /// When it was sent.
    sent: u64,
    ask: Ask,
    said: Said,
    /// Whether the answer comes.
    known: bool,
    /// Events to come.
    left: u8,
}

impl World {
    /// Sends a request to the store.
    pub(crate) fn call(&mut self, at: usize, ask: Ask) {
        let store = self.options.store;
        let replica = &self.replicas[at];
        let cut = replica.cut_until > self.now;
        let epoch = replica.epoch;
        self.next_call += 1;
        let call = self.next_call;
        let mut delay = || ns(self.rng.store.duration(Duration::from_micros(200), store.delay_max));
        let (there, back) = (self.now + delay(), delay());
        let lost = !self.healed && self.rng.store.chance(store.unknown);
        let late = self.now + ns(self.rng.store.duration(Duration::ZERO, store.late_max));
        let fate = self.rng.store.below(3);
        let mut record = Call { replica: at, epoch, sent: self.now, ask, said: Said::Nothing, known: true, left: 2 };
        if cut || lost {
            record.known = false;
            self.count("store-unknown");
            self.events.push(self.now + ns(CALL_TIMEOUT), Kind::Answer { call });
            match fate {
                0 if !cut => self.events.push(there, Kind::Apply { call }),
                1 if !cut => {
                    self.count("store-late");
                    self.events.push(late, Kind::Apply { call });
                }
                _ => record.left = 1,
            }
        } else {
            self.events.push(there, Kind::Apply { call });
            self.events.push(there + back, Kind::Answer { call });
        }
        self.calls.insert(call, record);
    }

    /// A request reaches the store.
    pub(crate) fn apply(&mut self, id: u64) -> Check {
        let Some(mut call) = self.calls.remove(&id) else { return Ok(()) };
        call.said = match &mut call.ask {
            Ask::Commit { txn, object } => {
                let object = object.take();
                Said::Commit(self.apply_commit(txn, object)?)
            }
            Ask::Campaign => self.apply_campaign(call.replica, id, call.sent),
            Ask::Renew { term } => Said::Kept(self.apply_renew(*term)),
            Ask::Revoke { lease } => {
                self.revoked.insert(*lease);
                if self.store.led && self.store.newest.is_some_and(|leader| leader.lease == *lease) {
                    self.store.depose(&mut self.trace);
                }
                Said::Nothing
            }
            Ask::Page(ask) => self.apply_page(ask),
        };
        call.left -= 1;
        if call.left > 0 {
            self.calls.insert(id, call);
        }
        Ok(())
    }

    fn apply_commit(
        &mut self,
        txn: &Txn,
        object: Option<(String, Vec<u8>)>,
    ) -> Result<CommitResult, crate::property::Broken> {
        if let Some((name, bytes)) = object {
            self.store.keep_object(name, bytes, &mut self.trace);
        }
        let (result, applied) = self.store.commit(txn, &mut self.trace);
        if applied {
            self.oracle.applied(txn, &self.store.objects)?;
            if !txn.deletes.is_empty() && self.oracle.rebuild_is_due(self.store.bytes) {
                self.oracle.rebuilds(&self.store.load(), Checking::Store)?;
            }
        }
        Ok(result)
    }

    fn apply_campaign(&mut self, replica: usize, lease: u64, sent: u64) -> Said {
        let until = sent + ns(LEADER_LEASE);
        if until <= self.now || self.revoked.contains(&lease) {
            return Said::Lost;
        }
        let Some(term) = self.store.elect(replica, lease, until, &mut self.trace) else {
            return Said::Lost;
        };
        self.trace.line(self.now, format_args!("replica {replica} is elected for term {term}"));
        self.events.push(until, Kind::Expire { term });
        Said::Won(term)
    }

    fn apply_renew(&mut self, term: Term) -> bool {
        if self.store.term() != Some(term) {
            return false;
        }
        let Some(leader) = &mut self.store.newest else { return false };
        if leader.until <= self.now {
            return false;
        }
        leader.until = self.now + ns(LEADER_LEASE);
        self.trace.number(leader.until);
        true
    }

    fn apply_page(&mut self, ask: &PageAsk) -> Said {
        if ask.pinned.as_ref().is_some_and(|(revision, _)| *revision < self.store.compacted) {
            return Said::Compacted;
        }
        let map = ask.pinned.as_ref().map_or(&self.store.map, |(_, map)| map);
        let pairs = page(map, PREFIXES[ask.prefix], ask.after.as_deref(), ask.limit);
        for (key, value) in &pairs {
            self.trace.bytes(key.as_bytes());
            self.trace.bytes(value);
        }
        Said::Page(pairs)
    }

    /// The store's answer reaches the replica, or is waited for no longer.
    pub(crate) fn answer(&mut self, id: u64) -> Check {
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        call.left -= 1;
        let (at, epoch, sent) = (call.replica, call.epoch, call.sent);
        let said = if call.known { std::mem::replace(&mut call.said, Said::Nothing) } else { Said::Nothing };
        // What was lost may land later, so the request stays.
        let asked = match &call.ask {
            Ask::Commit { txn, .. } => Asked::Commit(txn.term, txn.seq),
            Ask::Campaign => Asked::Campaign,
            Ask::Renew { term } => Asked::Renew(*term),
            Ask::Revoke { .. } => Asked::Revoke,
            Ask::Page(ask) => Asked::Page(ask.clone()),
        };
        if call.left == 0 {
            self.calls.remove(&id);
        }
        if self.replicas[at].epoch != epoch {
            return Ok(());
        }
        match asked {
            Asked::Commit(term, seq) => {
                let result = if let Said::Commit(result) = said { result } else { CommitResult::Unknown };
                self.commit_answered(at, term, seq, result)
            }
            Asked::Campaign => self.campaign_answered(at, id, sent, &said),
            Asked::Renew(term) => self.renew_answered(at, term, sent, &said),
            Asked::Revoke => Ok(()),
            Asked::Page(ask) => self.page_answered(at, ask, said),
        }
    }

    /// Whom a call belongs to, for frozen replicas.
    pub(crate) fn call_owner(&self, id: u64) -> Option<usize> {
        self.calls.get(&id).map(|call| call.replica)
    }
}

/// What an answer is for.
enum Asked {
    Commit(Term, Seq),
    Campaign,
    Renew(Term),
    Revoke,
    Page(PageAsk),
}
