//! The state machine: its tables, and the dispatch of inputs.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    sync::Arc,
    vec::Vec,
};

use weir_wire::{
    id::{GrantSeq, JobName, JobVersion, Namespace, RunId, Seq, Term},
    kind::Tier,
    message::{Refuse, RefuseCode, ToExecutor},
    record::{JobState, Quota},
    txn::Txn,
    units::{Instant, Now},
    work::JobRecord,
};

use crate::{
    batch::Batch,
    brake::Brake,
    checkpoint::Checkpoint,
    claim::Claims,
    class::{ClassId, ClassKey},
    config::Config,
    cron::Timer,
    definition,
    fair::Shares,
    fence::Fences,
    grant::{Grant, GrantKey, GrantRef, Grants},
    input::{Input, RequestId, SessionId},
    job_state::{JobRuns, Name},
    limits,
    node::Nodes,
    output::{Output, RequestError},
    plan::{Plan, PlannedGrant},
    queue::Queue,
    retain::Retention,
    rng::Rng,
    runs::Runs,
    site::Site,
    view::QuotaUsage,
};

/// The scheduler. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) rng: Rng,
    pub(crate) leadership_until: Instant,
    pub(crate) leading: Option<Box<Leading>>,
}

/// All versions of one job, oldest first; never empty.
pub(crate) type Versions = Vec<Arc<JobRecord>>;

/// A submission's idempotency key.
#[derive(Debug)]
pub(crate) enum KeyState {
    /// Its commit is pending; these requests wait for it besides the first.
    Pending {
        /// The hash of the request.
        fingerprint: u64,
        /// Repeated requests.
        waiting: Vec<RequestId>,
    },
    /// Its runs exist.
    Committed {
        /// The hash of the request.
        fingerprint: u64,
        /// The runs.
        runs: Vec<RunId>,
    },
}

/// A transaction that was handed out.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) txn: Txn,
    pub(crate) object: Option<(String, Vec<u8>)>,
    pub(crate) batch: Batch,
    /// It carries checkpoint blocks and no batch.
    pub(crate) checkpoint: bool,
}

