//! The run queue of a worker: which of the attempts that can go on is polled next.
//!
//! Classes come strictly one after the other. Within a class the one comes first that has used the least CPU time for its
//! weight. An attempt that was idle does not save up: it starts where its class is.

use std::{
    collections::BTreeSet,
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
    class: usize,
    weight: u32,
    /// CPU time used, for its weight.
    pass: u64,
    /// It is in `ready`.
    ready: bool,
}

/// The run queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    woken: Arc<Woken>,
    entries: Vec<Option<Entry>>,
    free: Vec<Place>,
    ready: BTreeSet<(usize, u64, Place)>,
    /// Where each class is: the pass of the one that was polled last.
    passes: [u64; CLASSES],
}

impl Queue {
    /// Takes in an attempt that waits to be woken; the waker does that.
    pub(crate) fn enter(&mut self, class: usize, weight: u32) -> (Place, Waker) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let waker = Arc::new(PlaceWaker { place, woken: Arc::clone(&self.woken), pending: AtomicBool::new(false) });
        let entry = Entry { waker: Arc::clone(&waker), class, weight: weight.max(1), pass: 0, ready: false };
        self.entries[place] = Some(entry);
        (place, Waker::from(waker))
    }

    /// Has the worker woken by whatever wakes a place.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.woken.worker.register(cx.waker());
    }

    /// The attempt that comes next; it is polled now, and woken again when it can go on.
    pub(crate) fn next(&mut self) -> Option<Place> {
        self.gather();
        let (class, pass, place) = self.ready.pop_first()?;
        self.passes[class] = pass;
        let entry = self.entries[place].as_mut()?;
        entry.ready = false;
        entry.waker.pending.store(false, Ordering::Release);
        Some(place)
    }

    /// Whether an attempt waits to be polled.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.gather();
        !self.ready.is_empty()
    }

    /// Counts CPU time of an attempt.
    pub(crate) fn ran(&mut self, place: Place, time: Duration) {
        if let Some(Some(entry)) = self.entries.get_mut(place) {
            let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            entry.pass = entry.pass.saturating_add(time_ns.saturating_mul(1000) / u64::from(entry.weight));
        }
    }

    /// Moves an attempt into another class.
    pub(crate) fn reclass(&mut self, place: Place, class: usize) {
        let Some(Some(entry)) = self.entries.get_mut(place) else { return };
        if entry.ready {
            self.ready.remove(&(entry.class, entry.pass, place));
            entry.pass = self.passes[class];
            self.ready.insert((class, entry.pass, place));
        }
        entry.class = class;
    }

    /// Lets an attempt go that has ended.
    pub(crate) fn leave(&mut self, place: Place) {
        self.gather();
        let Some(entry) = self.entries.get_mut(place).and_then(Option::take) else { return };
        if entry.ready {
            self.ready.remove(&(entry.class, entry.pass, place));
        }
        // Whoever still holds the waker wakes nobody.
        entry.waker.pending.store(true, Ordering::Release);
        // A wake that came between is found among the woken of a place that is empty, or of its next tenant, which is
        // then polled once too often.
        self.free.push(place);
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
                entry.pass = entry.pass.max(self.passes[entry.class]);
                self.ready.insert((entry.class, entry.pass, place));
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
        let entered: Vec<_> = attempts.iter().map(|(class, weight)| queue.enter(*class, *weight)).collect();
        entered.iter().for_each(|(_, waker)| waker.wake_by_ref());
        entered
    }

    #[test]
    fn weights_share_a_class_and_classes_come_one_after_the_other() {
        let mut queue = Queue::default();
        let attempts = enter(&mut queue, &[(1, 100), (1, 300), (2, 1000)]);
        let got = slices(&mut queue, &attempts, 400);
        assert!(got[0].abs_diff(100) <= 1 && got[1].abs_diff(300) <= 1 && got[2] == 0, "{got:?}");
        queue.leave(attempts[0].0);
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
    fn a_throttled_attempt_runs_when_nobody_else_wants_to() {
        let mut queue = Queue::default();
        let attempts = enter(&mut queue, &[(2, 100), (2, 100)]);
        queue.reclass(attempts[0].0, LAST_CLASS);
        assert_eq!(slices(&mut queue, &attempts, 10), [0, 10]);
        queue.leave(attempts[1].0);
        assert_eq!(slices(&mut queue, &attempts, 10), [10, 0]);
    }

    #[test]
    fn late_wakes_of_ended_attempts_do_no_harm() {
        let mut queue = Queue::default();
        let attempts = enter(&mut queue, &[(0, 1)]);
        queue.leave(attempts[0].0);
        attempts[0].1.wake_by_ref();
        assert_eq!(queue.next(), None);
        let next = enter(&mut queue, &[(0, 1)]);
        assert_eq!(next[0].0, attempts[0].0, "places are used again");
        attempts[0].1.wake_by_ref();
        assert_eq!(queue.next(), Some(next[0].0));
        assert_eq!(queue.next(), None);
    }
}
