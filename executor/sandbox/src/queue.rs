//! The run queue of a worker: which of the attempts that can go on is polled next.
//!
//! Classes come strictly one after the other. Within a class the one comes first that has used the least CPU time for its
//! weight. An attempt that was idle does not save up: it starts where its class is. Nor does one that comes in the place
//! of another of its run that has ended: it goes on from there, so that a stream of short attempts gets no more than a long
//! one.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;

/// Classes, the first one first.
pub(crate) const CLASSES: usize = 4;
/// The class of production work, and of what is to end.
pub(crate) const FIRST_CLASS: usize = 0;
/// The class of attempts that run only while nobody else wants to.
pub(crate) const LAST_CLASS: usize = CLASSES - 1;

/// Where an attempt stands among others: its class, and the CPU time used for its weight. The least comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) class: usize,
    pub(crate) pass: u64,
}

impl Rank {
    /// The rank after so much more CPU time.
    pub(crate) fn after(self, time: Duration, weight: u32) -> Self {
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self { pass: self.pass.saturating_add(time_ns.saturating_mul(1000) / u64::from(weight.max(1))), ..self }
    }
}

/// A place of an attempt in its worker.
pub(crate) type Place = usize;

/// Places that were woken, by any thread.
#[derive(Debug, Default)]
struct Woken {
    places: Mutex<Vec<Place>>,
    any: AtomicBool,
    worker: AtomicWaker,
}

/// Wakes one place.
#[derive(Debug)]
struct PlaceWaker {
    place: Place,
    woken: Arc<Woken>,
    /// It is among the woken already, or has ended.
    pending: AtomicBool,
}

impl Wake for PlaceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        self.woken.places.lock().unwrap_or_else(PoisonError::into_inner).push(self.place);
        self.woken.any.store(true, Ordering::Release);
        self.woken.worker.wake();
    }
}

/// What the queue knows of a place.
#[derive(Debug)]
struct Entry {
    waker: Arc<PlaceWaker>,
    rank: Rank,
    weight: u32,
    /// It is in `ready`.
    ready: bool,
}

/// The run queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    woken: Arc<Woken>,
    entries: Vec<Option<Entry>>,
    free: Vec<Place>,
    ready: BTreeSet<(Rank, Place)>,
    /// Where each class is: the pass of the one that was polled last.
    passes: [u64; CLASSES],
}

/// Where attempts of one run were that have ended, and in whose place nobody has come yet.
#[derive(Debug, Default)]
pub(crate) struct Left(RefCell<BinaryHeap<Reverse<u64>>>);

impl Left {
    /// An attempt has ended, or is not to run: the next one goes on from where it was.
    pub(crate) fn add(&self, rank: Rank) {
        self.0.borrow_mut().push(Reverse(rank.pass));
    }

    /// The least that is behind the class, which has passed all others.
    fn take(&self, now: u64) -> Option<u64> {
        let mut left = self.0.borrow_mut();
        loop {
            match left.pop() {
                Some(Reverse(pass)) if pass <= now => {}
                next => return next.map(|Reverse(pass)| pass),
            }
        }
    }
}

impl Queue {
    /// Where an attempt stands that has just come, to a run of which others have left.
    pub(crate) fn arrive(&self, class: usize, left: &Left) -> Rank {
        let now = self.passes[class];
        Rank { class, pass: left.take(now).unwrap_or(now) }
    }

    /// Takes in that an attempt without a place begins to run.
    pub(crate) const fn begins(&mut self, rank: Rank) {
        self.passes[rank.class] = rank.pass;
    }