/// What exists only while this process leads.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) term: Term,
    /// The last transaction that is durable.
    pub(crate) head: Seq,
    pub(crate) revision: u64,
    pub(crate) jobs: BTreeMap<(Namespace, JobName), Versions>,
    /// Newest versions that wait for their commit.
    pub(crate) staged_jobs: BTreeMap<(Namespace, JobName), (JobVersion, JobRecord)>,
    pub(crate) job_states: BTreeMap<Name, JobState>,
    /// Newest states that wait for their commit.
    pub(crate) staged_states: BTreeMap<Name, JobState>,
    pub(crate) quotas: BTreeMap<Namespace, Quota>,
    /// Newest quotas, or removals, that wait for their commit.
    pub(crate) staged_quotas: BTreeMap<Namespace, Option<Quota>>,
    /// What production runs demand, with what is about to be admitted.
    pub(crate) demand: BTreeMap<Namespace, QuotaUsage>,
    pub(crate) job_runs: BTreeMap<Name, JobRuns>,
    /// Long-running jobs that are to be looked at.
    pub(crate) long_dirty: BTreeSet<Name>,
    /// When tasks of long-running jobs may count as healthy.
    pub(crate) healths: BTreeSet<(Instant, RunId, u32)>,
    /// System jobs with a run that is not over.
    pub(crate) system_jobs: BTreeSet<Name>,
    /// Nodes whose standing may have changed for system jobs.
    pub(crate) nodes_dirty: BTreeSet<usize>,
    /// Tasks of system jobs that wait for their nodes, and since when.
    pub(crate) pinned_waiting: BTreeMap<usize, BTreeMap<(RunId, u32), Instant>>,
    /// Nodes that may take one of these.
    pub(crate) pinned_try: BTreeSet<usize>,
    pub(crate) crons: BTreeMap<Name, Timer>,
    /// Cron jobs that are to be looked at.
    pub(crate) cron_dirty: BTreeSet<Name>,
    /// Next instants, Unix milliseconds.
    pub(crate) cron_due: BTreeSet<(u64, Name)>,
    /// Runs that wait for the end of a run.
    pub(crate) dependents: BTreeMap<RunId, Vec<RunId>>,
    /// Waiting runs that are to be looked at.
    pub(crate) reviews: BTreeSet<RunId>,
    /// When payloads are asked for again.
    pub(crate) assemblies: BTreeSet<(Instant, RunId)>,
    pub(crate) start_deadlines: BTreeSet<(Instant, RunId)>,
    /// Outputs of this input that are still to be handed out.
    pub(crate) effects: Vec<Output>,
    pub(crate) runs: Runs,
    /// Runs in the order of submission.
    pub(crate) order: BTreeMap<u64, RunId>,
    pub(crate) next_position: u64,
    pub(crate) keys: BTreeMap<String, KeyState>,
    pub(crate) queue: Queue,
    pub(crate) nodes: Nodes,
    pub(crate) grants: Grants,
    pub(crate) shares: Shares,
    pub(crate) claims: Claims,
    /// The time of this turn.
    pub(crate) now: Instant,
    /// Draws nodes.
    pub(crate) draws: Rng,
    /// Nodes that may have got room since the last placement.
    pub(crate) freed: Vec<usize>,
    /// Nodes with acknowledgements that wait for a commit.
    pub(crate) owed: BTreeSet<usize>,
    /// The state of the node table that the shares are computed for.
    pub(crate) shares_generation: u64,
    pub(crate) next_grant: GrantSeq,
    pub(crate) batches: VecDeque<Batch>,
    pub(crate) next_batch: u64,
    pub(crate) in_flight: Option<InFlight>,
    /// A batch that may be held back leaves at this time.
    pub(crate) next_window: Instant,
    /// The same of a batch with few outcomes.
    pub(crate) thin_window: Instant,
    pub(crate) last_batch_busy: bool,
    pub(crate) commit_retry_at: Option<Instant>,
    pub(crate) backoffs: BTreeSet<(Instant, RunId, u32)>,
    pub(crate) silences: BTreeSet<(Instant, usize)>,
    pub(crate) holdoffs: BTreeSet<(Instant, usize)>,
    /// Until then, or until all registered nodes have presented their state, restored runs are not granted.
    pub(crate) reconcile_until: Option<Instant>,
    pub(crate) fences: Fences,
    /// When the tasks of a drained node have had their time.
    pub(crate) drains: BTreeSet<(Instant, usize)>,
    pub(crate) brake: Brake,
    pub(crate) more_to_place: bool,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) retention: Retention,
    pub(crate) open_tasks: u64,
    /// Runs of services that want fewer tasks than they are to want.
    pub(crate) rolling_out: BTreeSet<RunId>,
    /// Runs of services that have more tasks than they want; what is dormant of them is in `open_tasks`.
    pub(crate) scaled_down: BTreeSet<RunId>,
    /// Most that may be open by submissions; see [`Config::open_tasks_max`].
    pub(crate) open_tasks_max: u64,
    pub(crate) open_runs: usize,
    pub(crate) outcomes: u64,
    pub(crate) outcomes_ignored: u64,
    pub(crate) commits: u64,
}

