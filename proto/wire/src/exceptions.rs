//! Exceptions in bulk: thousands of tasks usually fail for a handful of causes, so each cause is written once.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{
    codec::{Error, Reader, Wire, put_varint, unzigzag, zigzag},
    id::NodeId,
    limits,
    outcome::Failure,
    record::Exception,
    task::Status,
    wire_struct,
};

/// Bytes of messages and backtraces that one table keeps; causes beyond that are kept without their texts.
pub const TEXT_BYTES_MAX: usize = 128 << 10;
/// Most causes of one table that differ in more than reason, source, status and number of failures.
pub const CAUSES_MAX: usize = 4096;

/// What exceptions of several tasks have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cause {
    failures: u32,
    status: Option<Status>,
    failure: Failure,
    node: Option<NodeId>,
}
wire_struct!(Cause { failures, status, failure, node });

/// Exceptions in their order, about four bytes each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExceptionTable {
    causes: Vec<Cause>,
    /// Index of the task and place of its cause.
    tasks: Vec<(u32, u32)>,
}

impl ExceptionTable {
    /// Puts exceptions into a table. Reason, source, status and number of failures are always kept; texts while there
    /// is room for them, then nodes and exit codes while there are few of them.
    #[must_use]
    pub fn pack<'a>(exceptions: impl Iterator<Item = &'a Exception>) -> Self {
        let mut table = Self::default();
        let mut places: BTreeMap<Cause, u32> = BTreeMap::new();
        let mut room = TEXT_BYTES_MAX;
        for exception in exceptions {
            let mut cause = Cause::of(exception);
            if !places.contains_key(&cause) {
                match room.checked_sub(cause.text_bytes()) {
                    Some(rest) => room = rest,
                    None => cause.drop_texts(),
                }
                if table.causes.len() >= CAUSES_MAX {
                    cause.drop_texts();
                    cause.drop_details();
                }
            }
            let next = u32::try_from(table.causes.len()).unwrap_or(u32::MAX);
            let place = *places.entry(cause).or_insert_with_key(|cause| {
                table.causes.push(cause.clone());
                next
            });
            table.tasks.push((exception.index, place));
        }
        table
    }

    /// The exceptions in their order.
    pub fn iter(&self) -> impl Iterator<Item = Exception> {
        self.tasks.iter().map(|(index, place)| {
            let Cause { failures, status, failure, node } = self.causes[*place as usize].clone();
            Exception { index: *index, failures, status, failure, node }
        })
    }

    /// The number of exceptions.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

impl Cause {
    fn of(exception: &Exception) -> Self {
        let Exception { failures, status, failure, node, .. } = exception.clone();
        Self { failures, status, failure, node }
    }

    fn text_bytes(&self) -> usize {
        self.failure.message.len() + self.failure.backtrace.iter().map(String::len).sum::<usize>()
    }

    fn drop_texts(&mut self) {
        self.failure.message = String::new();
        self.failure.backtrace = Vec::new();
    }

    fn drop_details(&mut self) {
        self.node = None;
        self.failure.exit_code = None;
    }
}

impl Wire for ExceptionTable {
    fn encode(&self, out: &mut Vec<u8>) {
        self.causes.encode(out);
        put_varint(out, self.tasks.len() as u64);
        let mut before = 0i64;
        for (index, place) in &self.tasks {
            let index = i64::from(*index);
            put_varint(out, zigzag(index - before));
            place.encode(out);
            before = index;
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        let causes = Vec::<Cause>::decode(input)?;
        let len = input.length("a table of exceptions", limits::LIST_LEN_MAX)?;
        let mut tasks = Vec::with_capacity(len.min(1024));
        let mut before = 0i64;
        for _ in 0..len {
            let index = before.checked_add(unzigzag(input.varint()?)).ok_or(Error::Invalid("task index"))?;
            let place = u32::decode(input)?;
            if place as usize >= causes.len() {
                return Err(Error::Invalid("place of a cause"));
            }
            tasks.push((u32::try_from(index).map_err(|_| Error::IntegerRange("task index"))?, place));
            before = index;
        }
        Ok(Self { causes, tasks })
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::task::{Reason, Source};

    fn exception(index: u32, message: &str) -> Exception {
        let failure = Failure { exit_code: Some(3), ..Failure::new(Reason::ExitNonzero, Source::Guest, message) };
        Exception { index, failures: 2, status: Some(Status::Failed), failure, node: "node-1".parse().ok() }
    }

    fn bytes(table: &ExceptionTable) -> Vec<u8> {
        let mut out = Vec::new();
        table.encode(&mut out);
        out
    }

    #[test]
    fn a_block_of_equal_failures_is_small_and_whole() {
        let all: Vec<Exception> = (0..limits::BLOCK_LEN).map(|index| exception(index, "exited with code 3")).collect();
        let table = ExceptionTable::pack(all.iter());
        let encoded = bytes(&table);
        assert!(encoded.len() < 3 * all.len(), "{} bytes", encoded.len());
        let decoded = ExceptionTable::decode(&mut Reader::new(&encoded)).expect("what was encoded");
        assert!(decoded.iter().eq(all));
    }

    #[test]
    fn many_texts_are_bounded_and_every_reason_stays() {
        let long = "x".repeat(4000);
        let all: Vec<Exception> = (0..20_000).map(|index| exception(index, &format!("{index} {long}"))).collect();
        let table = ExceptionTable::pack(all.iter());
        assert!(bytes(&table).len() < 2 * TEXT_BYTES_MAX + 8 * all.len());
        assert_eq!(table.len(), all.len());
        assert!(table.iter().all(|e| e.failure.reason == Reason::ExitNonzero && e.failure.exit_code == Some(3)));
        assert_eq!(table.iter().next().as_ref(), all.first());
    }

    #[test]
    fn order_and_repetition_are_kept_and_damage_is_refused() {
        let all = [exception(9, "a"), exception(3, "b"), exception(9, "c"), exception(u32::MAX, "a")];
        let encoded = bytes(&ExceptionTable::pack(all.iter()));
        let decoded = ExceptionTable::decode(&mut Reader::new(&encoded)).expect("what was encoded");
        assert!(decoded.iter().eq(all));
        let mut wrong = Vec::new();
        Vec::<Cause>::new().encode(&mut wrong);
        wrong.extend_from_slice(&[1, 0, 0]);
        assert_eq!(ExceptionTable::decode(&mut Reader::new(&wrong)), Err(Error::Invalid("place of a cause")));
    }
}
