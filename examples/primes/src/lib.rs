//! Counts primes: task `i` tests the numbers from `from + i * per_task` up to the start of the next task's range.

#![forbid(unsafe_code)]

use std::ops::Range;

use serde::{Deserialize, Serialize};
use weir_sdk::{Context, Error};

/// Numbers tested between two progress reports.
const REPORT_INTERVAL: u64 = 65_536;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// First number of task 0.
    from: u64,
    /// Numbers that each task tests.
    per_task: u64,
}

#[derive(Debug, PartialEq, Serialize)]
struct Output {
    /// First number tested.
    from: u64,
    /// The number after the last one tested.
    to: u64,
    /// Primes found.
    count: u64,
    /// The largest of them.
    largest: Option<u64>,
}

#[weir_sdk::task]
fn primes(input: Input) -> Result<Output, Error> {
    let range = own_range(&input, &weir_sdk::context())?;
    let total = range.end - range.start;
    let (mut count, mut largest) = (0, None);
    for number in range.clone() {
        let done = number - range.start;
        if done % REPORT_INTERVAL == 0 {
            weir_sdk::progress(done, total);
        }
        if is_prime(number) {
            count += 1;
            largest = Some(number);
        }
    }
    weir_sdk::progress(total, total);
    weir_sdk::log::info!("{count} primes from {} up to {}", range.start, range.end);
    Ok(Output { from: range.start, to: range.end, count, largest })
}

fn own_range(input: &Input, context: &Context) -> Result<Range<u64>, Error> {
    let border = |tasks: u64| tasks.checked_mul(input.per_task)?.checked_add(input.from);
    match (border(context.index.into()), border(u64::from(context.index) + 1)) {
        (Some(start), Some(end)) => Ok(start..end),
        (None, _) | (_, None) => Err(Error::msg(format_args!(
            "the range of task {} passes 2^64: from = {}, per_task = {}",
            context.index, input.from, input.per_task
        ))),
    }
}

/// Divides by 2, 3 and every number next to a multiple of 6 up to the square root.
fn is_prime(number: u64) -> bool {
    if number < 4 {
        return number >= 2;
    }
    if number.is_multiple_of(2) || number.is_multiple_of(3) {
        return false;
    }
    let mut divisor = 5;
    while divisor <= number / divisor {
        if number.is_multiple_of(divisor) || number.is_multiple_of(divisor + 2) {
            return false;
        }
        divisor += 6;
    }
    true
}

#[cfg(test)]
mod tests {
    use weir_sdk::testing::TestHost;

    use super::*;

    #[test]
    fn agrees_with_a_sieve() {
        let mut composite = vec![false; 10_000];
        (composite[0], composite[1]) = (true, true);
        for factor in 2..100 {
            for multiple in (factor * factor..composite.len()).step_by(factor) {
                composite[multiple] = true;
            }
        }
        for (number, composite) in (0..).zip(composite) {
            assert_eq!(is_prime(number), !composite, "{number}");
        }
    }

    #[test]
    fn large_numbers() {
        for (number, prime) in
            [(999_983, true), (999_983 * 999_983, false), (1_000_000_000_039, true), (u64::MAX, false)]
        {
            assert_eq!(is_prime(number), prime, "{number}");
        }
    }

    #[test]
    fn the_tasks_of_a_run_divide_the_numbers() {
        let count = |tasks: u32, per_task: u64| -> u64 {
            let task = |index| {
                let input = Input { from: 0, per_task };
                TestHost::new().task(index, tasks).run(|| primes(input)).value.unwrap().count
            };
            (0..tasks).map(task).sum()
        };
        // There are 1,229 primes below 10,000.
        for (tasks, per_task) in [(1, 10_000), (8, 1_250), (100, 100)] {
            assert_eq!(count(tasks, per_task), 1229);
        }
    }

    #[test]
    fn output_is_json() {
        let seen = TestHost::new().task(1, 2).run_payload(br#"{"from":2,"per_task":10}"#, primes);
        assert_eq!(seen.value.unwrap(), br#"{"from":12,"to":22,"count":3,"largest":19}"#);
        assert_eq!(seen.progress, [(0, 10), (10, 10)]);
        let seen = TestHost::new().run_payload(br#"{"from":24,"per_task":4}"#, primes);
        assert_eq!(seen.value.unwrap(), br#"{"from":24,"to":28,"count":0,"largest":null}"#);
    }

    #[test]
    fn a_range_past_the_end_of_numbers_is_an_error() {
        for (from, per_task) in [(u64::MAX, 1), (0, u64::MAX)] {
            let seen = TestHost::new().task(1, 2).run(|| primes(Input { from, per_task }));
            assert!(seen.value.unwrap_err().message().starts_with("the range of task 1 passes 2^64"));
        }
    }
}