impl Scheduler {
    /// A scheduler that does not lead yet.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            now: Now::default(),
            outputs: VecDeque::new(),
            rng: Rng::new(seed, 1),
            leadership_until: Instant(0),
            leading: None,
        }
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = Now { mono: now.mono.max(self.now.mono), wall_ms: now.wall_ms };
        if let Some(leading) = self.leading.as_deref_mut() {
            leading.now = now.mono;
        }
        match input {
            Input::Elected { term, loaded } => self.elected(term, *loaded),
            Input::Deposed => self.deposed(),
            Input::LeadershipUntil(until) => self.leadership_until = until,
            Input::CommitDone { seq, result } => self.commit_done(seq, result),
            Input::Request { id, request } => self.request(id, request),
            Input::NodeConnected { session, hello } => self.node_connected(session, &hello),
            Input::NodeMessage { session, message } => self.node_message(session, *message),
            Input::NodeDisconnected { session } => self.node_disconnected(session),
            Input::NextInstant { namespace, job, version, after_ms, at_ms } => {
                self.next_instant((namespace, job), version, after_ms, at_ms);
            }
            Input::InputAssembled { run, result } => self.input_assembled(run, result),
            Input::Tick => {}
        }
        self.run_timers();
        self.run_kinds();
        self.place();
        self.preempt();
        self.flush();
    }

    /// The next thing to do, in order.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether this process leads.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        self.leading.is_some()
    }

    /// Whether nobody else can lead at `now`, so that what this process knows is the latest.
    #[must_use]
    pub fn is_certain(&self, now: Instant) -> bool {
        self.leading.is_some() && now < self.leadership_until
    }

    /// The term in which this process leads.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.leading.as_ref().map(|leading| leading.term)
    }

    /// The store's revision after the last transaction that is visible here.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.leading.as_ref().map_or(0, |leading| leading.revision)
    }

    pub(crate) fn send(&mut self, session: SessionId, message: ToExecutor) {
        self.outputs.push_back(Output::Send { session, message: Box::new(message) });
    }

    pub(crate) fn refuse(&mut self, session: SessionId, code: RefuseCode, message: &str) {
        self.send(session, ToExecutor::Refuse(Refuse { code, message: message.into() }));
        self.outputs.push_back(Output::Close { session });
    }

    pub(crate) fn reply_error(&mut self, id: RequestId, error: RequestError) {
        self.outputs.push_back(Output::Reply { id, result: Err(error) });
    }

    /// Drops all soft state; whoever waits is told.
    pub(crate) fn deposed(&mut self) {
        let Some(leading) = self.leading.take() else { return };
        tracing::warn!(term = leading.term.0, "leadership lost");
        let in_flight = leading.in_flight.into_iter().map(|in_flight| in_flight.batch);
        for batch in in_flight.chain(leading.batches) {
            let submissions = batch.submissions.iter().filter_map(|submission| submission.id);
            for id in submissions.chain(batch.replies.iter().map(|(id, _)| *id)) {
                self.outputs.push_back(Output::Reply { id, result: Err(RequestError::Interrupted) });
            }
        }
        for state in leading.keys.into_values() {
            if let KeyState::Pending { waiting, .. } = state {
                for id in waiting {
                    self.outputs.push_back(Output::Reply { id, result: Err(RequestError::Interrupted) });
                }
            }
        }
        for session in leading.nodes.iter().filter_map(|node| node.session) {
            let refuse = Refuse { code: RefuseCode::NotLeader, message: "this replica lost its leadership".into() };
            self.outputs.push_back(Output::Send { session, message: Box::new(ToExecutor::Refuse(refuse)) });
            self.outputs.push_back(Output::Close { session });
        }
    }

    fn run_timers(&mut self) {
        let now = self.now.mono;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        while let Some(&(at, run, index)) = leading.backoffs.first()
            && at <= now
        {
            leading.backoffs.pop_first();
            leading.backoff_passed(at, run, index);
        }
        while let Some(&(at, slot)) = leading.holdoffs.first()
            && at <= now
        {
            leading.holdoffs.pop_first();
            leading.nodes.get_mut(slot).holdoff = None;
            leading.node_freed(slot);
        }
        leading.claims_lapsed(now);
        while let Some(&(at, run, index)) = leading.healths.first()
            && at <= now
        {
            leading.healths.pop_first();
            leading.maybe_healthy(at, run, index);
        }
        leading.pass_start_deadlines(now);
        leading.retry_assemblies(now);
        while let Some(&(at, slot)) = self.leading.as_ref().and_then(|leading| leading.silences.first())
            && at <= now
        {
            self.node_silent(at, slot);
        }
        self.fences_passed();
        self.check_brake();
        self.drain_deadlines();
        self.forget_ended();
        if let Some(leading) = self.leading.as_deref_mut()
            && leading.reconcile_until.is_some_and(|at| at <= now)
        {
            leading.reconciliation_due(now);
        }
    }

    /// What follows for the kinds of jobs from what was taken in.
    fn run_kinds(&mut self) {
        self.run_cron();
        if let Some(leading) = self.leading.as_deref_mut() {
            leading.review_waiting();
            leading.step_long_running();
            self.outputs.extend(leading.effects.drain(..));
        }
    }

    /// Places what can be placed, up to the turn's limit.
    fn place(&mut self) {
        let now = self.now.mono;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.more_to_place = false;
        leading.settle_nodes();
        self.place_pinned();
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let pinned_left = leading.more_to_place;
        let mut granted = 0;
        while granted < limits::GRANTS_PER_TURN_MAX {
            let Some(leading) = self.leading.as_deref_mut() else {
                return;
            };
            let plan = leading.next_claimed(&self.config).map(Plan::Grant);
            if plan.is_none() && !leading.freed.is_empty() {
                // Claims that were dropped have left room: whoever sleeps may come before those who are awake.
                leading.settle_nodes();
                continue;
            }
            match plan.or_else(|| leading.next_plan(&self.config, now)) {
                None => return,
                Some(Plan::Block(class)) => {
                    leading.block(class.0);
                    granted += 1;
                }
                Some(Plan::Grant(grant)) => {
                    let most = leading.visit_len(&grant).min(limits::GRANTS_PER_TURN_MAX - granted);
                    granted += self.visit(grant, most);
                }
            }
        }
        if let Some(leading) = self.leading.as_deref_mut() {
            leading.more_to_place = pinned_left || !leading.queue.is_idle();
        }
    }

    /// Carries out a planned grant: the only place where grants come into being. The node and the run are put back into
    /// their orders by [`Self::visit`].
    pub(crate) fn apply(&mut self, plan: &PlannedGrant) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.next_grant.0 += 1;
        let key = GrantKey { term: leading.term, grant: leading.next_grant };
        let run = leading.runs.get_mut(&plan.run).expect("planned runs exist");
        let PlannedGrant { first, len, ordinal, .. } = *plan;
        run.take_range(first, len);
        let node = leading.nodes.get_mut(plan.slot);
        let session = node.session.expect("ready nodes are connected");
        let fenced = run.job.execution.is_fenced();
        // What a node knows ends with its session: another start of its executor knows nothing.
        let mut define = None;
        if !fenced && definition::tell(run, node, plan.slot) {
            node.add_module(run.site.module);
            define = Some(run.work());
        }
        leading.enter_grant(Grant::new(key, plan.run, plan.slot, first, first + len));
        if fenced {
            return leading.stage_fenced(plan.run, first, key, plan.slot);
        }
        if let Some(work) = define {
            self.send(session, ToExecutor::define(work));
        }
        let grant = weir_wire::message::Grant { run: plan.run, term: key.term, grant: key.grant, first, len, ordinal };
        self.send(session, ToExecutor::Grant(grant));
    }
}

