//! CPU time that file operations take on threads of their own, and who is charged for it.
//!
//! A file operation cannot be aborted once begun, so that it must not keep a guest's thread: the runtime has other threads
//! for them. What these use of the processor is divided equally among the attempts of the worker that wait for one, since
//! which thread works for which attempt is known to the runtime alone.

use std::{
    cell::Cell,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use rustix::thread::gettid;

use crate::usage::thread_cpu;

/// The threads of one worker for file operations.
#[derive(Debug, Default)]
pub(crate) struct FileThreads(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    running: Vec<Thread>,
    /// What threads used that have ended.
    ended: Duration,
}

#[derive(Clone, Copy)]
struct Thread {
    id: i32,
    clock: ClockId,
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Thread").field(&self.id).finish()
    }
}

impl FileThreads {
    /// Takes in the calling thread.
    pub(crate) fn begins(&self) {
        let id = gettid().as_raw_nonzero().get();
        self.known().running.push(Thread { id, clock: cpu_clock_of(id) });
    }

    /// Takes in that the calling thread is about to end.
    pub(crate) fn ends(&self) {
        let id = gettid().as_raw_nonzero().get();
        let used = thread_cpu();
        let mut known = self.known();
        known.running.retain(|thread| thread.id != id);
        known.ended += used;
    }

    /// CPU time of all of them so far. Costs a system call for each.
    fn used(&self) -> Duration {
        let known = self.known();
        // Those that end say so under the same lock, so that each clock that is read here is there.
        let running = known.running.iter().filter_map(|thread| clock_gettime(thread.clock).ok());
        running.fold(known.ended, |sum, time| sum + Duration::from(time))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock of the CPU time of any thread of this process: its number, inverted and shifted, with the bits for "of a
/// thread" and "as the scheduler counts it" (`include/linux/posix-timers_types.h`).
const fn cpu_clock_of(thread: i32) -> ClockId {
    ClockId::from_raw((!thread << 3) | 4 | 2)
}

/// The share of each attempt that waits for a file operation.
#[derive(Debug)]
pub(crate) struct FileTime {
    threads: Arc<FileThreads>,
    waiting: Cell<u32>,
    /// What the threads had used when that was last looked at.
    seen: Cell<Duration>,
    /// What an attempt would have been charged that had waited all the time.
    share: Cell<Duration>,
}

/// Since when an attempt waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(Duration);

impl FileTime {
    pub(crate) const fn new(threads: Arc<FileThreads>) -> Self {
        let (seen, share) = (Cell::new(Duration::ZERO), Cell::new(Duration::ZERO));
        Self { threads, waiting: Cell::new(0), seen, share }
    }

    /// An attempt waits from now on, that was polled for so long before.
    ///
    /// The operation began in that poll. If nobody else waited, what was used meanwhile is its own, and no more than the
    /// poll took: the rest was left by others.
    pub(crate) fn begin(&self, polled_for: Duration) -> Begun {
        let alone = self.waiting.get() == 0;
        let more = self.look();
        self.waiting.set(self.waiting.get() + 1);
        let share = self.share.get();
        if alone {
            self.share.set(share + more.min(polled_for));
        }
        Begun(share)
    }

    /// It waits no more; what it is charged.
    pub(crate) fn end(&self, begun: Begun) -> Duration {
        self.look();
        self.waiting.set(self.waiting.get().saturating_sub(1));
        self.share.get().saturating_sub(begun.0)
    }

    /// Divides what was used since the last look among those that wait; returns it.
    fn look(&self) -> Duration {
        let used = self.threads.used();
        let more = used.saturating_sub(self.seen.replace(used));
        if let Some(each) = more.checked_div(self.waiting.get()) {
            self.share.set(self.share.get() + each);
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn what_threads_use_is_divided_among_those_that_wait() {
        let threads = Arc::new(FileThreads::default());
        let time = FileTime::new(Arc::clone(&threads));
        let (work, orders) = mpsc::channel::<Duration>();
        let (tell, done) = mpsc::channel();
        let worker = thread::spawn(move || {
            threads.begins();
            for order in orders {
                let until = thread_cpu() + order;
                while thread_cpu() < until {}
                tell.send(()).expect("somebody waits");
            }
            threads.ends();
        });
        let burn = |ms| {
            work.send(Duration::from_millis(ms)).expect("it works");
            done.recv().expect("done");
        };
        burn(50);
        let one = time.begin(Duration::ZERO);
        burn(20);
        let two = time.begin(Duration::ZERO);
        burn(40);
        let charged_two = time.end(two);
        burn(10);
        let charged_one = time.end(one);
        // It began while the attempt was polled for 30 ms; others had left the rest.
        burn(50);
        let early = time.begin(Duration::from_millis(30));
        burn(10);
        let charged_early = time.end(early);
        drop(work);
        worker.join().expect("no panic");
        let about = |charged: Duration, ms: u64| {
            assert!(charged >= Duration::from_millis(ms) && charged < Duration::from_millis(ms * 2), "{charged:?}");
        };
        about(charged_two, 20);
        about(charged_one, 20 + 20 + 10);
        about(charged_early, 30 + 10);
        let after = time.begin(Duration::ZERO);
        assert_eq!(time.end(after), Duration::ZERO, "what threads used that have ended stays counted");
    }
}
