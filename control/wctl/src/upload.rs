//! Modules, payloads and items on their way to the cluster.

use weir_api::{PAYLOAD_INLINE_BYTES_MAX, Payload, RunRequest, spec::ModuleRef};
use weir_wire::{items, limits};

use crate::{
    args::InputArgs,
    exit::Exit,
    failure::{Failure, Result},
    input, module_file,
    session::Session,
    spec::{ModuleSource, Resolved},
};

/// Checks the module locally and stores it unless the cluster has it already; the spec then names it by digest.
pub(crate) async fn module(session: &Session, resolved: &mut Resolved) -> Result<()> {
    let ModuleSource::Bytes(bytes) = &resolved.module else { return Ok(()) };
    module_file::check(bytes)?;
    let digest = input::digest(bytes);
    match session.client.module(&digest).await {
        Ok(_) => {}
        Err(error) if error.is_not_found() => {
            session.client.put_module(&digest, bytes.clone()).await?;
        }
        Err(error) => return Err(error.into()),
    }
    resolved.spec.module = ModuleRef::Digest(digest);
    Ok(())
}

/// The input of a run, read and checked locally.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    payload: Option<Vec<u8>>,
    /// The encoded items and their number.
    items: Option<(Vec<u8>, u32)>,
}

impl Prepared {
    /// The number of items, if there are any.
    pub(crate) fn count(&self) -> Option<u32> {
        self.items.as_ref().map(|(_, count)| *count)
    }
}

impl Prepared {
    /// The payload of one task.
    pub(crate) fn of(&self, index: u32) -> Result<&[u8]> {
        match &self.items {
            Some((encoded, _)) => items::get(encoded, index)
                .map_err(|error| Failure::new(Exit::Invalid, format!("item {index}")).because(error)),
            None => Ok(self.payload.as_deref().unwrap_or_default()),
        }
    }
}

/// Reads the input flags; `count` is the number of tasks that was asked for.
pub(crate) fn prepare(flags: &InputArgs, count: Option<&str>) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    if let Some(value) = &flags.input {
        prepared.payload = Some(input::read_value(value, limits::BLOB_LEN_MAX)?);
    }
    if let Some(file) = &flags.items {
        let text = input::read(file, limits::ITEMS_LEN_MAX)?;
        let encoded = items::encode(input::lines(&text))
            .map_err(|error| Failure::new(Exit::Invalid, format!("--items {file}")).because(error))?;
        let lines = items::count(&encoded).unwrap_or(0);
        if lines == 0 {
            return Err(Failure::new(Exit::Invalid, format!("--items {file}: there are no lines")));
        }
        if let Some(count) = count.filter(|count| count.parse() != Ok(lines)) {
            let message = format!("--count {count} is not the number of lines of --items {file}, which is {lines}");
            return Err(Failure::usage(message).hint("leave out --count: each line is the input of one task"));
        }
        prepared.items = Some((encoded, lines));
    }
    Ok(prepared)
}

/// Uploads what is large of the input, and makes the request that starts a run.
pub(crate) async fn run_request(session: &Session, job: &str, input: Prepared) -> Result<RunRequest> {
    let mut request = RunRequest { job: job.to_owned(), count: input.count(), ..RunRequest::default() };
    if let Some(bytes) = input.payload {
        request.payload = Some(if bytes.len() <= PAYLOAD_INLINE_BYTES_MAX {
            Payload::inline(&bytes)
        } else {
            Payload::Blob(blob(session, bytes).await?)
        });
    }
    if let Some((encoded, _)) = input.items {
        request.items = Some(blob(session, encoded).await?);
    }
    Ok(request)
}

async fn blob(session: &Session, bytes: Vec<u8>) -> Result<String> {
    let digest = input::digest(&bytes);
    session.client.put_blob(&digest, bytes).await?;
    Ok(digest)
}
