//! The scheduler: a pure state machine that decides everything the control plane does.
//!
//! It is driven by [`Scheduler::handle`], which takes the time and one [`Input`], and drained by
//! [`Scheduler::poll_output`]; [`Scheduler::poll_deadline`] says when to call it again with [`Input::Tick`]. It
//! contains no clock, no socket, no randomness of its own and no `await`: the daemon and the simulator call the very
//! same methods.
//!
//! # Order of effects
//! An answer, an acknowledgement or a grant that depends on a commit comes out only after [`Input::CommitDone`] said
//! that the commit is durable. The driver carries outputs out in the order in which they come.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod admit;
mod batch;
mod brake;
mod check;
mod checkpoint;
mod claim;
mod class;
mod commit;
mod config;
mod constraint;
mod cron;
mod deadline;
mod definition;
mod depend;
mod drain;
mod dry;
mod expire;
mod fair;
mod fence;
mod grant;
mod group;
mod input;
mod inspect;
mod job_state;
mod lanes;
pub mod limits;
mod load;
mod long;
mod node;
mod node_set;
mod open;
mod operate;
mod output;
mod phase;
mod place;
mod plan;
mod preempt;
mod query;
mod queue;
mod quota;
mod reconcile;
mod references;
mod report;
mod request;
mod retain;
mod retry;
mod rng;
mod room;
mod run;
mod runs;
mod scheduler;
mod serve;
mod service;
mod session;
mod site;
mod slab;
mod system;
mod task;
mod trial;
mod view;
mod visit;
mod why;

pub use config::{Config, Policy};
pub use deadline::Reason as DeadlineReason;
pub use input::{Input, Loaded, PutJob, Request, RequestId, SessionId, Submit};
pub use output::{Output, Reply, RequestError};
pub use plan::{Plan, PlannedGrant};
pub use references::Reference;
pub use scheduler::Scheduler;
pub use view::{
    Ahead, Counts, DependencyView, DrainView, EntryLocation, JobView, KeptRun, KindCounts, NodeState, NodeView,
    PlanView, QuotaUsage, QuotaUse, RunState, RunView, SchedulerStats, SegmentObject, TaskView, VictimView, WhyPending,
};
