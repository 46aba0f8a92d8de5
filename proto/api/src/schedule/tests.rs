use chrono::{DateTime, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::*;

fn ms(text: &str) -> u64 {
    u64::try_from(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()).unwrap()
}

/// An instant as the clock in a time zone shows it.
fn shown(at_ms: u64, zone: Tz) -> String {
    let utc = DateTime::<Utc>::from_timestamp_millis(i64::try_from(at_ms).unwrap()).unwrap();
    utc.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn next(expression: &str, zone: &str, after: &str) -> Option<String> {
    let schedule = Schedule::parse(expression, zone).unwrap();
    schedule.next(ms(after)).map(|at| shown(at, schedule.zone))
}

#[test]
fn fields_and_names() {
    for (expression, after, expected) in [
        ("*/5 * * * *", "2026-05-01T10:02:30Z", "2026-05-01T10:05:00+00:00"),
        ("*/5 * * * *", "2026-05-01T10:05:00Z", "2026-05-01T10:10:00+00:00"),
        ("*/5 * * * *", "2026-05-01T10:04:59.999Z", "2026-05-01T10:05:00+00:00"),
        ("*/5 * * * *", "2026-05-01T10:05:00.001Z", "2026-05-01T10:10:00+00:00"),
        ("*/20 * * * * *", "2026-05-01T10:05:20Z", "2026-05-01T10:05:40+00:00"),
        ("* * * * * *", "2026-05-01T10:05:20Z", "2026-05-01T10:05:21+00:00"),
        ("30 9 * * MON-FRI", "2026-05-01T10:00:00Z", "2026-05-04T09:30:00+00:00"),
        ("0 0 1 JAN *", "2026-05-01T10:00:00Z", "2027-01-01T00:00:00+00:00"),
        ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00+00:00"),
        ("0 12 L * *", "2026-02-01T00:00:00Z", "2026-02-28T12:00:00+00:00"),
        ("0 12 * * FRI#2", "2026-05-01T13:00:00Z", "2026-05-08T12:00:00+00:00"),
        ("0 0 13 * FRI", "2026-05-02T00:00:00Z", "2026-05-08T00:00:00+00:00"),
        ("0 0 13 * +FRI", "2026-05-02T00:00:00Z", "2026-11-13T00:00:00+00:00"),
        ("0 0 * * 7", "2026-05-02T00:00:00Z", "2026-05-03T00:00:00+00:00"),
        ("@yearly", "2026-05-01T10:00:00Z", "2027-01-01T00:00:00+00:00"),
        ("@annually", "2026-05-01T10:00:00Z", "2027-01-01T00:00:00+00:00"),
        ("@monthly", "2026-05-01T10:00:00Z", "2026-06-01T00:00:00+00:00"),
        ("@weekly", "2026-05-01T10:00:00Z", "2026-05-03T00:00:00+00:00"),
        ("@daily", "2026-05-01T10:00:00Z", "2026-05-02T00:00:00+00:00"),
        ("@midnight", "2026-05-01T10:00:00Z", "2026-05-02T00:00:00+00:00"),
        ("@hourly", "2026-05-01T10:00:00Z", "2026-05-01T11:00:00+00:00"),
        ("0 0 1 1 *", "1970-01-01T00:00:00Z", "1971-01-01T00:00:00+00:00"),
    ] {
        assert_eq!(next(expression, "UTC", after).as_deref(), Some(expected), "{expression} after {after}");
    }
}

#[test]
fn refusals_say_why() {
    for (expression, reason) in [
        ("", "it has 0 fields"),
        ("* * * *", "it has 4 fields"),
        ("* * * * * * *", "it has 7 fields"),
        ("60 * * * *", "is not a schedule"),
        ("* 24 * * *", "is not a schedule"),
        ("* * 0 * *", "is not a schedule"),
        ("* * * 13 *", "is not a schedule"),
        ("* * * * 8", "is not a schedule"),
        ("*/0 * * * *", "is not a schedule"),
        ("5-1 * * * *", "is not a schedule"),
        ("a * * * *", "is not a schedule"),
        ("@dayly", "there is no such name; did you mean `@daily`?"),
        ("@reboot", "there is no such name"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6 *", "never fires"),
    ] {
        let error = Schedule::parse(expression, "UTC").unwrap_err().to_string();
        assert!(error.contains(reason), "{expression}: {error}");
    }
    assert!(Schedule::parse(&"* ".repeat(200), "UTC").unwrap_err().to_string().contains("more than 256"));
    let error = Schedule::parse("@daily", "Europe/Belrin").unwrap_err();
    assert_eq!(error.to_string(), "`Europe/Belrin` is not a time zone; did you mean `Europe/Berlin`?");
    assert!(matches!(Schedule::parse("@daily", ""), Err(Error::TimeZone { .. })));
}

/// All firings between two instants.
fn firings(expression: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let schedule = Schedule::parse(expression, zone).unwrap();
    let mut after = ms(from) - 1;
    let mut all = Vec::new();
    while let Some(at) = schedule.next(after).filter(|at| *at < ms(to)) {
        all.push(shown(at, schedule.zone));
        after = at;
    }
    all
}

#[test]
fn what_is_skipped_in_spring() {
    let berlin = ("Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00");
    let new_york = ("America/New_York", "2026-03-08T00:00:00-05:00", "2026-03-09T00:00:00-04:00");
    // Here midnight itself is skipped.
    let santiago = ("America/Santiago", "2026-09-05T12:00:00-04:00", "2026-09-06T12:00:00-03:00");
    // Here the clock is set by half an hour.
    let lord_howe = ("Australia/Lord_Howe", "2026-10-04T00:00:00+10:30", "2026-10-05T00:00:00+11:00");
    for (expression, (zone, from, to), expected) in [
        ("30 1 * * *", berlin, &["2026-03-29T01:30:00+01:00"][..]),
        ("0 2 * * *", berlin, &["2026-03-29T03:00:00+02:00"]),
        ("30 2 * * *", berlin, &["2026-03-29T03:00:00+02:00"]),
        ("59 59 2 * * *", berlin, &["2026-03-29T03:00:00+02:00"]),
        ("0 3 * * *", berlin, &["2026-03-29T03:00:00+02:00"]),
        ("0,20,40 2 * * *", berlin, &["2026-03-29T03:00:00+02:00"]),
        ("30 2,3 * * *", berlin, &["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]),
        ("0 2,14 * * *", berlin, &["2026-03-29T03:00:00+02:00", "2026-03-29T14:00:00+02:00"]),
        ("*/20 2 * * *", berlin, &[]),
        ("30 1-3/1 * * *", berlin, &["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]),
        ("30 2 * * *", new_york, &["2026-03-08T03:00:00-04:00"]),
        ("30 2 8 3 *", new_york, &["2026-03-08T03:00:00-04:00"]),
        ("30 2 * * MON", new_york, &[]),
        ("@daily", santiago, &["2026-09-06T01:00:00-03:00"]),
        ("15 2 * * *", lord_howe, &["2026-10-04T02:30:00+11:00"]),
        ("45 2 * * *", lord_howe, &["2026-10-04T02:45:00+11:00"]),
    ] {
        assert_eq!(firings(expression, zone, from, to), expected, "{expression} in {zone}");
    }
    let hourly = firings("@hourly", berlin.0, berlin.1, berlin.2);
    assert_eq!(hourly.len(), 23);
    assert_eq!(hourly[1..3], ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"]);
    assert_eq!(firings("*/15 * * * *", new_york.0, new_york.1, new_york.2).len(), 23 * 4);
}

#[test]
fn what_is_repeated_in_autumn() {
    let berlin = ("Europe/Berlin", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00");
    let new_york = ("America/New_York", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00");
    // Here midnight is reached twice: at one the clock is set back to it.
    let havana = ("America/Havana", "2026-10-31T12:00:00-04:00", "2026-11-01T12:00:00-05:00");
    for (expression, (zone, from, to), expected) in [
        ("30 2 * * *", berlin, &["2026-10-25T02:30:00+02:00"][..]),
        ("0 2 * * *", berlin, &["2026-10-25T02:00:00+02:00"]),
        ("0 3 * * *", berlin, &["2026-10-25T03:00:00+01:00"]),
        ("30 2,3 * * *", berlin, &["2026-10-25T02:30:00+02:00", "2026-10-25T03:30:00+01:00"]),
        (
            "*/30 2 * * *",
            berlin,
            &[
                "2026-10-25T02:00:00+02:00",
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:30:00+01:00",
            ],
        ),
        ("30 1 * * *", new_york, &["2026-11-01T01:30:00-04:00"]),
        ("30 1 * * SUN", new_york, &["2026-11-01T01:30:00-04:00"]),
        ("0 2 * * *", new_york, &["2026-11-01T02:00:00-05:00"]),
        ("@daily", havana, &["2026-11-01T00:00:00-04:00"]),
        ("30 0 * * *", havana, &["2026-11-01T00:30:00-04:00"]),
        (
            "30 */12 * * *",
            havana,
            &["2026-10-31T12:30:00-04:00", "2026-11-01T00:30:00-04:00", "2026-11-01T00:30:00-05:00"],
        ),
    ] {
        assert_eq!(firings(expression, zone, from, to), expected, "{expression} in {zone}");
    }
    let hourly = firings("@hourly", berlin.0, berlin.1, berlin.2);
    assert_eq!(hourly.len(), 25);
    assert_eq!(hourly[1..4], ["2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]);
    // The search may start in the repeated hour, where the time was there already.
    let again = next("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00");
    assert_eq!(again.as_deref(), Some("2026-10-26T02:30:00+01:00"));
}

/// Firings as the rules define them, found by looking at every minute.
fn by_definition(schedule: &Schedule, from: i64, to: i64) -> Vec<i64> {
    let matches = |local: i64| schedule.first(local, local + 1).is_some();
    let local = |at: i64| at + schedule.offset(at);
    let minutes = (from..to).step_by(60);
    if !schedule.fixed {
        return minutes.filter(|at| matches(local(*at))).collect();
    }
    let mut all: Vec<i64> = (local(from)..local(to))
        .step_by(60)
        .filter(|local| matches(*local))
        .map(|wanted| {
            let naive = DateTime::from_timestamp(wanted, 0).unwrap().naive_utc();
            match schedule.zone.from_local_datetime(&naive).earliest() {
                Some(at) => at.timestamp(),
                None => (from..to).step_by(60).find(|at| local(*at) > wanted).unwrap(),
            }
        })
        .collect();
    all.dedup();
    all
}

/// A few days around every change of the clocks in 2026, and in January.
fn windows(schedule: &Schedule) -> Vec<(i64, i64)> {
    const DAY: i64 = 86_400;
    let start = i64::try_from(ms("2026-01-03T00:00:00Z") / 1_000).unwrap();
    let days = (0..360).map(|day| start + day * DAY);
    let changes = days.filter(|at| schedule.offset(*at) != schedule.offset(at + DAY));
    std::iter::once(start).chain(changes).map(|at| (at - 2 * DAY, at + 3 * DAY)).collect()
}

#[test]
fn every_firing_is_where_the_rules_put_it() {
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu"];
    let expressions = ["30 2 * * *", "*/7 * * * *", "0,45 0-3 * * *", "15 */2 * * *", "5 1 * * SUN", "@daily"];
    for (zone, expression) in zones.iter().flat_map(|zone| expressions.iter().map(move |text| (zone, text))) {
        let schedule = Schedule::parse(expression, zone).unwrap();
        let windows = windows(&schedule);
        assert_eq!(windows.len(), if matches!(*zone, "UTC" | "Asia/Kathmandu") { 1 } else { 3 }, "{zone}");
        for (from, to) in windows {
            let mut found = Vec::new();
            let mut after = from - 1;
            while let Some(at) = schedule.next(u64::try_from(after).unwrap() * 1_000) {
                after = i64::try_from(at / 1_000).unwrap();
                if after >= to {
                    break;
                }
                found.push(after);
            }
            assert_eq!(found, by_definition(&schedule, from, to), "{expression} in {zone} from {from}");
        }
    }
}

#[test]
fn a_search_ends() {
    let schedule = Schedule::parse("0 0 29 2 *", "UTC").unwrap();
    assert_eq!(schedule.next(ms("9997-01-01T00:00:00Z")), None, "nothing fires after the year 9999");
    for after in [u64::MAX, ms("9999-12-31T23:59:59Z")] {
        assert_eq!(Schedule::parse("* * * * *", "Europe/Berlin").unwrap().next(after), None);
    }
    let rare = Schedule::parse("0 0 29 2 +MON", "UTC").unwrap();
    assert_eq!(rare.next(ms("2024-03-01T00:00:00Z")), None, "28 years are too far away");
}

#[test]
fn the_next_ones_follow_each_other() {
    let schedule = Schedule::parse("@weekly", "Europe/Berlin").unwrap();
    let upcoming = schedule.upcoming(ms("2026-03-20T00:00:00Z"), UPCOMING);
    assert_eq!(upcoming.len(), UPCOMING);
    assert!(upcoming.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(shown(upcoming[1], schedule.zone), "2026-03-29T00:00:00+01:00");
    assert_eq!(shown(upcoming[2], schedule.zone), "2026-04-05T00:00:00+02:00");
}
