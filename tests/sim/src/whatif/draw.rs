//! How long a task takes: drawn from the seed and the task's place in the workload, so that it is the same whatever the
//! scheduler does.

use super::{quantity, workload::Length};
use crate::rng::{Purpose, Rng};

/// Longest drawn duration over the mean: the tail of a distribution must not decide the length of the simulation.
const TAIL_MAX: f64 = 100.0;

/// Nanoseconds that a task runs; none for one that runs until it is stopped.
pub(super) fn duration(seed: u64, item: usize, index: u32, length: &Length) -> Option<u64> {
    let mut rng = Rng::new(seed ^ (item as u64).rotate_left(32), Purpose::Attempt, u64::from(index));
    match length {
        Length::Forever => None,
        Length::List(list) => list.get(index as usize % list.len().max(1)).copied(),
        Length::Uniform { min, max } => Some(min + rng.below((max - min).saturating_add(1))),
        Length::Exponential { mean } => Some(scaled(*mean, -unit(&mut rng).ln())),
        Length::LogNormal { mean, sigma } => {
            let sigma = f64::from(*sigma) / 1e6;
            let normal = (-2.0 * unit(&mut rng).ln()).sqrt() * (core::f64::consts::TAU * unit(&mut rng)).cos();
            // The mean of exp(sigma * normal) is exp(sigma² / 2).
            Some(scaled(*mean, (sigma * normal - sigma * sigma / 2.0).exp()))
        }
    }
}

/// Above 0 and up to 1.
fn unit(rng: &mut Rng) -> f64 {
    (quantity::scale(rng.next() >> 11) + 1.0) / quantity::scale(1 << 53)
}

fn scaled(mean: u64, factor: f64) -> u64 {
    let value = quantity::scale(mean) * factor.min(TAIL_MAX);
    quantity::whole(value, f64::MAX).unwrap_or(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(length: &Length) -> f64 {
        let draws = (0..20_000).filter_map(|index| duration(7, 1, index, length));
        quantity::scale(draws.sum::<u64>()) / 20_000.0
    }

    #[test]
    fn draws_have_the_mean_that_was_asked_for_and_depend_on_the_task_alone() {
        const S: u64 = 1_000_000_000;
        for (length, expected) in [
            (Length::List(vec![S, 3 * S]), 2.0),
            (Length::Uniform { min: S, max: 2 * S }, 1.5),
            (Length::Exponential { mean: 10 * S }, 10.0),
            (Length::LogNormal { mean: 10 * S, sigma: 1_000_000 }, 10.0),
        ] {
            let found = mean(&length) / 1e9;
            assert!((found - expected).abs() < expected * 0.05, "{length:?}: {found}");
            assert_eq!(duration(7, 1, 5, &length), duration(7, 1, 5, &length));
        }
        assert_ne!(
            duration(7, 1, 5, &Length::Exponential { mean: S }),
            duration(8, 1, 5, &Length::Exponential { mean: S })
        );
        assert_eq!(duration(7, 1, 5, &Length::Forever), None);
    }
}
