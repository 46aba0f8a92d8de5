//! Room that is kept for a run which had others make room, until it takes it or the claim lapses.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use weir_wire::{
    id::RunId,
    kind::{Kind, Tier},
    message::{Stop, ToExecutor},
    resources::Resources,
    task::Reason,
    units::Instant,
};

use crate::{
    check,
    class::{Class, ClassId},
    config::Config,
    grant::GrantRef,
    group::Book,
    limits::{CLAIM_SLACK, CLAIMS_PER_ROUND_MAX, EVICTING_RUNS_MAX, EVICTION_RETRY, EVICTION_RETRY_MAX, MEEK_FOR},
    place,
    plan::PlannedGrant,
    preempt::{Claimant, Eviction, Tried},
    room::Room,
    run::Run,
    scheduler::{Leading, Scheduler},
};

/// Room on one node for one task of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) run: RunId,
    resources: Resources,
    until: Instant,
}

/// All claims.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    by_slot: BTreeMap<usize, Vec<Claim>>,
    due: BTreeSet<(Instant, usize, RunId)>,
    /// Nodes with claims that have got room.
    pub(crate) ready: Vec<usize>,
    /// When evictions are looked for again.
    pub(crate) round_at: Option<Instant>,
    delay: core::time::Duration,
    /// How long to wait after a round that found none.
    wait: core::time::Duration,
}

impl Claims {
    /// When something is to be done.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, ..)| *at);
        due.into_iter().chain(self.round_at).min()
    }

    /// Claims of a leader that has others make room for work that has waited for `delay`.
    pub(crate) fn new(delay: core::time::Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// Production waits since this moment.
    pub(crate) fn production_waits(&mut self, since: Instant) {
        let at = since + self.delay;
        self.round_at = Some(self.round_at.map_or(at, |known| known.min(at)));
        self.wait = EVICTION_RETRY;
    }

    /// Whether a run has a claim on a node.
    pub(crate) fn has(&self, slot: usize, run: RunId) -> bool {
        self.by_slot.get(&slot).is_some_and(|claims| claims.iter().any(|claim| claim.run == run))
    }

    /// Whether a node has claims.
    pub(crate) fn on_node(&self, slot: usize) -> bool {
        self.by_slot.contains_key(&slot)
    }
}

impl Leading {
    fn add_claim(&mut self, slot: usize, claim: Claim) {
        self.claims.by_slot.entry(slot).or_default().push(claim);
        self.claims.due.insert((claim.until, slot, claim.run));
        self.nodes.get_mut(slot).books.claim(&claim.resources, true);
        self.nodes.update_order(slot);
        if let Some(run) = self.runs.get_mut(&claim.run) {
            run.site.claims += 1;
        }
    }

    fn remove_claim(&mut self, slot: usize, at: usize) {
        let Some(claims) = self.claims.by_slot.get_mut(&slot) else { return };
        let claim = claims.remove(at);
        if !claims.iter().any(|other| (other.until, other.run) == (claim.until, claim.run)) {
            self.claims.due.remove(&(claim.until, slot, claim.run));
        }
        if claims.is_empty() {
            self.claims.by_slot.remove(&slot);
        }
        self.nodes.get_mut(slot).books.claim(&claim.resources, false);
        if let Some(run) = self.runs.get_mut(&claim.run) {
            run.site.claims -= 1;
        }
        self.node_freed(slot);
    }

    /// Lets claims lapse that were not used in time.
    pub(crate) fn claims_lapsed(&mut self, now: Instant) {
        while let Some(&(at, slot, run)) = self.claims.due.first()
            && at <= now
        {
            self.claims.due.pop_first();
            while let Some(lapsed) = self
                .claims
                .by_slot
                .get(&slot)
                .and_then(|claims| claims.iter().position(|claim| claim.run == run && claim.until <= at))
            {
                self.remove_claim(slot, lapsed);
            }
        }
    }

