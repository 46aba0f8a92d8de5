//! Which tasks ended in a batch: thousands of them, mostly near each other, so that each takes about a byte.

use alloc::vec::Vec;

use crate::{
    codec::{Error, Reader, Wire, put_varint},
    limits,
    record::EndedRange,
    task::Status,
};

/// Tasks that ended, as ranges in order. Neighbours that ended in the same way are one range.
///
/// On the wire, the ranges of one status follow each other: the number of statuses, then for each of them its tag, the
/// number of its ranges, and for each range the distance from the end of the one before, doubled, and odd when the range
/// has more than one task; the number of those less two follows then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndedRanges(Vec<EndedRange>);

impl EndedRanges {
    /// Puts ranges in order. They must not overlap, and none may be empty.
    #[must_use]
    pub fn pack(mut ranges: Vec<EndedRange>) -> Self {
        ranges.sort_unstable_by_key(|range| (range.status, range.first));
        ranges.dedup_by(|next, last| {
            let follows = last.status == next.status && last.first + last.len == next.first;
            if follows {
                last.len += next.len;
            }
            follows
        });
        Self(ranges)
    }

    /// The ranges, by status and in order.
    pub fn iter(&self) -> core::slice::Iter<'_, EndedRange> {
        self.0.iter()
    }

    /// Whether no task ended.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a EndedRanges {
    type Item = &'a EndedRange;
    type IntoIter = core::slice::Iter<'a, EndedRange>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Wire for EndedRanges {
    fn encode(&self, out: &mut Vec<u8>) {
        let groups = || self.0.chunk_by(|one, other| one.status == other.status);
        put_varint(out, groups().count() as u64);
        for group in groups() {
            let Some(EndedRange { status, .. }) = group.first() else { continue };
            status.encode(out);
            put_varint(out, group.len() as u64);
            let mut end = 0;
            for EndedRange { first, len, .. } in group {
                put_varint(out, u64::from(first - end) << 1 | u64::from(*len > 1));
                if let Some(more) = len.checked_sub(2) {
                    put_varint(out, u64::from(more));
                }
                end = first + len;
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        let groups = input.length("the ways in which tasks ended", Status::ALL.len())?;
        let mut ranges = Vec::new();
        for _ in 0..groups {
            let status = Status::decode(input)?;
            let count = input.length("ranges of ended tasks", limits::LIST_LEN_MAX)?;
            ranges.reserve(count.min(1024));
            let mut end = 0u32;
            for _ in 0..count {
                let word = input.varint()?;
                let number = |value: u64| u32::try_from(value).map_err(|_| Error::IntegerRange("range of tasks"));
                let sum = |one: u32, other: u32| one.checked_add(other).ok_or(Error::Invalid("range of tasks"));
                let first = sum(end, number(word >> 1)?)?;
                let len = if word & 1 == 0 { 1 } else { sum(number(input.varint()?)?, 2)? };
                end = sum(first, len)?;
                ranges.push(EndedRange { first, len, status });
            }
        }
        if !ranges.is_sorted_by_key(|range| range.status) {
            return Err(Error::Invalid("order of statuses"));
        }
        Ok(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const fn range(first: u32, len: u32, status: Status) -> EndedRange {
        EndedRange { first, len, status }
    }

    fn encoded(ranges: Vec<EndedRange>) -> Vec<u8> {
        let mut out = Vec::new();
        EndedRanges::pack(ranges).encode(&mut out);
        out
    }

    #[test]
    fn ranges_are_put_in_order_and_joined() {
        use Status::{Failed, Succeeded};
        let packed = EndedRanges::pack(vec![
            range(9, 1, Succeeded),
            range(4, 2, Failed),
            range(1, 3, Succeeded),
            range(10, 5, Succeeded),
        ]);
        let expected = [range(1, 3, Succeeded), range(9, 6, Succeeded), range(4, 2, Failed)];
        assert!(packed.iter().eq(expected.iter()), "{packed:?}");
    }

    #[test]
    fn every_range_is_read_back() {
        let last = u32::MAX - 1;
        let cases = [
            vec![],
            vec![range(0, 1, Status::Lost)],
            vec![range(0, last, Status::Succeeded)],
            vec![range(last, 1, Status::Killed), range(0, 2, Status::Rejected), range(7, 1, Status::Killed)],
        ];
        for ranges in cases {
            let bytes = encoded(ranges.clone());
            let mut input = Reader::new(&bytes);
            assert_eq!(EndedRanges::decode(&mut input), Ok(EndedRanges::pack(ranges)));
            assert_eq!(input.remaining(), 0);
        }
    }

    #[test]
    fn tasks_that_end_near_each_other_take_a_byte_each() {
        let ranges: Vec<EndedRange> = (0..100).map(|at| range(1_000_000 + at * 40, 1, Status::Succeeded)).collect();
        assert_eq!(encoded(ranges).len(), 3 + 3 + 99);
    }

    #[test]
    fn ranges_beyond_the_largest_index_are_refused() {
        for bytes in [
            // A distance that is too long, a length that is too long, both together.
            vec![1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            vec![1, 1, 1, 0x01, 0xff, 0xff, 0xff, 0xff, 0x0f],
            vec![1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x01],
            // Statuses out of order, and more of them than there are.
            vec![2, 2, 1, 0, 1, 1, 0],
            vec![6, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0],
        ] {
            assert!(EndedRanges::decode(&mut Reader::new(&bytes)).is_err(), "{bytes:?}");
        }
    }
}
