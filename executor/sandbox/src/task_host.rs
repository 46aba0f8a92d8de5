//! What the executor offers to components made with the SDK (`weir:task/host`).

use wasmtime::component::{HasSelf, Linker};
use weir_wire::log::{Level, Stream};

use crate::state::State;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../sdk/wit",
        world: "task",
        imports: { default: trappable },
        exports: { default: async },
    });
}

pub(crate) use bindings::TaskPre;
use bindings::weir::task::host::{self, Context};

/// Adds the interface to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    host::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl host::Host for State {
    fn get_context(&mut self) -> wasmtime::Result<Context> {
        let deadline_ms = self.context.deadline_ms();
        let context = &self.context;
        Ok(Context {
            namespace: context.work.namespace.to_string(),
            job: context.work.job.to_string(),
            run: context.run.to_string(),
            index: context.index,
            count: context.work.count,
            attempt: context.ordinal,
            deadline_ms,
        })
    }

    fn log(&mut self, level: host::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            host::Level::Trace => Level::Trace,
            host::Level::Debug => Level::Debug,
            host::Level::Info => Level::Info,
            host::Level::Warn => Level::Warn,
            host::Level::Error => Level::Error,
        };
        let written = self.capture.write(Stream::Log(level), message.as_bytes());
        written.map_err(|_full| wasmtime::format_err!("the output budget is used up"))
    }

    fn progress(&mut self, done: u64, total: u64) -> wasmtime::Result<()> {
        self.capture.progress(done, total);
        Ok(())
    }
}
