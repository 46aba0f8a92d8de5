//! When a cron job fires.
//!
//! A schedule has five fields (minute, hour, day of month, month, weekday) or six (seconds first), in the dialect of the
//! `croner` crate: lists, ranges, steps, names of months and weekdays, `L`, `W` and `#`. When both days are restricted,
//! either is enough, as in every cron; a `+` before the weekday asks for both. Time zones are those of the IANA database
//! that is compiled in, so that every machine computes the same instants.
//!
//! # Daylight saving
//! What happens when clocks are changed depends on what the author named:
//!
//! - **Fixed times**: without `*` and `/` in the seconds, minutes and hours (`30 2 * * *`, `0 8,20 * * MON`). A local time
//!   that is skipped fires once, right after the gap; several that are skipped by one gap fire once together. A local time
//!   that is repeated fires once, the first time.
//! - **Intervals**: with `*` or `/` in one of them (`*/15 * * * *`, `0 * * * *`). They fire whenever the clock on the
//!   wall matches, so they follow the time that passes: what is skipped does not fire, what is repeated fires twice.
//!
//! So a daily job runs every day exactly once, and a job every quarter of an hour keeps its distance.

use chrono::{DateTime, Datelike as _, Offset as _, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::{
    CronPattern, Weekday,
    parser::{CronParser, Seconds, Year},
};
use thiserror::Error;

use crate::nearest::nearest;

/// Names for common schedules with their fields.
pub const NAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// The longest expression, in bytes.
pub const EXPRESSION_LEN_MAX: usize = 256;
/// How many of the next firings a plan shows.
pub const UPCOMING: usize = 10;

const DAY_S: i64 = 86_400;
/// How far ahead a firing is looked for: the rarest schedule that is common, 29 February, may be eight years away.
const AHEAD_S: i64 = (8 * 366 + 1) * DAY_S;
/// The end of the year 9999, after which nothing fires.
const END_S: i64 = 253_402_300_800;
/// Clocks are changed, and differ from UTC, by multiples of this.
const BLOCK_S: i64 = 900;
/// More than any clock is set back or forward at once.
const CHANGE_MAX_S: i64 = 3 * 3_600;
/// A cycle of weekdays and leap years: what does not fire in it never does.
const CYCLE_DAYS: i64 = 28 * 1_461 / 4;
/// 1 January 2001, the first day of such a cycle, in days since 1970.
const CYCLE_START: i64 = 11_323;

/// Why a schedule is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The expression cannot be read.
    #[error("`{expression}` is not a schedule: {reason}")]
    Expression {
        /// What was given.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no day that it names, such as 30 February.
    #[error("`{0}` never fires")]
    Never(String),
    /// The time zone is not in the database.
    #[error("`{name}` is not a time zone{hint}")]
    TimeZone {
        /// What was given.
        name: String,
        /// What was perhaps meant.
        hint: String,
    },
}

/// A schedule in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    pattern: CronPattern,
    zone: Tz,
    fixed: bool,
}

impl Schedule {
    /// Reads an expression, which is meant in a time zone.
    ///
    /// # Errors
    /// Fails when the expression cannot be read or never fires, or the time zone is not known.
    pub fn parse(expression: &str, time_zone: &str) -> Result<Self, Error> {
        let pattern = pattern(expression)?;
        let zone = zone(time_zone)?;
        let text = fields(expression);
        let times = text.split_whitespace().rev().skip(3);
        let fixed = !times.into_iter().any(|field| field.contains(['*', '/']));
        Ok(Self { pattern, zone, fixed })
    }

    /// The first firing strictly after an instant; both in milliseconds since 1970. None when there is none within
    /// eight years.
    pub fn next(&self, after_ms: u64) -> Option<u64> {
        let after = i64::try_from(after_ms / 1_000).ok().filter(|after| *after < END_S)?;
        let start = (after + 1).div_euclid(BLOCK_S) * BLOCK_S;
        let end = start.saturating_add(AHEAD_S).min(END_S);
        let found = self.search(after, start, end)?;
        u64::try_from(found).ok().map(|seconds| seconds * 1_000)
    }

    /// The next firings strictly after an instant, at most so many.
    pub fn upcoming(&self, after_ms: u64, count: usize) -> Vec<u64> {
        let mut firings = Vec::new();
        let mut after_ms = after_ms;
        while let Some(at_ms) = self.next(after_ms).filter(|_| firings.len() < count) {
            firings.push(at_ms);
            after_ms = at_ms;
        }
        firings
    }

