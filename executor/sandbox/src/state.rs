//! What belongs to one attempt: the data of its `Store`.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use wasmtime::AsContext;
use wasmtime_wasi::{WasiCtxBuilder, WasiCtxView, WasiView, p1::WasiP1Ctx, p2::pipe::MemoryInputPipe};
use weir_wire::{attempt::AttemptSpec, id::RunId, log::Stream, work::WorkSpec};

use crate::{
    capture::Capture,
    grants::Mount,
    limits::{HANDLES_MAX, Limiter, RANDOM_BYTES_MAX},
    network::Pins,
    probe::Probe,
    program::Needs,
    queue::Left,
    scratch::Scratch,
    stdio::Writer,
    virtual_time::{self, VirtualClock},
};

/// A run that attempts belong to.
#[derive(Debug)]
pub(crate) struct Work {
    /// As it was defined.
    pub(crate) spec: Arc<WorkSpec>,
    /// Its directories, or why they are denied.
    pub(crate) mounts: Result<Vec<Mount>, String>,
    /// The part of the environment that all its attempts share.
    pub(crate) env: Vec<(String, String)>,
    /// Where its attempts on this worker were.
    pub(crate) left: Left,
}

/// The data of one attempt's `Store`.
pub(crate) struct State {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) limiter: Limiter,
    pub(crate) capture: Arc<Capture>,
    pub(crate) context: TaskContext,
    pub(crate) probe: Arc<Probe>,
    /// The clock of a deterministic guest.
    pub(crate) clock: Option<Arc<VirtualClock>>,
    /// What it may connect to, if it may at all.
    pub(crate) pins: Option<Pins>,
    /// Behind what may have files of it open, and so dropped after it.
    pub(crate) scratch: Option<Scratch>,
}

/// What the guest may ask about itself.
#[derive(Debug, Clone)]
pub(crate) struct TaskContext {
    pub(crate) work: Arc<WorkSpec>,
    /// Its run as the guest sees it.
    pub(crate) run: RunId,
    pub(crate) index: u32,
    pub(crate) ordinal: u32,
    deadline: Instant,
    /// The deadline as the guest knows it, once it asked.
    deadline_ms: Option<u64>,
}

impl TaskContext {
    /// When the attempt is ended, Unix milliseconds; the same at every call.
    pub(crate) fn deadline_ms(&mut self) -> Option<u64> {
        if self.deadline_ms.is_none() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
            let deadline = now + self.deadline.saturating_duration_since(Instant::now());
            self.deadline_ms = u64::try_from(deadline.as_millis()).ok();
        }
        self.deadline_ms
    }
}

impl Work {
    pub(crate) fn new(spec: Arc<WorkSpec>, mounts: Result<Vec<Mount>, String>) -> Self {
        let mut env = spec.env.clone();
        let own = [
            ("WEIR_NAMESPACE", spec.namespace.to_string()),
            ("WEIR_JOB", spec.job.to_string()),
            ("WEIR_RUN", shown_run(&spec).to_string()),
            ("WEIR_TASK_COUNT", spec.count.to_string()),
        ];
        env.retain(|(name, _)| !RESERVED.contains(&name.as_str()));
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
        Self { spec, mounts, env, left: Left::default() }
    }
}

/// The run as its guests see it: a deterministic one sees the same in every run.
fn shown_run(spec: &WorkSpec) -> RunId {
    if spec.capabilities.deterministic { RunId(0) } else { spec.run }
}

/// Names that no job's environment can take.
const RESERVED: [&str; 6] =
    ["WEIR_NAMESPACE", "WEIR_JOB", "WEIR_RUN", "WEIR_TASK_INDEX", "WEIR_TASK_COUNT", "WEIR_ATTEMPT"];

impl State {
    /// Prepares the WASI context, with no more in it than the program can ask for.
    pub(crate) fn new(
        work: &Work,
        attempt: &mut AttemptSpec,
        needs: Needs,
        (capture, probe): (Arc<Capture>, Arc<Probe>),
        limiter: Limiter,
        deadline: Instant,
        mut scratch: Option<Scratch>,
    ) -> wasmtime::Result<Self> {
        let index = attempt.id.task.index;
        let deterministic = work.spec.capabilities.deterministic;
        let ordinal = if deterministic { 1 } else { attempt.ordinal };
        let clock = deterministic.then(|| Arc::new(VirtualClock::new(work.spec.budgets.timeout)));
        let mut builder = WasiCtxBuilder::new();
        builder.max_random_size(RANDOM_BYTES_MAX);
        if let Some(clock) = &clock {
            virtual_time::add_to(&mut builder, clock, &work.spec, index);
        }
        let pins = (!work.spec.capabilities.nets.is_empty()).then(Pins::default);
        if let Some(pins) = &pins {
            pins.add_to(&mut builder);
        }
        if needs.args {
            builder.arg(work.spec.job.as_str()).args(&work.spec.args);
        }
        if needs.env {
            builder.envs(&work.env);
            builder.env("WEIR_TASK_INDEX", index.to_string()).env("WEIR_ATTEMPT", ordinal.to_string());
        }
        if needs.descriptors {
            let writer = |stream| Writer { capture: Arc::clone(&capture), stream };
            builder.stdout(writer(Stream::Stdout)).stderr(writer(Stream::Stderr));
            if needs.stdin && !attempt.payload.is_empty() {
                let payload = std::mem::take(&mut attempt.payload).into_vec();
                builder.stdin(MemoryInputPipe::new(Bytes::from(payload)));
            }
            for mount in work.mounts.iter().flatten() {
                mount.add_to(&mut builder)?;
            }
            if let Some(scratch) = &mut scratch {
                scratch.add_to(&mut builder, work.mounts.as_ref().map_or(0, Vec::len))?;
            }
        }
        let mut wasi = builder.build_p1();
        wasi.ctx().table.set_max_capacity(HANDLES_MAX);
        let deadline_ms = clock.as_ref().and_then(|clock| u64::try_from(clock.end().as_millis()).ok());
        let (run, work) = (shown_run(&work.spec), Arc::clone(&work.spec));
        let context = TaskContext { work, run, index, ordinal, deadline, deadline_ms };
        Ok(Self { wasi, limiter, capture, context, probe, clock, pins, scratch })
    }
}

/// What the engine is given for a budget. It ends a guest that has used up all that it was given, and one that has used its
/// budget to the last unit has not used too much.
pub(crate) const fn fuel_of_engine(budget: u64) -> u64 {
    budget.saturating_add(1)
}

/// What is left of a guest's budget.
pub(crate) fn fuel_left(store: impl AsContext<Data = State>) -> u64 {
    store.as_context().get_fuel().unwrap_or(0).saturating_sub(1)
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}
