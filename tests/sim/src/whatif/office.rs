//! The control plane: the scheduler, with a store that always answers.

use weir_scheduler::{Config, Input, Output, Scheduler, SessionId};
use weir_wire::{
    codec::Document,
    id::{Seq, Term},
    message::ToControl,
    txn::{CommitResult, Txn},
    units::Instant,
};

use super::{
    engine::{Engine, Event, Mail, Options, nanos},
    error::Error,
};
use crate::replay::{Heard, Record};

/// The scheduler and what is kept for it.
#[derive(Debug)]
pub(crate) struct Office {
    pub(super) core: Scheduler,
    due: Option<u64>,
    outputs: Vec<Output>,
    commit_delay: u64,
    revision: u64,
    /// What the scheduler is told, if somebody wants to tell it to another one.
    pub(crate) record: Option<Box<Record>>,
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
            record: None,
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
        if let Some(record) = &mut self.office.record {
            record.push((now, Heard::Input(input.clone())));
        }
        self.control_recorded(input)
    }

    /// The same with something that is on record.
    fn control_recorded(&mut self, input: Input) -> Result<(), Error> {
        let now = self.clock();
        let office = &mut self.office;
        let mut outputs = core::mem::take(&mut office.outputs);
        let core = &mut office.core;
        core.handle(now, input);
        while let Some(output) = core.poll_output() {
            outputs.push(output);
        }
        office.due = core.poll_deadline().map(|(at, _)| at.0);
        self.outputs(&mut outputs)?;
        self.office.outputs = outputs;
        Ok(())
    }

    /// The same with a message that has to be decoded first.
    pub(super) fn control_bytes(&mut self, at: usize, bytes: Vec<u8>) -> Result<(), Error> {
        let now = self.clock();
        let message = ToControl::from_bytes(&bytes).expect("a message of an agent");
        if let Some(record) = &mut self.office.record {
            record.push((now, Heard::Message(SessionId(at as u64), bytes)));
        }
        self.control_recorded(said(SessionId(at as u64), message))
    }

    /// A machine has said something.
    pub(super) fn hear(&mut self, at: usize, message: ToControl) -> Result<(), Error> {
        self.control(said(SessionId(at as u64), message))
    }

    /// The store has carried out a transaction.
    pub(super) fn committed(&mut self, seq: Seq) -> Result<(), Error> {
        self.office.revision += 1;
        let revision = self.office.revision;
        self.control(Input::CommitDone { seq, result: CommitResult::Committed { revision } })
    }

    fn outputs(&mut self, outputs: &mut Vec<Output>) -> Result<(), Error> {
        for output in outputs.drain(..) {
            match output {
                Output::Send { session, message } => {
                    let at = usize::try_from(session.0).expect("sessions are numbered like machines");
                    self.mail.push_back(Mail::ToMachine(at, *message));
                }
                Output::Commit { txn, .. } => self.commit(&txn),
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
                | Output::Inspected(_)
                | Output::Changed { .. } => {}
            }
        }
        Ok(())
    }

    fn commit(&mut self, txn: &Txn) {
        let due = self.now + self.office.commit_delay;
        self.push(due, Event::Committed(txn.seq));
    }
}

/// What the scheduler is told of a message.
pub(crate) fn said(session: SessionId, message: ToControl) -> Input {
    if let ToControl::Hello(hello) = message {
        return Input::NodeConnected { session, hello };
    }
    Input::NodeMessage { session, message: Box::new(message) }
}