impl Leading {
    /// The class of a run that comes into being, and what placement keeps about it.
    pub(crate) fn class_of(&mut self, id: RunId, job: &JobRecord) -> (ClassId, Site) {
        let class = self.queue.join_class(ClassKey::new(id, job), &mut self.nodes);
        let module = self.nodes.module(&job.module);
        let spread = self.queue.get(class).rules.spread;
        (class, Site::new(self.shares.space(&job.namespace), module, spread))
    }

    /// Puts a run into its queue if it waits for a place and is not there, and takes it out if it does not wait.
    pub(crate) fn requeue(&mut self, id: RunId) {
        let held = self.reconcile_until.is_some();
        let Some(mut run) = self.runs.get_mut(&id) else { return };
        if run.start_expired {
            self.expire(id);
            let Some(expired) = self.runs.get_mut(&id) else { return };
            run = expired;
        }
        let waits = run.wants_lane() && !(run.restored && held) && !run.site.parked;
        if waits && run.ticket.is_none() {
            let lane = run.lane();
            run.ticket = Some(self.queue.push(run.class, lane, id, &self.shares));
            let since = *run.site.waiting_since.get_or_insert(self.now);
            if lane.band.tier == Tier::Production && self.queue.get(run.class).is_blocked() {
                self.claims.production_waits(since);
            }
        } else if !waits {
            self.dequeue(id);
        }
    }