    /// The next grant into claimed room that has become free: to the highest ranked production that waits and fits there,
    /// whoever had the room made. Claims of runs that want nothing any more are dropped.
    pub(crate) fn next_claimed(&mut self, config: &Config) -> Option<PlannedGrant> {
        while let Some(&slot) = self.claims.ready.last() {
            let Some((at, claim)) = self.usable_claim(slot) else {
                self.claims.ready.pop();
                continue;
            };
            if let Some(run) = self.senior_to(slot, &claim) {
                let (first, len) = run.next_range(place::range_len(config, run, 1))?;
                let plan = PlannedGrant { run: run.id, first, len, ordinal: run.ordinal(first), slot, claimed: true };
                self.remove_claim(slot, at);
                // Its owner waits for other room, which others may have to make.
                self.claims.production_waits(self.now);
                return Some(plan);
            }
            let run = self.runs.get(&claim.run)?;
            let system = matches!(run.job.kind, Kind::System);
            if run.ticket.is_some() {
                self.queue.get_mut(run.class).update(&self.nodes);
            }
            let wanted = (system || run.ticket.is_some())
                && run.may_start()
                && self.shares.allows(run.site.space, &claim.resources)
                // A pin is made only where the rules allow it.
                && (system || self.queue.get(run.class).admits(&self.nodes, slot))
                && (run.job.placement.max_per_node == 0 || run.site.on_node(slot) < run.job.placement.max_per_node);
            let range = if !wanted {
                None
            } else if system {
                self.pinned_to(slot, run).map(|index| (index, 1))
            } else {
                run.next_range(place::range_len(config, run, 1))
            };
            let ordinal = range.map_or(0, |(first, _)| run.ordinal(first));
            self.remove_claim(slot, at);
            if let Some((first, len)) = range {
                return Some(PlannedGrant { run: claim.run, first, len, ordinal, slot, claimed: true });
            }
        }
        None
    }

    /// The first run in the order of the queue that goes before the owner of a claim and can take its room.
    fn senior_to(&mut self, slot: usize, claim: &Claim) -> Option<&Run> {
        let band = self.runs.get(&claim.run)?.lane().band;
        let waits_before = |class: &Class| class.lanes.keys().next().is_some_and(|lane| lane.band < band);
        let classes: Vec<ClassId> =
            self.queue.classes().filter(|(_, class)| waits_before(class)).map(|(id, _)| id).collect();
        classes.iter().for_each(|id| self.queue.get_mut(*id).update(&self.nodes));
        let lanes = classes.iter().flat_map(|id| &self.queue.get(*id).lanes);
        let firsts = lanes.filter_map(|(lane, runs)| Some((lane, runs.first()?)));
        let able = firsts.filter_map(|(lane, (turn, id))| {
            let run = self.runs.get(id).filter(|run| self.could_take(slot, claim, run))?;
            Some(((lane.band, self.shares.share(lane.space), *turn), run))
        });
        able.min_by_key(|(order, _)| *order).map(|(_, run)| run)
    }

    /// Whether a waiting run goes before the owner of a claim, and could take the room.
    fn could_take(&self, slot: usize, claim: &Claim, run: &Run) -> bool {
        let (Some(owner), node) = (self.runs.get(&claim.run), self.nodes.get(slot)) else { return false };
        let Resources { cpu, memory } = claim.resources;
        let room = node.room(Book::Firm).plus(&Room { cpu: cpu.0, lanes: 1, memory: memory.0 });
        let class = self.queue.get(run.class);
        let limit = run.job.placement.max_per_node;
        run.lane().band < owner.lane().band
            && run.job.tier == Tier::Production
            && run.ticket.is_some()
            && run.may_start()
            && self.shares.allows(run.site.space, &run.job.budgets.resources)
            && class.admits(&self.nodes, slot)
            && (limit == 0 || run.site.on_node(slot) < limit)
            && room.takes(&class.key.want())
    }

    /// Claims of others that a run takes over when their room is free.
    fn claims_in_reach(&self, run: &Run) -> usize {
        let all = self.claims.by_slot.iter().flat_map(|(slot, claims)| claims.iter().map(|claim| (*slot, claim)));
        all.filter(|(slot, claim)| self.could_take(*slot, claim, run)).count()
    }

    /// The first claim on a node for which there is room.
    fn usable_claim(&self, slot: usize) -> Option<(usize, Claim)> {
        let node = self.nodes.get(slot);
        let claims = self.claims.by_slot.get(&slot).filter(|_| node.is_ready())?;
        let free = node.capacity.checked_sub(&node.books.firm).unwrap_or_default();
        let lane = node.grants.len() < node.lanes_max as usize;
        let at = claims.iter().position(|claim| lane && claim.resources.fits(&free))?;
        Some((at, claims[at]))
    }
}