    /// Goes from block to block of UTC, in each of which the local clock runs evenly, and skips days that do not match.
    fn search(&self, after: i64, start: i64, end: i64) -> Option<i64> {
        // A time that is repeated in the first block was perhaps there before it.
        let mut block = if self.fixed { start - CHANGE_MAX_S } else { start };
        let mut repeated_until = i64::MIN;
        while block < end {
            let offset = self.offset(block);
            if self.fixed {
                let before = self.offset(block - 1);
                let skipped = self.first(block + before, block + offset);
                if skipped.is_some() && block > after {
                    return Some(block);
                }
                if before > offset {
                    repeated_until = block + before;
                }
            }
            let from = (block.max(after + 1) + offset).max(repeated_until);
            if let Some(local) = self.first(from, block + BLOCK_S + offset) {
                return Some(local - offset);
            }
            block = self.next_block(block, offset);
        }
        None
    }

    /// The block after this one, or the one in which the clocks may at the earliest reach the next day, if nothing can
    /// fire on this one.
    fn next_block(&self, block: i64, offset: i64) -> i64 {
        let day = (block + offset).div_euclid(DAY_S);
        if self.fires_on(day) {
            return block + BLOCK_S;
        }
        let midnight = (day + 1) * DAY_S - offset;
        let earliest = (midnight - CHANGE_MAX_S).div_euclid(BLOCK_S) * BLOCK_S;
        earliest.max(block + BLOCK_S)
    }

    /// The first local second in a range that matches.
    fn first(&self, from: i64, to: i64) -> Option<i64> {
        let mut at = from;
        while at < to {
            let (day, second) = (at.div_euclid(DAY_S), at.rem_euclid(DAY_S));
            let part = |value: i64| u32::try_from(value).unwrap_or_default();
            if !self.fires_on(day) {
                at += DAY_S - second;
            } else if !matches!(self.pattern.hour_match(part(second / 3_600)), Ok(true)) {
                at += 3_600 - second % 3_600;
            } else if !matches!(self.pattern.minute_match(part(second / 60 % 60)), Ok(true)) {
                at += 60 - second % 60;
            } else if !matches!(self.pattern.second_match(part(second % 60)), Ok(true)) {
                at += 1;
            } else {
                return Some(at);
            }
        }
        None
    }

    fn fires_on(&self, day: i64) -> bool {
        fires_on(&self.pattern, day)
    }

    /// Seconds that local time is ahead of UTC at an instant.
    fn offset(&self, at: i64) -> i64 {
        let utc = DateTime::from_timestamp(at, 0).unwrap_or_default().naive_utc();
        self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc().into()
    }
}

/// The fields behind a name; anything else stands for itself.
fn fields(expression: &str) -> &str {
    let expression = expression.trim();
    NAMES.iter().find(|(name, _)| *name == expression).map_or(expression, |(_, fields)| fields)
}

fn pattern(expression: &str) -> Result<CronPattern, Error> {
    let refused = |reason: String| Error::Expression { expression: expression.escape_debug().to_string(), reason };
    if expression.len() > EXPRESSION_LEN_MAX {
        return Err(refused(format!("it has {} bytes, more than {EXPRESSION_LEN_MAX}", expression.len())));
    }
    let fields = fields(expression);
    if fields.starts_with('@') {
        let hint = nearest(fields, NAMES.iter().map(|(name, _)| *name));
        return Err(refused(match hint {
            Some(name) => format!("there is no such name; did you mean `{name}`?"),
            None => "there is no such name".to_owned(),
        }));
    }
    let count = fields.split_whitespace().count();
    if !(5..=6).contains(&count) {
        return Err(refused(format!("it has {count} fields")));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let cron = parser.parse(fields).map_err(|error| {
        let text = error.to_string();
        refused(text.trim_end_matches('.').to_owned())
    })?;
    let cycle = CYCLE_START..CYCLE_START + CYCLE_DAYS;
    if cycle.into_iter().any(|day| fires_on(&cron.pattern, day)) {
        Ok(cron.pattern)
    } else {
        Err(Error::Never(expression.to_owned()))
    }
}

fn zone(name: &str) -> Result<Tz, Error> {
    name.parse().map_err(|_| {
        let near = nearest(name, TZ_VARIANTS.iter().map(|zone| zone.name()));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Error::TimeZone { name: name.escape_debug().to_string(), hint }
    })
}

/// Whether a day, counted from 1970, matches.
fn fires_on(pattern: &CronPattern, day: i64) -> bool {
    let Some(date) = day.checked_mul(DAY_S).and_then(|second| DateTime::from_timestamp(second, 0)) else {
        return false;
    };
    let weekday = Weekday::from_days_from_sunday(date.weekday().num_days_from_sunday());
    matches!(pattern.month_match(date.month()), Ok(true))
        && matches!(pattern.day_match(date.year(), date.month(), date.day(), weekday), Ok(true))
}

#[cfg(test)]
mod tests;
