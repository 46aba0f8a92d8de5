//! An attempt that a worker process has, and how much the process may yet say about it: a process that was taken over is
//! as hostile as a guest.

use std::time::{Duration, Instant};

use weir_wire::{
    attempt::OutputChunk,
    inspect::Seen,
    limits::{BACKTRACE_FRAMES_MAX, MESSAGE_LEN_MAX},
};

use crate::limits::PROGRESS_INTERVAL;

/// What a chunk of live output counts beside its bytes.
const CHUNK_BYTES: u64 = 8;
/// Live output for each time that it is asked for, beside that of the budget.
const OUTPUT_FREE: u64 = 512 << 10;
/// What live output may come to for each byte of the budget: a log is at most twice as long as that, and every three bytes
/// of it may be a chunk.
const OUTPUT_PER_BYTE: u64 = 8;
/// Progress that may come at once: the first and the last, and some room for clocks.
const PROGRESS_FREE: u64 = 20;

/// The daemon's view of an attempt in a worker process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) weight: u32,
    /// The process was told of it.
    pub(super) sent: bool,
    /// Tasks behind it that the process may start by itself.
    ahead: u32,
    output_budget: u64,
    /// Live output that may yet come.
    output_left: u64,
    began: Instant,
    /// Progress that has come.
    progress: u64,
    /// How often the process may yet say what it has seen of it.
    looks: u32,
}

impl Held {
    pub(super) fn new(weight: u32, output_budget: u64, ahead: u32, sent: bool) -> Self {
        Self { weight, sent, ahead, output_budget, output_left: 0, began: Instant::now(), progress: 0, looks: 0 }
    }

    /// The attempt behind it, if the process may have started that by itself.
    pub(super) fn next(&self) -> Option<Self> {
        let ahead = self.ahead.checked_sub(1)?;
        Some(Self::new(self.weight, self.output_budget, ahead, self.sent))
    }

    /// The process starts nothing behind it by itself any more; whether it could have till now.
    pub(super) const fn settled(&mut self) -> bool {
        std::mem::replace(&mut self.ahead, 0) > 0
    }

    /// The process is asked for live output, from its beginning.
    pub(super) const fn is_followed(&mut self) {
        let more = self.output_budget.saturating_mul(OUTPUT_PER_BYTE).saturating_add(OUTPUT_FREE);
        self.output_left = self.output_left.saturating_add(more);
    }

    /// The process is asked to look into it.
    pub(super) const fn is_inspected(&mut self) {
        self.looks = self.looks.saturating_add(1);
    }

    /// Takes in live output; whether that may come.
    pub(super) fn wrote(&mut self, chunk: &OutputChunk) -> bool {
        let left = self.output_left.checked_sub(chunk.bytes.len() as u64 + CHUNK_BYTES);
        self.output_left = left.unwrap_or(0);
        left.is_some()
    }

    /// Takes in progress; whether that may come.
    pub(super) fn progressed(&mut self) -> bool {
        self.progress += 1;
        self.progress <= progress_max(self.began.elapsed())
    }

    /// Takes in what was seen of it; whether that was asked for and is no larger than it can be.
    pub(super) fn seen(&mut self, seen: &Seen) -> bool {
        let asked = self.looks > 0;
        self.looks = self.looks.saturating_sub(1);
        asked && is_bounded(seen)
    }
}

/// Progress that may have come after some time: twice of what an honest process reports.
fn progress_max(time: Duration) -> u64 {
    let intervals = time.as_nanos() * 2 / PROGRESS_INTERVAL.as_nanos();
    u64::try_from(intervals).unwrap_or(u64::MAX).saturating_add(PROGRESS_FREE)
}

fn is_bounded(seen: &Seen) -> bool {
    match seen {
        Seen::Moment(moment) => {
            let name = moment.host_call.as_ref().and_then(|call| call.name.as_ref()).map_or(0, String::len);
            let longest = moment.backtrace.iter().map(String::len).max().unwrap_or(0);
            moment.backtrace.len() <= BACKTRACE_FRAMES_MAX && longest.max(name) <= MESSAGE_LEN_MAX
        }
        Seen::Profile(profile) => profile.is_sound(),
        Seen::Nothing(why) => why.len() <= MESSAGE_LEN_MAX,
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::{
        id::{AttemptId, GrantSeq, RunId, TaskId, Term},
        inspect::{Moment, Profile, ProfileSample},
        log::Stream,
    };

    use super::*;

    const ID: AttemptId = AttemptId { task: TaskId { run: RunId(1), index: 2 }, term: Term(3), grant: GrantSeq(4) };

    fn chunk(len: usize) -> OutputChunk {
        OutputChunk { id: ID, stream: Stream::Stdout, at_ms: 0, bytes: vec![0; len].into() }
    }

    #[test]
    fn live_output_comes_when_asked_for_and_has_an_end() {
        let mut held = Held::new(1, 1000, 0, true);
        assert!(!held.wrote(&chunk(1)), "nobody follows");
        held.is_followed();
        let mut came = 0;
        while held.wrote(&chunk(1000)) {
            came += 1;
        }
        assert!((500..1000).contains(&came), "{came}");
        held.is_followed();
        assert!(held.wrote(&chunk(1000)));
        // What an honest process may write at the most: its whole budget in chunks of a byte, twice as long with its framing.
        let mut held = Held::new(1, 1 << 20, 0, true);
        held.is_followed();
        assert!((0..(2 << 20) / 3).all(|_| held.wrote(&chunk(1))));
    }

    #[test]
    fn progress_comes_no_more_often_than_time_passes() {
        let mut held = Held::new(1, 1000, 0, true);
        assert!((0..PROGRESS_FREE).all(|_| held.progressed()));
        assert!(!(0..1_000_000).all(|_| held.progressed()));
        assert_eq!(progress_max(PROGRESS_INTERVAL * 1000), 2000 + PROGRESS_FREE);
    }

    #[test]
    fn only_what_was_asked_for_and_is_bounded_is_taken_in() {
        let mut held = Held::new(1, 1000, 0, true);
        let moment = Seen::Moment(Box::default());
        assert!(!held.seen(&moment));
        held.is_inspected();
        assert!(held.seen(&moment) && !held.seen(&moment));
        let long = Seen::Moment(Box::new(Moment { backtrace: vec![String::new(); 33], ..Moment::default() }));
        let samples = vec![ProfileSample { after_us: 0, cpu_us: 0, stack: 9 }];
        let unsound = Seen::Profile(Box::new(Profile { samples, ..Profile::default() }));
        for seen in [long, unsound, Seen::Nothing("x".repeat(MESSAGE_LEN_MAX + 1))] {
            held.is_inspected();
            assert!(!held.seen(&seen));
        }
    }
}
