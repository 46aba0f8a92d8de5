//! What an agent is told.

use alloc::{boxed::Box, string::String};

use weir_wire::{
    attempt::AttemptEvent,
    id::{AttemptId, Digest, RunId},
    message::ToExecutor,
    outcome::BlobRef,
    resources::Resources,
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A session to a control plane is open.
    Connected,
    /// The session is gone.
    Disconnected,
    /// A message of the control plane.
    Control(ToExecutor),
    /// A message of the sandbox.
    Sandbox(AttemptEvent),
    /// The module is in a local file, checked against its digest.
    ModuleStored {
        /// The module.
        digest: Digest,
        /// The file.
        path: String,
    },
    /// The module could not be fetched.
    ModuleFailed {
        /// The module.
        digest: Digest,
        /// Why.
        message: String,
        /// Whether trying again may help.
        retry: bool,
    },
    /// The payload of a run is here.
    PayloadReady {
        /// The run.
        run: RunId,
    },
    /// The payload of a run could not be fetched.
    PayloadFailed {
        /// The run.
        run: RunId,
        /// Why.
        message: String,
        /// Whether trying again may help.
        retry: bool,
    },
    /// The blob store has what was uploaded.
    BlobUploaded {
        /// The attempt.
        id: AttemptId,
        /// Which of its captures.
        part: Part,
        /// Its name.
        blob: BlobRef,
    },
    /// An upload did not succeed; the bytes come back.
    BlobUploadFailed {
        /// The attempt.
        id: AttemptId,
        /// Which of its captures.
        part: Part,
        /// What was to be uploaded.
        bytes: Box<[u8]>,
        /// Why.
        message: String,
        /// Whether trying again may help.
        retry: bool,
    },
    /// What the attempts that are not revocable use, all of them together; sampled every
    /// [`crate::limits::MEASURE_EVERY`].
    Measured(Resources),
    /// The daemon was asked to end: the control plane is told, nothing further is started, what runs may finish.
    ShuttingDown,
    /// The grace of [`Input::ShuttingDown`] has passed: what runs is ended.
    ShutDownNow,
    /// A deadline of [`crate::Agent::poll_deadline`] may have passed.
    Tick,
}

/// A capture of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What the task returned.
    Result,
    /// What it wrote and logged.
    Log,
}
