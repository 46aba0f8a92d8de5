//! The scheduler's plain data as the bodies of the API, one file a noun.

pub(super) mod job;
pub(super) mod node;
pub(super) mod run;
pub(super) mod task;
pub(super) mod why;

/// A version number of the API, which has room for 32 bits.
pub(super) fn version(version: weir_wire::id::JobVersion) -> u32 {
    u32::try_from(version.0).unwrap_or(u32::MAX)
}
