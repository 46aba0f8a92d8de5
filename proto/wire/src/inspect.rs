//! Looking into a running attempt: what it is doing now, and where its time goes. From wire version 2 on.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::time::Duration;

use crate::{
    id::{AttemptId, RunId},
    units::{Fuel, MemBytes},
    wire_enum, wire_struct,
};

/// Longest time over which an attempt is sampled for one profile.
pub const PROFILE_TIME_MAX: Duration = Duration::from_mins(1);
/// Most samples of one profile.
pub const PROFILE_SAMPLES_MAX: usize = 20_000;
/// Most different stacks of one profile, counted by their innermost frames.
pub const PROFILE_STACKS_MAX: usize = 16_384;
/// Most bytes of the names and places of a profile's frames.
pub const PROFILE_TEXT_MAX: usize = 128 << 10;
/// Bytes of one profile, encoded: it travels in one frame.
pub const PROFILE_LEN_MAX: usize = 640 << 10;

const _: () = assert!(PROFILE_LEN_MAX < crate::limits::FRAME_LEN_MAX);

/// Looks into the running attempt of a task, control plane → executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspect {
    /// Names the request in its answer.
    pub token: u64,
    /// The run.
    pub run: RunId,
    /// The task.
    pub index: u32,
    /// Samples it for so long, at most [`PROFILE_TIME_MAX`], instead of looking once.
    pub sample_for: Option<Duration>,
}
wire_struct!(Inspect { token, run, index, sample_for });

/// The answer to an [`Inspect`], executor → control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// From the request.
    pub token: u64,
    /// What was seen.
    pub seen: Seen,
}
wire_struct!(Inspected { token, seen });

/// What was seen of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// What it does.
    Moment(Box<Moment>),
    /// Where its time went.
    Profile(Box<Profile>),
    /// Nothing: why, for people.
    Nothing(String),
}
wire_enum!(Seen { 1 => Moment(moment), 2 => Profile(profile), 3 => Nothing(why) });

/// Looks into a running attempt, executor → sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectSpec {
    /// The attempt.
    pub id: AttemptId,
    /// As in [`Inspect`].
    pub sample_for: Option<Duration>,
}
wire_struct!(InspectSpec { id, sample_for });

/// The answer to an [`InspectSpec`], sandbox → executor. An attempt that ends first has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptSeen {
    /// The attempt.
    pub id: AttemptId,
    /// What was seen.
    pub seen: Seen,
}
wire_struct!(AttemptSeen { id, seen });

/// One moment of a running attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moment {
    /// Fuel used; unknown while it is in a host call that cannot be looked into.
    pub fuel: Option<Fuel>,
    /// CPU time used, microseconds.
    pub cpu_us: u64,
    /// Wall clock since it began, microseconds.
    pub wall_us: u64,
    /// Bytes of its memories and tables; unknown like the fuel.
    pub memory: Option<MemBytes>,
    /// The host call that it waits in, if it waits.
    pub host_call: Option<HostCall>,
    /// Its functions, innermost first; empty where the fuel is unknown.
    pub backtrace: Vec<String>,
}
wire_struct!(Moment { fuel, cpu_us, wall_us, memory, host_call, backtrace });

/// A host call that a guest waits in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCall {
    /// Its name, if it is one of those that wait for long.
    pub name: Option<String>,
    /// For how long at least, microseconds.
    pub for_us: u64,
}
wire_struct!(HostCall { name, for_us });

/// Where the time of an attempt went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// How long it was sampled, microseconds.
    pub wall_us: u64,
    /// Least time between two samples, microseconds.
    pub interval_us: u64,
    /// Samples that found no room among the others.
    pub lost: u64,
    /// Functions, or places in them.
    pub frames: Vec<ProfileFrame>,
    /// Stacks: each is one of the earlier ones and a frame on top.
    pub stacks: Vec<ProfileStack>,
    /// The samples, by time.
    pub samples: Vec<ProfileSample>,
}
wire_struct!(Profile { wall_us, interval_us, lost, frames, stacks, samples });

/// One function of a profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileFrame {
    /// Its name.
    pub function: String,
    /// File and line, if they are known.
    pub place: String,
}
wire_struct!(ProfileFrame { function, place });

/// A stack of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileStack {
    /// What called it: an earlier stack's place in the list, and 1 more; 0 for none.
    pub caller: u32,
    /// The frame's place in its list.
    pub frame: u32,
}
wire_struct!(ProfileStack { caller, frame });

/// One sample of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileSample {
    /// Since the sample before, microseconds.
    pub after_us: u32,
    /// CPU time since then, microseconds.
    pub cpu_us: u32,
    /// The stack's place in its list.
    pub stack: u32,
}
wire_struct!(ProfileSample { after_us, cpu_us, stack });

impl Profile {
    /// Whether it holds what its type says: lists within their limits, and places that exist.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let text: usize = self.frames.iter().map(|frame| frame.function.len() + frame.place.len()).sum();
        let (frames, stacks) = (self.frames.len(), self.stacks.len());
        let below = |place: u32, len: usize| (place as usize) < len;
        text <= PROFILE_TEXT_MAX
            && frames <= PROFILE_STACKS_MAX
            && stacks <= PROFILE_STACKS_MAX
            && self.samples.len() <= PROFILE_SAMPLES_MAX
            && self
                .stacks
                .iter()
                .enumerate()
                .all(|(at, stack)| stack.caller as usize <= at && below(stack.frame, frames))
            && self.samples.iter().all(|sample| below(sample.stack, stacks))
    }
}

macro_rules! boxed {
    ($($name:ident),*) => { $(
        impl crate::codec::Wire for Box<$name> {
            fn encode(&self, out: &mut Vec<u8>) {
                (**self).encode(out);
            }
            fn decode(input: &mut crate::codec::Reader<'_>) -> Result<Self, crate::codec::Error> {
                $name::decode(input).map(Self::new)
            }
        }
    )* };
}
boxed!(Moment, Profile);

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::codec::Wire;

    #[test]
    fn a_profile_of_the_largest_size_fits_its_limit() {
        let frame = |_| ProfileFrame { function: "x".repeat(7), place: String::new() };
        let profile = Profile {
            wall_us: u64::MAX,
            interval_us: u64::MAX,
            lost: u64::MAX,
            frames: (0..PROFILE_STACKS_MAX).map(frame).collect(),
            stacks: (0..16_384).map(|at| ProfileStack { caller: at, frame: 16_383 }).collect(),
            samples: vec![ProfileSample { after_us: u32::MAX, cpu_us: u32::MAX, stack: 16_383 }; PROFILE_SAMPLES_MAX],
        };
        assert!(profile.is_sound());
        let mut bytes = Vec::new();
        profile.encode(&mut bytes);
        assert!(bytes.len() <= PROFILE_LEN_MAX, "{}", bytes.len());
    }

    #[test]
    fn places_that_do_not_exist_are_no_profile() {
        let stacks = |stack| Profile { stacks: vec![stack], ..Profile::default() };
        assert!(Profile::default().is_sound());
        assert!(!stacks(ProfileStack { caller: 1, frame: 0 }).is_sound());
        assert!(!stacks(ProfileStack { caller: 0, frame: 0 }).is_sound());
        let samples = vec![ProfileSample { after_us: 0, cpu_us: 0, stack: 0 }];
        assert!(!Profile { samples, ..Profile::default() }.is_sound());
    }
}
