//! How nodes are filled, who makes room, when nothing is replaced, and how much may wait.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use serde::Serialize;
use weir_api::units;
use weir_scheduler::{Policy, limits};

use super::{ConfigError, layers::Layer, value};

/// The share of the nodes that pulls the brake, percent; more than all can never vanish.
const BRAKE_SHARE: RangeInclusive<u32> = 1..=100;
/// The number of nodes that pulls the brake.
const BRAKE_NODES_MIN: RangeInclusive<u32> = 1..=100_000;
const _: () = assert!(*BRAKE_NODES_MIN.end() as usize == limits::NODES_MAX);
/// How long production waits before others make room: not so short that tasks are ended for room that is about to come.
const PREEMPT_DELAY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// How long those that make room may go on.
const PREEMPT_GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// The number of tasks that may be open.
const OPEN_TASKS_MAX: RangeInclusive<u32> = 1..=50_000_000;
const _: () = assert!(*OPEN_TASKS_MAX.end() as u64 == limits::OPEN_TASKS_MAX);

/// What an operator decides about placement; the same on every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placing {
    /// How nodes are filled. Default: evenly.
    pub policy: Policy,
    /// The share of the nodes, in percent, that has to vanish for the brake, 1 to 100; 100 turns it off. Default 30.
    pub brake_share_percent: u32,
    /// Fewer nodes than this never pull the brake, 1 to 100,000. Default 3.
    pub brake_nodes_min: u32,
    /// How long production waits for room before others have to make some, 100 ms to 1 h. Default 1 s.
    pub preempt_delay: Duration,
    /// How long those that have to make room may go on, up to 1 h. Default 10 s.
    pub preempt_grace: Duration,
    /// How many tasks may be open in the whole cluster, 1 to 50,000,000; what is submitted beyond that is refused.
    /// Default 50,000,000.
    pub open_tasks_max: u32,
}

impl Default for Placing {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            brake_share_percent: 30,
            brake_nodes_min: 3,
            preempt_delay: Duration::from_secs(1),
            preempt_grace: Duration::from_secs(10),
            open_tasks_max: *OPEN_TASKS_MAX.end(),
        }
    }
}

impl Placing {
    /// Puts these settings into those of the scheduler.
    pub(crate) fn apply(&self, settings: &mut weir_scheduler::Config) {
        settings.placement = self.policy;
        settings.brake_share_percent = self.brake_share_percent;
        settings.brake_nodes_min = usize::try_from(self.brake_nodes_min).unwrap_or(usize::MAX);
        settings.preempt_delay = self.preempt_delay;
        settings.preempt_grace = self.preempt_grace;
        settings.open_tasks_max = u64::from(self.open_tasks_max);
    }

    /// The settings as they are written in the file.
    pub(super) fn keys(&self) -> Keys {
        let written = |time: Duration| units::format_duration_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Keys {
            placement: name(self.policy),
            brake_share: self.brake_share_percent,
            brake_nodes_min: self.brake_nodes_min,
            preempt_delay: written(self.preempt_delay),
            preempt_grace: written(self.preempt_grace),
            open_tasks_max: self.open_tasks_max,
        }
    }
}

/// The keys of the file.
#[derive(Debug, Serialize)]
pub(super) struct Keys {
    placement: &'static str,
    brake_share: u32,
    brake_nodes_min: u32,
    preempt_delay: String,
    preempt_grace: String,
    open_tasks_max: u32,
}

pub(super) fn check(layer: &Layer) -> Result<Placing, ConfigError> {
    let default = Placing::default();
    let policy = match layer.placement.as_deref() {
        None => default.policy,
        Some(text) => [Policy::Spread, Policy::Pack]
            .into_iter()
            .find(|policy| name(*policy) == text)
            .ok_or_else(|| value("placement", format!("{text:?} is unknown; say `spread` or `pack`")))?,
    };
    let share = number("brake_share", layer.brake_share, default.brake_share_percent, &BRAKE_SHARE, " percent")?;
    let nodes = number("brake_nodes_min", layer.brake_nodes_min, default.brake_nodes_min, &BRAKE_NODES_MIN, " nodes")?;
    let delay = time("preempt_delay", layer.preempt_delay.as_deref(), default.preempt_delay, &PREEMPT_DELAY)?;
    let grace = time("preempt_grace", layer.preempt_grace.as_deref(), default.preempt_grace, &PREEMPT_GRACE)?;
    let open = number("open_tasks_max", layer.open_tasks_max, default.open_tasks_max, &OPEN_TASKS_MAX, " tasks")?;
    Ok(Placing {
        policy,
        brake_share_percent: share,
        brake_nodes_min: nodes,
        preempt_delay: delay,
        preempt_grace: grace,
        open_tasks_max: open,
    })
}

