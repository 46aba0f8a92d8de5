//! Samples of a guest's stack, gathered into a profile of bounded size.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use wasmtime::WasmBacktrace;
use weir_wire::inspect::{
    PROFILE_SAMPLES_MAX, PROFILE_STACKS_MAX, PROFILE_TEXT_MAX, PROFILE_TIME_MAX, Profile, ProfileFrame, ProfileSample,
    ProfileStack,
};

use crate::{backtrace, lines::Lines, usage::thread_cpu};

/// Least time between two samples: a sample takes some microseconds.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// A profile that is being taken.
#[derive(Debug)]
pub(crate) struct Sampler {
    began: Instant,
    until: Instant,
    interval: Duration,
    last: Instant,
    /// The thread's CPU time when it was last looked at in a poll of this guest.
    cpu_mark: Duration,
    /// CPU time of this guest since the last sample, up to the mark.
    cpu: Duration,
    profile: Profile,
    frames: HashMap<ProfileFrame, u32>,
    stacks: HashMap<ProfileStack, u32>,
    text: usize,
}

impl Sampler {
    /// Samples from now on.
    pub(crate) fn new(time: Duration) -> Self {
        let time = time.min(PROFILE_TIME_MAX);
        let most = u32::try_from(PROFILE_SAMPLES_MAX).unwrap_or(u32::MAX);
        let now = Instant::now();
        Self {
            began: now,
            until: now + time,
            interval: INTERVAL_MIN.max(time / most),
            last: now,
            cpu_mark: thread_cpu(),
            cpu: Duration::ZERO,
            profile: Profile::default(),
            frames: HashMap::new(),
            stacks: HashMap::new(),
            text: 0,
        }
    }

    /// When it ends.
    pub(crate) const fn until(&self) -> Instant {
        self.until
    }

    /// Whether it is time for the next sample.
    pub(crate) fn is_due(&self) -> bool {
        self.last.elapsed() >= self.interval
    }

    /// The guest gets the thread.
    pub(crate) fn poll_begins(&mut self) {
        self.cpu_mark = thread_cpu();
    }

    /// The guest gives the thread back.
    pub(crate) fn poll_ended(&mut self) {
        let now = thread_cpu();
        self.cpu += now.saturating_sub(self.cpu_mark);
        self.cpu_mark = now;
    }

    /// Takes a sample, if there is room for it.
    pub(crate) fn sample(&mut self, trace: &WasmBacktrace, lines: Option<&Lines>) {
        let frames = backtrace::frames(trace, lines);
        self.add(frames);
    }

    fn add(&mut self, frames: Vec<ProfileFrame>) {
        self.poll_ended();
        let now = Instant::now();
        let stack = (self.profile.samples.len() < PROFILE_SAMPLES_MAX).then(|| self.stack(frames)).flatten();
        let Some(stack) = stack else {
            // The time of a sample that is lost belongs to the next one that is not.
            self.profile.lost += 1;
            return;
        };
        let after_us = micros(now.saturating_duration_since(self.last));
        self.profile.samples.push(ProfileSample { after_us, cpu_us: micros(self.cpu), stack });
        (self.last, self.cpu) = (now, Duration::ZERO);
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Profile {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Profile { wall_us: us(self.began.elapsed()), interval_us: us(self.interval), ..self.profile }
    }

    /// The place of a stack, whose innermost frame comes first.
    fn stack(&mut self, frames: Vec<ProfileFrame>) -> Option<u32> {
        let mut stack = None;
        for frame in frames.into_iter().rev() {
            let len = frame.function.len() + frame.place.len();
            let fits = self.text + len <= PROFILE_TEXT_MAX;
            if !self.frames.contains_key(&frame) {
                self.text += if fits { len } else { 0 };
            }
            let frame = intern(&mut self.frames, &mut self.profile.frames, frame, fits)?;
            let caller = stack.map_or(0, |stack: u32| stack + 1);
            stack = Some(intern(&mut self.stacks, &mut self.profile.stacks, ProfileStack { caller, frame }, true)?);
        }
        stack
    }
}

/// The place of a value in its list, into which it is put if there is room.
fn intern<T: Clone + Eq + Hash>(known: &mut HashMap<T, u32>, list: &mut Vec<T>, value: T, fits: bool) -> Option<u32> {
    if let Some(at) = known.get(&value) {
        return Some(*at);
    }
    let at = u32::try_from(list.len()).ok().filter(|_| fits && list.len() < PROFILE_STACKS_MAX)?;
    list.push(value.clone());
    known.insert(value, at);
    Some(at)
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str) -> ProfileFrame {
        ProfileFrame { function: function.to_owned(), place: String::new() }
    }

    #[test]
    fn stacks_share_what_they_have_in_common() {
        let mut sampler = Sampler::new(Duration::from_secs(1));
        for names in [&["a", "main"][..], &["b", "main"], &["a", "main"], &["main"], &["a", "a", "main"]] {
            sampler.add(names.iter().map(|name| frame(name)).collect());
        }
        let profile = sampler.finish();
        assert!(profile.is_sound());
        assert_eq!(profile.frames, [frame("main"), frame("a"), frame("b")]);
        let stacks: Vec<_> = profile.samples.iter().map(|sample| sample.stack).collect();
        assert_eq!((stacks, profile.stacks.len(), profile.lost), (vec![1, 2, 1, 0, 3], 4, 0));
    }

    #[test]
    fn a_guest_cannot_make_a_profile_grow() {
        let mut sampler = Sampler::new(Duration::from_secs(1));
        for number in 0..PROFILE_SAMPLES_MAX + 10 {
            sampler.add(vec![frame(&format!("{number:>60}")), frame("main")]);
        }
        let full = sampler.profile.clone();
        assert!(full.is_sound() && full.lost > 0 && full.samples.len() < PROFILE_STACKS_MAX, "{}", full.samples.len());
        (0..PROFILE_SAMPLES_MAX).for_each(|_| sampler.add(vec![frame("main")]));
        let profile = sampler.finish();
        assert!(profile.is_sound());
        assert_eq!(profile.samples.len(), PROFILE_SAMPLES_MAX);
    }

    #[test]
    fn a_stack_without_frames_is_lost() {
        let mut sampler = Sampler::new(Duration::from_secs(1));
        sampler.add(Vec::new());
        assert_eq!((sampler.profile.samples.len(), sampler.profile.lost), (0, 1));
    }
}