    /// Takes in an attempt that waits to be woken; the waker does that.
    pub(crate) fn enter(&mut self, rank: Rank, weight: u32) -> (Place, Waker) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let waker = Arc::new(PlaceWaker { place, woken: Arc::clone(&self.woken), pending: AtomicBool::new(false) });
        self.entries[place] = Some(Entry { waker: Arc::clone(&waker), rank, weight, ready: false });
        (place, Waker::from(waker))
    }

    /// Has the worker woken by whatever wakes a place.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.woken.worker.register(cx.waker());
    }

    /// The attempt that comes next; it is polled now, and woken again when it can go on.
    pub(crate) fn next(&mut self) -> Option<Place> {
        self.gather();
        let (rank, place) = self.ready.pop_first()?;
        self.passes[rank.class] = rank.pass;
        let entry = self.entries[place].as_mut()?;
        entry.ready = false;
        entry.waker.pending.store(false, Ordering::Release);
        Some(place)
    }

    /// The rank of the attempt that comes next, if one waits to be polled.
    pub(crate) fn first(&mut self) -> Option<Rank> {
        self.gather();
        self.ready.first().map(|(rank, _)| *rank)
    }

    /// Counts CPU time of an attempt.
    pub(crate) fn ran(&mut self, place: Place, time: Duration) {
        if let Some(Some(entry)) = self.entries.get_mut(place) {
            entry.rank = entry.rank.after(time, entry.weight);
        }
    }

    /// Moves an attempt into another class, to where that is.
    pub(crate) fn reclass(&mut self, place: Place, class: usize) {
        let Some(Some(entry)) = self.entries.get_mut(place) else { return };
        if entry.rank.class == class {
            return;
        }
        let rank = Rank { class, pass: self.passes[class] };
        if entry.ready {
            self.ready.remove(&(entry.rank, place));
            self.ready.insert((rank, place));
        }
        entry.rank = rank;
    }

    /// Lets an attempt go that has ended; where it was.
    pub(crate) fn leave(&mut self, place: Place) -> Option<Rank> {
        self.gather();
        let entry = self.entries.get_mut(place).and_then(Option::take)?;
        if entry.ready {
            self.ready.remove(&(entry.rank, place));
        }
        // Whoever still holds the waker wakes nobody.
        entry.waker.pending.store(true, Ordering::Release);
        // A wake that came between is found among the woken of a place that is empty, or of its next tenant, which is
        // then polled once too often.
        self.free.push(place);
        Some(entry.rank)
    }

    fn gather(&mut self) {
        if !self.woken.any.swap(false, Ordering::AcqRel) {
            return;
        }
        let places = std::mem::take(&mut *self.woken.places.lock().unwrap_or_else(PoisonError::into_inner));
        for place in places {
            let Some(Some(entry)) = self.entries.get_mut(place) else { continue };
            if !entry.ready {
                entry.ready = true;
                entry.rank.pass = entry.rank.pass.max(self.passes[entry.rank.class]);
                self.ready.insert((entry.rank, place));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_millis(1);

    /// Runs attempts that always want to go on for some slices; returns how many each got.
    fn slices(queue: &mut Queue, attempts: &[(Place, Waker)], number: usize) -> Vec<usize> {
        let mut got = vec![0; attempts.len()];
        for _ in 0..number {
            let place = queue.next().expect("somebody is ready");
            let at = attempts.iter().position(|attempt| attempt.0 == place).expect("a known place");
            got[at] += 1;
            queue.ran(place, SLICE);
            attempts[at].1.wake_by_ref();
        }
        got
    }

    fn enter(queue: &mut Queue, attempts: &[(usize, u32)]) -> Vec<(Place, Waker)> {
        let entered: Vec<_> = attempts
            .iter()
            .map(|(class, weight)| {
                let rank = queue.arrive(*class, &Left::default());
                queue.enter(rank, *weight)
            })
            .collect();
        entered.iter().for_each(|(_, waker)| waker.wake_by_ref());
        entered
    }

    #[test]
    fn weights_share_a_class_and_classes_come_one_after_the_other() {
        let mut queue = Queue::default();
        let attempts = enter(&mut queue, &[(1, 100), (1, 300), (2, 1000)]);
        let got = slices(&mut queue, &attempts, 400);
        assert!(got[0].abs_diff(100) <= 1 && got[1].abs_diff(300) <= 1 && got[2] == 0, "{got:?}");
        let _rank = queue.leave(attempts[0].0);
        queue.leave(attempts[1].0);
        assert_eq!(slices(&mut queue, &attempts, 10), [0, 0, 10]);
    }

    #[test]
    fn who_was_idle_does_not_take_everything_when_he_comes_back() {
        let mut queue = Queue::default();
        let mut attempts = enter(&mut queue, &[(1, 100)]);
        slices(&mut queue, &attempts, 1000);
        attempts.extend(enter(&mut queue, &[(1, 100)]));
        let got = slices(&mut queue, &attempts, 100);
        assert!(got[0].abs_diff(50) <= 1, "{got:?}");
    }

    #[test]
    fn a_stream_of_short_attempts_gets_no_more_than_a_long_one() {
        let mut queue = Queue::default();
        let long = enter(&mut queue, &[(1, 1000)]);
        let (left, none) = (Left::default(), Left::default());
        let mut waiting = queue.arrive(1, &left);
        let mut short = 0;
        for _ in 0..100 {
            if queue.first().is_none_or(|first| waiting <= first) {
                queue.begins(waiting);
                left.add(waiting.after(SLICE, 1000));
                waiting = queue.arrive(1, &left);
                short += 1;
            } else {
                assert_eq!(slices(&mut queue, &long, 1), [1]);
            }
        }
        assert!((49..=51).contains(&short), "{short} of 100");
        // What came together does not wait for what it did not replace, nor do others.
        left.add(waiting);
        left.add(Rank { pass: u64::MAX, ..waiting });
        assert_eq!(queue.arrive(1, &left), waiting);
        let crowd = [queue.arrive(1, &none), queue.arrive(1, &none), queue.arrive(1, &none)];
        assert!(crowd.iter().all(|rank| *rank <= queue.first().expect("the long one")), "{crowd:?}");
    }

    #[test]
    fn a_throttled_attempt_runs_when_nobody_else_wants_to() {
        let mut queue = Queue::default();
        let attempts = enter(&mut queue, &[(2, 100), (2, 100)]);
        queue.reclass(attempts[0].0, LAST_CLASS);
        assert_eq!(slices(&mut queue, &attempts, 10), [0, 10]);
        queue.leave(attempts[1].0);
        assert_eq!(slices(&mut queue, &attempts, 10), [10, 0]);
    }

    #[test]
    fn the_time_used_in_one_class_counts_for_nothing_in_another() {
        let mut queue = Queue::default();
        let attempts = enter(&mut queue, &[(1, 100), (0, 100)]);
        queue.leave(attempts[1].0);
        slices(&mut queue, &attempts[..1], 1000);
        assert!(queue.next().is_some(), "it waits for something now");
        queue.reclass(attempts[0].0, FIRST_CLASS);
        let others = enter(&mut queue, &[(0, 100)]);
        attempts[0].1.wake_by_ref();
        let both = [attempts.into_iter().next().expect("the first"), others.into_iter().next().expect("the other")];
        let got = slices(&mut queue, &both, 10);
        assert_eq!(got, [5, 5]);
    }

    #[test]
    fn late_wakes_of_ended_attempts_do_no_harm() {
        let mut queue = Queue::default();
        let attempts = enter(&mut queue, &[(0, 1)]);
        let _rank = queue.leave(attempts[0].0);
        attempts[0].1.wake_by_ref();
        assert_eq!(queue.next(), None);
        let next = enter(&mut queue, &[(0, 1)]);
        assert_eq!(next[0].0, attempts[0].0, "places are used again");
        attempts[0].1.wake_by_ref();
        assert_eq!(queue.next(), Some(next[0].0));
        assert_eq!(queue.next(), None);
    }
}
