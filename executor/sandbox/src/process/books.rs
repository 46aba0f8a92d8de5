//! Which attempt is in which worker process, and what follows for the processes from what the daemon commands.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use weir_wire::{
    attempt::{Command, LeaseSpec},
    id::{AttemptId, RunId},
    work::WorkSpec,
    worker::ToWorker,
};

use super::{
    groups::{Group, Groups, Room},
    held::Held,
    plan::Plan,
    seat::Seat,
};
use crate::apart::Apart;

/// The books themselves.
#[derive(Debug)]
pub(super) struct Books {
    plan: Plan,
    pub(super) groups: Groups,
    pub(super) seats: BTreeMap<usize, Seat>,
    /// The runs that are defined, and whose processes are told of them.
    pub(super) runs: HashMap<RunId, (Group, Arc<WorkSpec>)>,
    pub(super) lease: Option<LeaseSpec>,
    pub(super) stopping: bool,
    /// CPU time of seats that are gone, nanoseconds.
    pub(super) cpu_gone_ns: u64,
}

/// What comes of the commands of one turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// What each process is told.
    pub(super) out: BTreeMap<usize, Vec<ToWorker>>,
    /// Seats that are new.
    pub(super) begun: Vec<usize>,
    /// Some seats are to end.
    pub(super) ending: bool,
    /// Attempts for which there is no process.
    pub(super) refused: Vec<AttemptId>,
}

impl Books {
    /// With the seats that are always there.
    pub(super) fn new(plan: Plan, apart: Apart, network: bool) -> Self {
        let sizes = plan.sizes();
        let seat = |index| (index, Seat::new(Group::SHARED, plan.setup(&Group::SHARED, index)));
        let seats = (0..sizes.shared).map(seat).collect();
        let groups = Groups::new(apart, network, sizes);
        Self { plan, groups, seats, runs: HashMap::new(), lease: None, stopping: false, cpu_gone_ns: 0 }
    }

    pub(super) fn is_over(&self, index: usize) -> bool {
        self.stopping || self.seats.get(&index).is_none_or(|seat| seat.ending)
    }

    pub(super) fn take_in(&mut self, command: Command, turn: &mut Turn) {
        match command {
            Command::Start(ref spec) => self.start((spec.id, spec.ahead), command, turn),
            Command::Settle(id) => self.pass_on(id, command, turn),
            Command::Cancel(ref cancel) => self.pass_on(cancel.id, command, turn),
            Command::Follow(ref follow) => {
                if let Some(held) = self.held(follow.id).filter(|_| follow.on) {
                    held.is_followed();
                }
                self.pass_on(follow.id, command, turn);
            }
            Command::Throttle(ref throttle) => self.pass_on(throttle.id, command, turn),
            Command::Inspect(ref inspect) => self.inspect(inspect.id, command, turn),
            Command::Define(work) => {
                let work = Arc::<WorkSpec>::from(work);
                let group = self.groups.of(&work);
                // Its processes begin while its modules are made ready. Where there is no room, that is for its attempts.
                self.enter(&group, false, turn);
                self.tell(Some(&group), turn, || Command::Define(Box::new((*work).clone())));
                self.runs.insert(work.run, (group, work));
            }
            Command::Forget(run) => {
                if let Some((group, _)) = self.runs.remove(&run) {
                    self.tell(Some(&group), turn, || Command::Forget(run));
                }
            }
            Command::Lease(lease) => {
                self.lease = Some(lease);
                self.tell(None, turn, || Command::Lease(lease));
            }
            // The preparing thread's.
            Command::Prepare(_) => {}
        }
    }

    fn start(&mut self, (id, ahead): (AttemptId, u32), command: Command, turn: &mut Turn) {
        let run = self.runs.get(&id.task.run);
        let weight = run.map_or(1, |(_, work)| work.budgets.resources.cpu.0);
        let output = run.map_or(0, |(_, work)| work.budgets.output);
        // A process that knows no such run says so.
        let group = run.map_or(Group::SHARED, |(group, _)| group.clone());
        let chosen = self.enter(&group, true, turn).and_then(|seats| self.choose(seats));
        let Some(seat) = chosen.and_then(|index| self.seats.get_mut(&index)) else { return turn.refused.push(id) };
        seat.load = seat.load.saturating_add(u64::from(weight));
        seat.attempts.insert(id, Held::new(weight, output, ahead, seat.ready));
        seat.pass_on(command, turn.out.entry(chosen.unwrap_or(0)).or_default());
    }

    /// The seats of a group, which are there from now on if there is room; with `make_room`, an idle group ends for them.
    fn enter(&mut self, group: &Group, make_room: bool, turn: &mut Turn) -> Option<Range<usize>> {
        let Self { groups, seats, plan, .. } = self;
        let (begun, ended) = match groups.enter(group, make_room, |range| is_busy(seats, range)) {
            Room::Open(seats) => return Some(seats),
            Room::None => return None,
            Room::New(begun, ended) => (begun, ended),
        };
        let new = |(at, index)| (index, Seat::new(group.clone(), plan.setup(group, at)));
        seats.extend(begun.clone().enumerate().map(new));
        turn.begun.extend(begun.clone());
        turn.ending |= ended.is_some();
        ended.into_iter().for_each(|seats| self.end(seats));
        Some(begun)
    }

