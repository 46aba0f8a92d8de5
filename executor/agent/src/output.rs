//! What an agent asks for.

use alloc::{boxed::Box, string::String};

use weir_wire::{
    attempt::Command,
    id::{AttemptId, Digest, Incarnation, RunId, Term},
    message::{RefuseCode, ToControl},
    outcome::BlobRef,
};

use crate::input::Part;

/// One thing to do. Outputs take effect in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send to the control plane; lost when the session is gone, which the agent allows for.
    Send(ToControl),
    /// Tell the sandbox. [`Command::Start`] never comes this way.
    ///
    /// With [`Command::Forget`] the payload of that run may be dropped as well.
    Sandbox(Command),
    /// Start an attempt in the sandbox, with this payload. Answered by an `Ended` event in every case, as is each further
    /// one that the sandbox starts behind it.
    Start(Start),
    /// Fetch a module into a file: [`crate::Input::ModuleStored`] or [`crate::Input::ModuleFailed`].
    FetchModule(Digest),
    /// Fetch the payload of a run and keep it: [`crate::Input::PayloadReady`] or [`crate::Input::PayloadFailed`].
    FetchPayload {
        /// The run.
        run: RunId,
        /// Its payload blob.
        blob: BlobRef,
    },
    /// Put a capture into the blob store: [`crate::Input::BlobUploaded`] or [`crate::Input::BlobUploadFailed`].
    Upload {
        /// The attempt.
        id: AttemptId,
        /// Which of its captures.
        part: Part,
        /// The content.
        bytes: Box<[u8]>,
    },
    /// Close the session and connect again, perhaps elsewhere. No [`crate::Input::Disconnected`] is needed after it.
    Disconnect(DisconnectReason),
    /// End the daemon. Nothing follows.
    Exit(ExitReason),
}

/// One attempt to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The attempt.
    pub id: AttemptId,
    /// The number people see.
    pub ordinal: u32,
    /// How many tasks behind it the sandbox may start by itself: see [`weir_wire::attempt::AttemptSpec::ahead`].
    pub ahead: u32,
    /// Its payload.
    pub payload: Payload,
}

/// Where the payload of an attempt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Here; empty when the run has none.
    Inline(Box<[u8]>),
    /// The blob fetched for the run.
    Blob,
    /// This item of the items blob fetched for the run.
    Item(u32),
}

/// Why the agent wants to come back at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Something waits for a report.
    Report,
    /// An attempt may have run long enough to be reported, or to give back what waits behind it.
    Sweep,
    /// The grace of a stop has passed.
    Grace,
    /// The lease is to be renewed.
    Renew,
    /// The lease ends.
    LeaseEnd,
    /// The peer has been silent for too long.
    Silence,
    /// A fetch or upload is to be repeated.
    Retry,
}

/// Why the agent leaves a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectReason {
    /// The peer is not the leader, or not ready.
    #[error("the control plane does not lead: {0}")]
    NotLeader(String),
    /// The peer leads in a term that is over.
    #[error("the control plane is of term {found}, and {known} was seen")]
    StaleTerm {
        /// Its term.
        found: Term,
        /// The highest seen.
        known: Term,
    },
    /// The peer does not answer.
    #[error("the control plane does not answer")]
    Silent,
    /// The peer broke the protocol.
    #[error("the control plane broke the protocol: {0}")]
    Protocol(&'static str),
}

/// Why the agent ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExitReason {
    /// It was asked to, and everything is reported.
    #[error("drained")]
    Drained,
    /// Another daemon with the same identity was started later.
    #[error("incarnation {incarnation} of this node is superseded by a later one: {message}")]
    Superseded {
        /// Ours.
        incarnation: Incarnation,
        /// The control plane's words.
        message: String,
    },
    /// The control plane refuses this node for good.
    #[error("the control plane refuses this node ({code:?}): {message}")]
    Refused {
        /// Why.
        code: RefuseCode,
        /// Its words.
        message: String,
    },
}