const fn name(policy: Policy) -> &'static str {
    match policy {
        Policy::Spread => "spread",
        Policy::Pack => "pack",
    }
}

fn number(
    key: &'static str,
    said: Option<u32>,
    default: u32,
    range: &RangeInclusive<u32>,
    unit: &str,
) -> Result<u32, ConfigError> {
    let number = said.unwrap_or(default);
    if range.contains(&number) { Ok(number) } else { Err(out_of_range(key, number, range.start(), range.end(), unit)) }
}

fn time(
    key: &'static str,
    said: Option<&str>,
    default: Duration,
    range: &RangeInclusive<Duration>,
) -> Result<Duration, ConfigError> {
    let Some(text) = said else { return Ok(default) };
    let time = Duration::from_millis(units::parse_duration_ms(text).map_err(|error| value(key, error))?);
    let written = |time: &Duration| units::format_duration_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    if range.contains(&time) {
        return Ok(time);
    }
    Err(out_of_range(key, text, written(range.start()), written(range.end()), ""))
}

fn out_of_range(
    key: &'static str,
    said: impl Display,
    min: impl Display,
    max: impl Display,
    unit: &str,
) -> ConfigError {
    value(key, format!("{said} is out of range; say {min} to {max}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load;

    #[test]
    fn settings_of_placement_reach_the_scheduler() {
        let flags = ["--embedded", "/e", "--identity", "/i", "--placement", "pack", "--brake-share", "50"];
        let variables = [
            ("WEIR_CONTROL_BRAKE_NODES_MIN", "7"),
            ("WEIR_CONTROL_PREEMPT_DELAY", "2500ms"),
            ("WEIR_CONTROL_PREEMPT_GRACE", "0s"),
            ("WEIR_CONTROL_OPEN_TASKS_MAX", "1000"),
        ];
        let config = load(&flags, &variables).unwrap();
        let mut settings = weir_scheduler::Config::new(config.cluster.clone());
        config.placing.apply(&mut settings);
        assert_eq!((settings.placement, settings.brake_share_percent, settings.brake_nodes_min), (Policy::Pack, 50, 7));
        assert_eq!((settings.preempt_delay.as_millis(), settings.preempt_grace.as_millis()), (2500, 0));
        assert_eq!(settings.open_tasks_max, 1000);
        let printed = config.to_toml().unwrap();
        for line in
            ["placement = \"pack\"", "brake_share = 50", "preempt_delay = \"2500ms\"", "preempt_grace = \"0ms\""]
        {
            assert!(printed.contains(line), "{printed}");
        }
    }

    #[test]
    fn what_is_not_said_is_as_the_scheduler_has_it() {
        let settings = weir_scheduler::Config::new("test".parse().unwrap());
        let mut changed = settings.clone();
        Placing::default().apply(&mut changed);
        assert_eq!(format!("{settings:?}"), format!("{changed:?}"));
    }

    #[test]
    fn settings_of_placement_have_limits() {
        let base = ["--embedded", "/e", "--identity", "/i"];
        for (flag, text, part) in [
            ("--placement", "even", "setting placement: \"even\" is unknown; say `spread` or `pack`"),
            ("--brake-share", "0", "setting brake_share: 0 is out of range; say 1 to 100 percent"),
            ("--brake-share", "101", "say 1 to 100 percent"),
            ("--brake-nodes-min", "0", "setting brake_nodes_min: 0 is out of range; say 1 to 100000 nodes"),
            ("--preempt-delay", "10ms", "setting preempt_delay: 10ms is out of range; say 100ms to 1h"),
            ("--preempt-grace", "2h", "setting preempt_grace: 2h is out of range; say 0ms to 1h"),
            ("--preempt-grace", "10", "setting preempt_grace"),
            ("--open-tasks-max", "0", "setting open_tasks_max: 0 is out of range; say 1 to 50000000 tasks"),
        ] {
            let error = load(&[&base[..], &[flag, text]].concat(), &[]).unwrap_err().to_string();
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }
}