    /// Has the processes of seats end, and none begin there again.
    pub(super) fn end(&mut self, seats: Range<usize>) {
        for seat in self.seats.range_mut(seats).map(|(_, seat)| seat) {
            seat.ending = true;
            seat.close();
        }
    }

    /// Of these seats, the one with the least CPU promised to its attempts, among those that can begin at once if there are
    /// any.
    fn choose(&self, seats: Range<usize>) -> Option<usize> {
        let ranked = self.seats.range(seats).map(|(index, seat)| ((!seat.ready, seat.load), *index));
        ranked.min().map(|(_, index)| index)
    }

    fn pass_on(&mut self, id: AttemptId, command: Command, turn: &mut Turn) {
        if let Some((index, seat)) = self.seats.iter_mut().find(|(_, seat)| seat.attempts.contains_key(&id)) {
            seat.pass_on(command, turn.out.entry(*index).or_default());
        }
    }

    fn held(&mut self, id: AttemptId) -> Option<&mut Held> {
        self.seats.values_mut().find_map(|seat| seat.attempts.get_mut(&id))
    }

    /// Has an attempt looked into that the process has already: what it is told later, nobody waits for.
    fn inspect(&mut self, id: AttemptId, command: Command, turn: &mut Turn) {
        if let Some(held) = self.held(id).filter(|held| held.sent) {
            held.is_inspected();
            self.pass_on(id, command, turn);
        }
    }

    /// Tells the processes of a group, or all.
    fn tell(&self, group: Option<&Group>, turn: &mut Turn, command: impl Fn() -> Command) {
        for (index, seat) in &self.seats {
            if seat.link.is_some() && group.is_none_or(|group| *group == seat.group) {
                turn.out.entry(*index).or_default().push(ToWorker::Command(command()));
            }
        }
    }
}

pub(super) fn is_busy(seats: &BTreeMap<usize, Seat>, range: &Range<usize>) -> bool {
    seats.range(range.clone()).any(|(_, seat)| !seat.attempts.is_empty())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, sync::mpsc::sync_channel, time::Duration};

    use weir_wire::{
        attempt::AttemptSpec,
        id::{Digest, GrantSeq, TaskId, Term},
        kind::{Execution, Tier},
        resources::Resources,
        units::{CpuMillis, Fuel, MemBytes},
        work::{Budgets, Capabilities, Input},
    };

    use super::{super::seat::Link, *};

    fn work(run: u64, namespace: &str) -> WorkSpec {
        let resources = Resources { cpu: CpuMillis(1), memory: MemBytes(1) };
        WorkSpec {
            run: RunId(run),
            namespace: namespace.parse().expect("a name"),
            job: "job".parse().expect("a name"),
            count: 1,
            long_running: false,
            tier: Tier::Preemptible,
            priority: 50,
            execution: Execution::default(),
            module: Digest([0; 32]),
            args: Vec::new(),
            env: vec![("SECRET".to_owned(), namespace.to_owned())],
            budgets: Budgets { resources, fuel: Fuel(1), timeout: Some(Duration::from_secs(1)), output: 1 },
            dirs: Vec::new(),
            input: Input::None,
            capabilities: Capabilities::NONE,
        }
    }

    fn start(run: u64) -> (AttemptId, Command) {
        let id = AttemptId { task: TaskId { run: RunId(run), index: 0 }, term: Term(1), grant: GrantSeq(1) };
        (id, Command::Start(AttemptSpec { id, ordinal: 1, ahead: 0, payload: Box::default() }))
    }

    /// Who is told something, if each seat has a process that is ready.
    fn told(books: &mut Books, command: Command) -> Vec<usize> {
        let mut turn = Turn::default();
        for seat in books.seats.values_mut() {
            let socket = UnixStream::pair().expect("a socket").0;
            seat.link = Some(Link { packets: sync_channel(1).0, socket, pid: 1 });
            seat.ready = true;
        }
        books.take_in(command, &mut turn);
        turn.out.into_keys().collect()
    }

    #[test]
    fn processes_are_told_of_their_own_runs_and_attempts_only() {
        let plan = Plan { threads: 2, processes: 2, lanes: 1, memory_max: 1, published: Vec::new(), scratch: false };
        let apart = Apart::new(&["a".to_owned(), "b".to_owned()]).expect("usable");
        let mut books = Books::new(plan, apart, false);
        let define = |run, namespace| Command::Define(Box::new(work(run, namespace)));
        assert_eq!(told(&mut books, define(1, "a")), [0; 0], "its process begins, and is told when it has");
        assert_eq!(told(&mut books, define(2, "b")), [0; 0]);
        assert_eq!(books.seats.len(), 4);
        assert_eq!(told(&mut books, define(3, "a")), [2]);
        assert_eq!(told(&mut books, define(4, "b")), [3]);
        assert_eq!(told(&mut books, define(5, "c")), [0, 1]);
        for (run, seat) in [(1, 2), (2, 3), (3, 2), (5, 0)] {
            let (id, command) = start(run);
            assert_eq!(told(&mut books, command), [seat]);
            assert!(books.seats[&seat].attempts.contains_key(&id));
        }
        assert_eq!(told(&mut books, Command::Forget(RunId(4))), [3]);
        let lease = LeaseSpec { until_ns: 1 };
        assert_eq!(told(&mut books, Command::Lease(lease)), [0, 1, 2, 3], "that concerns all");
    }
}
