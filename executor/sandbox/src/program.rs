//! A module that is loaded and linked for one worker.

use std::sync::Arc;

use wasmtime::{Engine, ExternType, InstancePre, Linker, Module, ModuleExport, Store, component};
use wasmtime_wasi::{
    I32Exit, p1,
    p2::{self, bindings::CommandPre},
};

use crate::{
    cache::Artefact,
    compile::{self, Kind},
    lines::Lines,
    names, scratch, sockets,
    state::State,
    task_host::{self, TaskPre},
    virtual_poll, waiting,
};

/// The engine of one worker with everything a guest can be linked to.
pub(crate) struct Loader {
    pub(crate) engine: Engine,
    /// Largest linear memory of any guest, bytes.
    memory_max: usize,
    modules: Linker<State>,
    /// For preview 1 modules whose clock is not that of the machine.
    deterministic: Linker<State>,
    components: component::Linker<State>,
}

/// What a program can ask for, as far as its imports tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    pub(crate) args: bool,
    pub(crate) env: bool,
    pub(crate) descriptors: bool,
    pub(crate) stdin: bool,
}

/// A program of one worker, ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) needs: Needs,
    /// The source lines of its code, where its debug information said them.
    pub(crate) lines: Option<Arc<Lines>>,
    entry: Entry,
}

#[derive(Clone)]
enum Entry {
    /// A WASI preview 1 command, linked to the machine's clock and to one of its own.
    Module { linked: Arc<InstancePre<State>>, deterministic: Arc<InstancePre<State>>, start: ModuleExport },
    /// A WASI preview 2 command.
    Command(Arc<CommandPre<State>>),
    /// A component made with the SDK.
    Task(Arc<TaskPre<State>>),
}

/// How a guest came to its end by itself.
#[derive(Debug)]
pub(crate) enum Returned {
    /// A command is done; its result is what it wrote.
    Done,
    /// A command says that it failed.
    Failed,
    /// A task's result.
    Result(Vec<u8>),
    /// A task's error.
    Error {
        /// Its words.
        message: String,
        /// Whether it does not ask for another attempt.
        permanent: bool,
    },
}

