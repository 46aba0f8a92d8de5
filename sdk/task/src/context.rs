use std::ops::Range;
use std::time::{Duration, SystemTime};

/// Which task this is, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// Namespace of the job.
    pub namespace: String,
    /// Name of the job.
    pub job: String,
    /// Id of the run this task belongs to.
    pub run: String,
    /// Position in the run, from 0 to `count` - 1.
    pub index: u32,
    /// Number of tasks in the run, at least 1.
    pub count: u32,
    /// Which attempt at this task, counted from 1.
    pub attempt: u32,
    /// When the attempt is ended, by the wall clock; `None` without a time limit.
    pub deadline: Option<SystemTime>,
}

impl Context {
    /// Returns the wall time left until the deadline, zero when it has passed; `None` without a time limit.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// Returns this task's share of `total` items: the shares of all tasks of the run are contiguous, in the order of
    /// their index, disjoint, cover everything and differ by at most one item.
    #[must_use]
    pub fn share(&self, total: u64) -> Range<u64> {
        let border = |index: u32| {
            let border = u128::from(total) * u128::from(index) / u128::from(self.count.max(1));
            u64::try_from(border).unwrap_or(total).min(total)
        };
        border(self.index)..border(self.index.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(index: u32, count: u32) -> Context {
        let text = String::new;
        Context { namespace: text(), job: text(), run: text(), index, count, attempt: 1, deadline: None }
    }

    #[test]
    fn shares_cover_everything_once_and_evenly() {
        for total in [0, 1, 2, 7, 100, 101, u64::MAX] {
            for count in [1, 2, 3, 7, 64] {
                let mut end = 0;
                for index in 0..count {
                    let share = context(index, count).share(total);
                    assert_eq!(share.start, end);
                    let (len, even) = (share.end - share.start, total / u64::from(count));
                    assert!(len == even || len == even + 1, "{share:?} of {total}, task {index} of {count}");
                    end = share.end;
                }
                assert_eq!(end, total);
            }
        }
    }

    #[test]
    fn a_share_stays_inside_even_for_an_impossible_context() {
        assert_eq!(context(5, 0).share(10), 10..10);
        assert_eq!(context(u32::MAX, 2).share(10), 10..10);
    }

    #[test]
    fn remaining_time_is_none_without_a_deadline_and_zero_after_it() {
        let mut context = context(0, 1);
        assert_eq!(context.remaining(), None);
        context.deadline = Some(SystemTime::UNIX_EPOCH);
        assert_eq!(context.remaining(), Some(Duration::ZERO));
        context.deadline = SystemTime::now().checked_add(Duration::from_secs(3600));
        assert!(context.remaining() > Some(Duration::ZERO));
    }
}
