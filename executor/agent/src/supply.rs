//! Modules and payloads: fetched once, prepared once.

use alloc::{format, string::String, vec::Vec};
use core::cmp::Reverse;

use weir_wire::{
    attempt::{Command, ModuleFile, ModuleReady},
    id::{Digest, RunId},
    limits as shared,
    outcome::{BlobRef, Failure},
    task::{self, Source},
    work::Input as RunInput,
};

use crate::{
    agent::Agent,
    lifecycle::host_error,
    limits,
    output::Output,
    range::{Module, ModuleEntry, Phase, Range, RangeKey, Run, Supply},
};

/// Whether the tasks of a run can be started.
#[derive(Debug)]
pub(crate) enum Readiness {
    Ready,
    Waiting,
    /// None of them will ever run here.
    Failed(Failure),
}

impl Agent {
    pub(crate) fn readiness(&self, run: RunId) -> Readiness {
        let Some(run) = self.runs.get(&run) else {
            return Readiness::Waiting;
        };
        match self.modules.get(&run.spec.module).map(|entry| &entry.module) {
            Some(Module::Ready(_)) => {}
            Some(Module::Refused(why)) => {
                return Readiness::Failed(Failure::new(task::Reason::ModuleInvalid, Source::Executor, why.clone()));
            }
            Some(Module::Fetch(Supply::Failed(why))) => return Readiness::Failed(host_error(why.clone())),
            Some(Module::Fetch(_) | Module::Preparing) | None => return Readiness::Waiting,
        }
        match &run.payload {
            Supply::Here => Readiness::Ready,
            Supply::Failed(why) => Readiness::Failed(host_error(why.clone())),
            Supply::Idle | Supply::Wanted(_) | Supply::Asked(_) => Readiness::Waiting,
        }
    }

    /// Counts one more run that names a module.
    pub(crate) fn name_module(&mut self, digest: Digest) {
        let new = || ModuleEntry { module: Module::Fetch(Supply::Idle), runs: 0 };
        self.modules.entry(digest).or_insert_with(new).runs += 1;
    }

    /// Counts one less, and forgets the module with the last.
    pub(crate) fn unname_module(&mut self, digest: Digest) {
        let Some(entry) = self.modules.get_mut(&digest) else { return };
        entry.runs -= 1;
        if entry.runs == 0 {
            self.modules.remove(&digest);
        }
    }

    /// The modules that are ready here, newest first.
    pub(crate) fn compiled(&self) -> Vec<Digest> {
        let ready = |(digest, entry): (&Digest, &ModuleEntry)| match entry.module {
            Module::Ready(number) => Some((Reverse(number), *digest)),
            Module::Fetch(_) | Module::Preparing | Module::Refused(_) => None,
        };
        let mut ready: Vec<(Reverse<u64>, Digest)> = self.modules.iter().filter_map(ready).collect();
        ready.sort_unstable();
        ready.into_iter().map(|(_, digest)| digest).take(shared::HELLO_MODULES_MAX).collect()
    }

    /// Asks for what a run needs and nobody has asked for; what failed before gets another chance with each grant.
    pub(crate) fn require(&mut self, run: RunId) {
        let Some(known) = self.runs.get_mut(&run) else { return };
        let digest = known.spec.module;
        if matches!(known.payload, Supply::Idle | Supply::Failed(_)) {
            known.payload = Supply::Wanted(0);
        }
        if let Some(entry) = self.modules.get_mut(&digest)
            && matches!(entry.module, Module::Fetch(Supply::Idle | Supply::Failed(_)))
        {
            entry.module = Module::Fetch(Supply::Wanted(0));
        }
        self.ask_module(digest);
        self.ask_payload(run);
    }

    /// Asks again for everything that is wanted.
    pub(crate) fn ask_again(&mut self) {
        self.retry_at = None;
        let wanted = |entry: &&ModuleEntry| matches!(entry.module, Module::Fetch(Supply::Wanted(_)));
        let modules: Vec<Digest> = self.modules.iter().filter(|(_, m)| wanted(m)).map(|(digest, _)| *digest).collect();
        modules.into_iter().for_each(|digest| self.ask_module(digest));
        let wanted = |run: &&Run| matches!(run.payload, Supply::Wanted(_));
        let runs: Vec<RunId> = self.runs.values().filter(wanted).map(|run| run.spec.run).collect();
        runs.into_iter().for_each(|run| self.ask_payload(run));
        self.upload_again();
    }