impl Scheduler {
    /// Looks for work that has to make room, if it is time to.
    pub(crate) fn preempt(&mut self) {
        let now = self.now.mono;
        let delay = self.config.preempt_delay;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        if leading.claims.round_at.is_none_or(|at| at > now) {
            return;
        }
        leading.claims.round_at = None;
        let mut round = Round { delay, now, next: None, waiting: false };
        let mut evictions = Vec::new();
        let until = now + self.config.preempt_grace + CLAIM_SLACK;
        let check = self.config.check_plans;
        let blocked: Vec<RunId> = leading.queue.blocked_runs(Tier::Production).take(EVICTING_RUNS_MAX).collect();
        for id in blocked {
            let budget = CLAIMS_PER_ROUND_MAX - evictions.len();
            let planned = leading.evictions_for(id, budget, &mut round);
            evictions.extend(planned.into_iter().map(|eviction| leading.claimed(eviction, until, check)));
        }
        let pinned: Vec<(RunId, usize, Instant)> =
            leading.pinned_without_room().map(|(run, slot, since)| (run.id, slot, since)).collect();
        for (id, slot, since) in pinned.into_iter().take(EVICTING_RUNS_MAX) {
            if evictions.len() < CLAIMS_PER_ROUND_MAX {
                let planned = leading.eviction_on(id, slot, since, &mut round);
                evictions.extend(planned.map(|eviction| leading.claimed(eviction, until, check)));
            }
        }
        let Round { waiting, mut next, .. } = round;
        if waiting {
            // Where nothing could be found it is looked for more and more rarely.
            let claims = &mut leading.claims;
            claims.wait = if evictions.is_empty() { claims.wait * 2 } else { EVICTION_RETRY };
            claims.wait = claims.wait.clamp(EVICTION_RETRY, EVICTION_RETRY_MAX);
            next = Some(now + claims.wait).into_iter().chain(next).min();
        }
        leading.claims.round_at = next;
        for eviction in evictions {
            eviction.victims.iter().for_each(|victim| self.evict(&eviction, *victim));
        }
    }

    /// Asks a grant to make room.
    fn evict(&mut self, eviction: &Eviction, victim: GrantRef) {
        let (now, grace) = (self.now.mono, self.config.preempt_grace);
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(grant) = leading.grants.find_mut(victim) else { return };
        grant.evicted = true;
        let id = grant.run;
        let Some(run) = leading.runs.get_mut(&id) else { return };
        run.site.meek_until = now + MEEK_FOR;
        let node = leading.nodes.get(eviction.slot);
        tracing::debug!(run.id = %id, node.id = %node.id(), for_run.id = %eviction.run, "asked to make room");
        if let Some(session) = node.session {
            let stop = Stop { run: id, index: None, grant: Some(victim.key.grant), reason: Reason::Preempted, grace };
            self.send(session, ToExecutor::Stop(stop));
        }
    }
}

/// What one round of looking for room has found.
#[derive(Debug)]
struct Round {
    delay: core::time::Duration,
    now: Instant,
    /// When the next run that waits may have others make room.
    next: Option<Instant>,
    /// Room is looked for.
    waiting: bool,
}

impl Leading {
    /// Evictions for a run that waits in its queue.
    fn evictions_for(&mut self, id: RunId, budget: usize, round: &mut Round) -> Vec<Eviction> {
        let Some(run) = self.runs.get(&id) else { return Vec::new() };
        if !self.may_evict(run, round.delay, round.now) {
            let due = run.site.waiting_since.map(|since| (since + round.delay).max(run.site.meek_until));
            round.next = due.into_iter().chain(round.next).min();
            return Vec::new();
        }
        // The groups of nodes may have been formed anew since the class was served.
        self.queue.get_mut(run.class).update(&self.nodes);
        let wanted = self.wants_claims(run);
        round.waiting |= wanted > 0;
        let wanted = wanted.saturating_sub(self.claims_in_reach(run));
        let class = self.queue.get(run.class);
        let mut draws = self.draws.clone();
        let planned = self.plan_evictions(run, class, wanted.min(budget), &mut draws);
        self.draws = draws;
        planned
    }

    /// The eviction for a task of a system job that waits for its node.
    fn eviction_on(&self, id: RunId, slot: usize, since: Instant, round: &mut Round) -> Option<Eviction> {
        let run = self.runs.get(&id)?;
        let due = (since + round.delay).max(run.site.meek_until);
        if due > round.now {
            round.next = Some(round.next.map_or(due, |next| next.min(due)));
            return None;
        }
        round.waiting = true;
        let claimant = Claimant::new(id, &run.job);
        let own = u64::from(run.lanes.len());
        let (victims, slot) =
            self.look_for_victims(&claimant, &[slot], own, Some(run.site.space), &Tried::new()).pop()?;
        Some(Eviction { run: id, slot, victims })
    }

    fn claimed(&mut self, eviction: Eviction, until: Instant, check: bool) -> Eviction {
        if check {
            assert_eq!(check::eviction(&eviction, self), Ok(()), "pre-emption is wrong");
        }
        self.claim(&eviction, until);
        eviction
    }

    fn claim(&mut self, eviction: &Eviction, until: Instant) {
        let Some(run) = self.runs.get(&eviction.run) else { return };
        let claim = Claim { run: eviction.run, resources: run.job.budgets.resources, until };
        self.add_claim(eviction.slot, claim);
        // It may be free already.
        self.node_freed(eviction.slot);
    }
}
