//! The control plane: the scheduler, with a store that always answers.

use weir_scheduler::{Config, Input, Output, Scheduler, SessionId};
use weir_wire::{
    codec::Document,
    id::{Seq, Term},
    message::{ToControl, ToExecutor},
    txn::{CommitResult, Txn},
    units::Instant,
};

use super::{
    engine::{Engine, Event, Mail, Options, nanos},
    error::Error,
};
use crate::replay::Account;

/// The scheduler and what is kept for it.
#[derive(Debug)]
pub(crate) struct Office {
    pub(super) core: Scheduler,
    due: Option<u64>,
    outputs: Vec<Output>,
    commit_delay: u64,
    revision: u64,
    /// Where the CPU time goes and what was stored, if somebody wants to know.
    pub(crate) account: Option<Box<Account>>,
}

impl Office {
    /// A scheduler that does not lead yet.
    pub(crate) fn new(config: Config, options: &Options) -> Self {
        Self {
            core: Scheduler::new(config, options.seed),
            due: None,
            outputs: Vec::new(),
            commit_delay: nanos(options.commit_delay),
            revision: 0,
            account: None,
        }
    }

    /// When the scheduler wants to be called.
    pub(super) const fn due(&self) -> Option<u64> {
        self.due
    }
}

impl Engine<'_> {
    /// Makes the scheduler the leader of an empty cluster.
    pub(super) fn open(&mut self) -> Result<(), Error> {
        self.control(Input::Elected { term: Term(1), loaded: Box::default() })?;
        self.control(Input::LeadershipUntil(Instant(u64::MAX)))
    }

    /// Hands something to the scheduler, and carries out what it asks for.
    pub(super) fn control(&mut self, input: Input) -> Result<(), Error> {
        let now = self.clock();
        let office = &mut self.office;
        let mut outputs = core::mem::take(&mut office.outputs);
        let core = &mut office.core;
        let turn = || {
            core.handle(now, input);
            while let Some(output) = core.poll_output() {
                outputs.push(output);
            }
            core.poll_deadline().map(|(at, _)| at.0)
        };
        office.due = match &mut office.account {
            None => turn(),
            Some(account) => account.core.measure(turn),
        };
        self.outputs(&mut outputs)?;
        self.office.outputs = outputs;
        Ok(())
    }

    /// The same with a message that has to be decoded first.
    pub(super) fn control_bytes(&mut self, at: usize, bytes: &[u8]) -> Result<(), Error> {
        let decode = || ToControl::from_bytes(bytes).expect("a message of an agent");
        let message = match &mut self.office.account {
            None => decode(),
            Some(account) => account.decode.measure(decode),
        };
        self.hear(at, message)
    }

    /// A machine has said something.
    pub(super) fn hear(&mut self, at: usize, message: ToControl) -> Result<(), Error> {
        let session = SessionId(at as u64);
        if let ToControl::Hello(hello) = message {
            return self.control(Input::NodeConnected { session, hello });
        }
        self.control(Input::NodeMessage { session, message: Box::new(message) })
    }

    /// The store has carried out a transaction.
    pub(super) fn committed(&mut self, seq: Seq) -> Result<(), Error> {
        self.office.revision += 1;
        let revision = self.office.revision;
        self.control(Input::CommitDone { seq, result: CommitResult::Committed { revision } })
    }

    fn outputs(&mut self, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let messages = self.office.account.as_mut().map(|account| account.encode(outputs));
        for output in outputs.drain(..) {
            match output {
                Output::Send { session, message } => {
                    let at = usize::try_from(session.0).expect("sessions are numbered like machines");
                    self.mail.push_back(Mail::ToMachine(at, *message));
                }
                Output::Commit { txn, object } => self.commit(*txn, object),
                Output::Reply { id, result } => self.mail.push_back(Mail::ToUser(id, result)),
                Output::Close { session } => {
                    return Err(Error::Refused {
                        what: format!("machine {}", session.0),
                        why: "its session is closed".to_owned(),
                    });
                }
                Output::NextInstant { .. }
                | Output::AssembleInput { .. }
                | Output::TaskOutput(_)
                | Output::Changed { .. } => {}
            }
        }
        // Behind the answers: the user knows of a run before its first task starts.
        for (at, bytes) in messages.into_iter().flatten() {
            let message = ToExecutor::from_bytes(&bytes).expect("a message of the scheduler");
            self.mail.push_back(Mail::ToMachine(at, message));
        }
        Ok(())
    }

    fn commit(&mut self, txn: Txn, object: Option<(String, Vec<u8>)>) {
        let due = self.now + self.office.commit_delay;
        self.push(due, Event::Committed(txn.seq));
        if let Some(account) = &mut self.office.account {
            account.store(txn, object);
        }
    }
}