    /// Takes a run out of its queue.
    pub(crate) fn dequeue(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if let Some(ticket) = run.ticket.take() {
            run.site.waiting_since = None;
            self.queue.remove(run.class, ticket, id, &self.shares);
        }
    }

    /// No node has room for a class.
    fn block(&mut self, class: ClassId) {
        self.queue.block(class);
        if self.queue.get(class).waits(Tier::Production) {
            self.claims.production_waits(self.now);
        }
    }

    /// Enters a grant into all tables, and its node into its order.
    pub(crate) fn add_grant(&mut self, grant: Grant) {
        self.enter_grant(grant);
        self.nodes.update_order(grant.node());
    }

    fn enter_grant(&mut self, grant: Grant) {
        self.count_grant(&grant, true);
        let slot = self.grants.insert(grant);
        let at = self.nodes.get_mut(grant.node()).grants.insert(slot);
        self.grants.get_mut(slot).at = at;
        if let Some(run) = self.runs.get_mut(&grant.run) {
            run.enter_lane(grant.lane, slot);
        }
    }

    /// Removes a grant of which nothing is left, and wakes what may fit where it was.
    pub(crate) fn remove_grant(&mut self, ended: GrantRef) {
        let Some(grant) = self.grants.remove(ended) else { return };
        let waits_for_quota = self.count_grant(&grant, false);
        let held = self.nodes.get_mut(grant.node()).grants.remove(grant.at);
        assert_eq!(held, Some(ended.slot), "a grant was not in its place in its node's table");
        if let Some(run) = self.runs.get_mut(&grant.run) {
            run.leave_lane(grant.lane, ended.slot);
        }
        self.requeue(grant.run);
        if let Some(run) = waits_for_quota {
            self.unpark(run);
        }
        self.node_freed(grant.node());
    }

    /// Brings a grant up to date with its `next`: enters it under that task, or removes it if nothing is left of it.
    pub(crate) fn settle_grant(&mut self, settled: GrantRef) {
        let Some(grant) = self.grants.find_mut(settled) else { return };
        if grant.next >= grant.end {
            return self.remove_grant(settled);
        }
        if grant.lane != grant.next
            && let Some(run) = self.runs.get_mut(&grant.run)
        {
            run.move_lane(grant.lane, grant.next, settled.slot);
            grant.lane = grant.next;
        }
    }

    fn backoff_passed(&mut self, at: Instant, id: RunId, index: u32) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.backoff.get(&index) != Some(&at) {
            return;
        }
        run.set_phase(index, crate::phase::Phase::Pending);
        self.pinned_task_waits(id, index);
        self.requeue(id);
    }

    /// Lets restored runs be granted.
    pub(crate) fn end_reconciliation(&mut self) {
        self.reconcile_until = None;
        // Nothing is decided about the tasks of long-running jobs before, also of ones that came meanwhile.
        let held: Vec<RunId> =
            self.runs.values().filter(|run| run.restored || run.long.is_some()).map(|run| run.id).collect();
        for id in held {
            self.requeue(id);
            self.long_changed(id);
        }
        self.retry_all_pinned();
    }
}