    pub(crate) fn module_stored(&mut self, digest: Digest, path: String) {
        if let Some(entry) = self.modules.get_mut(&digest)
            && matches!(entry.module, Module::Fetch(_))
        {
            entry.module = Module::Preparing;
            self.emit(Output::Sandbox(Command::Prepare(ModuleFile { digest, path })));
        }
    }

    pub(crate) fn module_ready(&mut self, ready: ModuleReady) {
        let preparing = |entry: &&mut ModuleEntry| matches!(entry.module, Module::Preparing);
        let Some(entry) = self.modules.get_mut(&ready.digest).filter(preparing) else { return };
        match ready.refused {
            None => {
                self.compiled += 1;
                entry.module = Module::Ready(self.compiled);
            }
            Some(why) if ready.machine_fault => {
                tracing::error!(module = %ready.digest, why, "this machine cannot prepare a module");
                // What waits fails as the host's error; the next grant tries again.
                entry.module = Module::Fetch(Supply::Failed(format!("the module cannot be prepared here: {why}")));
            }
            Some(why) => {
                tracing::warn!(module = %ready.digest, why, "module refused by the sandbox");
                entry.module = Module::Refused(why);
            }
        }
        self.advance_waiting();
    }

    pub(crate) fn module_failed(&mut self, digest: Digest, message: String, retry: bool) {
        let Some(ModuleEntry { module: Module::Fetch(supply), .. }) = self.modules.get_mut(&digest) else {
            return;
        };
        *supply = after_failure(supply, format!("the module cannot be fetched: {message}"), retry);
        tracing::warn!(module = %digest, message, retry, "module not fetched");
        self.after_supply_failure();
    }

    pub(crate) fn payload_ready(&mut self, run: RunId) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.payload = Supply::Here;
            self.advance_waiting();
        }
    }

    pub(crate) fn payload_failed(&mut self, run: RunId, message: String, retry: bool) {
        let Some(known) = self.runs.get_mut(&run) else { return };
        known.payload = after_failure(&known.payload, format!("the payload cannot be fetched: {message}"), retry);
        tracing::warn!(run.id = %run, message, retry, "payload not fetched");
        self.after_supply_failure();
    }

    fn after_supply_failure(&mut self) {
        self.retry_at.get_or_insert(self.now.mono + limits::RETRY_DELAY);
        self.advance_waiting();
    }

    fn advance_waiting(&mut self) {
        let waiting = |range: &&Range| matches!(range.phase, Phase::Waiting);
        let keys: Vec<RangeKey> = self.ranges.values().filter(waiting).map(Range::key).collect();
        for key in keys {
            self.advance(key);
        }
    }

    fn ask_module(&mut self, digest: Digest) {
        if !self.is_up() {
            return;
        }
        if let Some(ModuleEntry { module: Module::Fetch(supply), .. }) = self.modules.get_mut(&digest)
            && let Supply::Wanted(tries) = *supply
        {
            *supply = Supply::Asked(tries + 1);
            self.emit(Output::FetchModule(digest));
        }
    }

    fn ask_payload(&mut self, run: RunId) {
        if !self.is_up() {
            return;
        }
        let Some(known) = self.runs.get_mut(&run) else { return };
        if let (Supply::Wanted(tries), Some(blob)) = (&known.payload, blob(&known.spec.input)) {
            known.payload = Supply::Asked(tries + 1);
            self.emit(Output::FetchPayload { run, blob });
        }
    }
}

fn after_failure(supply: &Supply, message: String, retry: bool) -> Supply {
    match supply {
        Supply::Asked(tries) | Supply::Wanted(tries) if retry && *tries < limits::TRIES_MAX => Supply::Wanted(*tries),
        Supply::Idle | Supply::Here | Supply::Asked(_) | Supply::Wanted(_) | Supply::Failed(_) => {
            Supply::Failed(message)
        }
    }
}

const fn blob(input: &RunInput) -> Option<BlobRef> {
    match input {
        RunInput::Blob(blob) | RunInput::Items(blob) => Some(*blob),
        RunInput::None | RunInput::Inline(_) => None,
    }
}