impl Loader {
    pub(crate) fn new(engine: Engine, memory_max: usize) -> wasmtime::Result<Self> {
        let mut modules = Linker::new(&engine);
        p1::add_to_linker_async(&mut modules, |state: &mut State| &mut state.wasi)?;
        // The one that comes with wasmtime-wasi traps on codes of 126 and more.
        modules.allow_shadowing(true);
        modules.func_wrap("wasi_snapshot_preview1", "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::new(I32Exit(code)))
        })?;
        waiting::replace_in_modules(&mut modules)?;
        scratch::add_to_modules(&mut modules)?;
        let mut deterministic = modules.clone();
        virtual_poll::add_to_modules(&mut deterministic)?;
        modules.allow_shadowing(false);
        let mut components = component::Linker::new(&engine);
        p2::add_to_linker_async(&mut components)?;
        components.allow_shadowing(true);
        waiting::replace_in_components(&mut components)?;
        components.allow_shadowing(false);
        virtual_poll::add_to_components(&mut components)?;
        scratch::add_to_components(&mut components)?;
        names::add_to_components(&mut components)?;
        sockets::add_to_components(&mut components)?;
        task_host::add_to_linker(&mut components)?;
        Ok(Self { engine, memory_max, modules, deterministic, components })
    }

    /// Loads an artefact and links it.
    pub(crate) fn load(&self, artefact: &Artefact) -> wasmtime::Result<Program> {
        let path = artefact.path();
        let Some(precompiled) = Engine::detect_precompiled_file(&path)? else {
            wasmtime::bail!("the artefact is damaged");
        };
        let program = match compile::kind_of_artefact(precompiled) {
            Kind::Module => {
                #[expect(unsafe_code, reason = "loading native code is unsafe by nature")]
                // SAFETY: the artefact bears the seal of this node's own compiler, and its file is never written again.
                let module = unsafe { Module::deserialize_file(&self.engine, path) };
                self.link_module(&module.map_err(|error| self.unloadable(&error))?)?
            }
            Kind::Component => {
                #[expect(unsafe_code, reason = "loading native code is unsafe by nature")]
                // SAFETY: as above.
                let component = unsafe { component::Component::deserialize_file(&self.engine, path) };
                self.link_component(&component.map_err(|error| self.unloadable(&error))?)?
            }
        };
        Ok(Program { lines: artefact.lines(), ..program })
    }

    /// Why an artefact cannot be loaded, for the author of the module: without the path of a file that he does not know.
    fn unloadable(&self, error: &wasmtime::Error) -> wasmtime::Error {
        let cause = error.root_cause().to_string();
        let asked = cause.strip_prefix("memory has a minimum byte size of ").and_then(|rest| rest.split(' ').next());
        let Some(asked) = asked else { return wasmtime::Error::msg(cause) };
        wasmtime::format_err!(
            "its initial memory is {asked} bytes, and a memory on this node has at most {} (the node's `memory`, and 4 GiB): \
             build it with a smaller initial memory, or run it on a node that offers more",
            self.memory_max
        )
    }

    fn link_module(&self, module: &Module) -> wasmtime::Result<Program> {
        let start = match module.get_export("_start") {
            Some(ExternType::Func(start)) if start.params().len() == 0 && start.results().len() == 0 => {
                module.get_export_index("_start")
            }
            _ => None,
        };
        let Some(start) = start else {
            wasmtime::bail!("the module exports no function `_start` without parameters and results");
        };
        let imports = |prefix: &str| module.imports().any(|import| import.name().starts_with(prefix));
        let needs = Needs {
            args: imports("args_"),
            env: imports("environ_"),
            descriptors: imports("fd_") || imports("path_") || imports("poll_"),
            stdin: true,
        };
        let linked = Arc::new(self.modules.instantiate_pre(module)?);
        let deterministic =
            if imports("poll_") { Arc::new(self.deterministic.instantiate_pre(module)?) } else { Arc::clone(&linked) };
        Ok(Program { needs, lines: None, entry: Entry::Module { linked, deterministic, start } })
    }

    fn link_component(&self, component: &component::Component) -> wasmtime::Result<Program> {
        let linked = self.components.instantiate_pre(component)?;
        let exports = component.component_type();
        let exports = |interface: &str| exports.exports(&self.engine).any(|(name, _)| name.starts_with(interface));
        let is_task = exports("weir:task/run@");
        let entry = if is_task {
            Entry::Task(Arc::new(TaskPre::new(linked)?))
        } else if exports("wasi:cli/run@") {
            Entry::Command(Arc::new(CommandPre::new(linked)?))
        } else {
            wasmtime::bail!("the component exports neither `wasi:cli/run` nor `weir:task/run`");
        };
        Ok(Program { needs: Needs { args: true, env: true, descriptors: true, stdin: !is_task }, lines: None, entry })
    }
}

impl Program {
    /// Instantiates the program and runs it to its end.
    pub(crate) async fn run(&self, store: &mut Store<State>, payload: &[u8]) -> wasmtime::Result<Returned> {
        match &self.entry {
            Entry::Module { linked, deterministic, start } => {
                let linked = if store.data().clock.is_some() { deterministic } else { linked };
                let instance = linked.instantiate_async(&mut *store).await?;
                let Some(start) = instance.get_module_export(&mut *store, start).and_then(wasmtime::Extern::into_func)
                else {
                    wasmtime::bail!("the module exports no function `_start`");
                };
                start.typed::<(), ()>(&mut *store)?.call_async(&mut *store, ()).await?;
                Ok(Returned::Done)
            }
            Entry::Command(linked) => {
                let command = linked.instantiate_async(&mut *store).await?;
                let ended = command.wasi_cli_run().call_run(&mut *store).await?;
                Ok(if ended.is_ok() { Returned::Done } else { Returned::Failed })
            }
            Entry::Task(linked) => {
                let task = linked.instantiate_async(&mut *store).await?;
                let ended = task.weir_task_run().call_run(&mut *store, payload).await?;
                Ok(match ended {
                    Ok(bytes) => Returned::Result(bytes),
                    Err(failure) => Returned::Error { message: failure.message, permanent: !failure.retryable },
                })
            }
        }
    }
}
