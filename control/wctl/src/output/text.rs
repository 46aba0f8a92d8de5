//! Quantities, times and foreign text for people.

use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes with one decimal: `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = next;
    }
    decimal(tenths, unit)
}

/// A count with one decimal and a metric prefix: `1.2 G`.
pub(crate) fn count(count: u64) -> String {
    const UNITS: [&str; 5] = ["k", "M", "G", "T", "P"];
    if count < 10_000 {
        return count.to_string();
    }
    let mut tenths = u128::from(count) * 10;
    let mut unit = "";
    for next in UNITS {
        if tenths < 10_000 {
            break;
        }
        tenths /= 1_000;
        unit = next;
    }
    decimal(tenths, unit)
}

/// Microseconds in the unit that fits: `1.5 ms`.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => decimal(u128::from(us) / 100, "ms"),
        1_000_000..60_000_000 => decimal(u128::from(us) / 100_000, "s"),
        _ => {
            let seconds = us / 1_000_000;
            let (minutes, hours) = (seconds / 60, seconds / 3_600);
            match seconds {
                0..7_200 => format!("{minutes} min {} s", seconds % 60),
                7_200..172_800 => format!("{hours} h {} min", minutes % 60),
                _ => format!("{} d {} h", hours / 24, hours % 24),
            }
        }
    }
}

/// How long ago a moment was.
pub(crate) fn ago(ms: u64) -> String {
    format!("{} ago", span(now_ms().saturating_sub(ms)))
}

/// A number of things: `1 node`, `2 nodes`.
pub(crate) fn of_things(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// How long it is until a moment.
pub(crate) fn ahead(ms: u64) -> String {
    format!("in {}", span(ms.saturating_sub(now_ms())))
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn span(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Thousandths of a core: `0.5`.
pub(crate) fn cores(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1_000, milli % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Foreign text that cannot steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

/// Foreign text on one line.
pub(crate) fn one_line(text: &str) -> String {
    printable(&text.split(['\n', '\r']).collect::<Vec<_>>().join(" "))
}

fn decimal(tenths: u128, unit: &str) -> String {
    let text = format!("{}.{}", tenths / 10, tenths % 10);
    format!("{} {unit}", text.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (value, expected) in
            [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (64 << 20, "64 MiB"), (5 << 40, "5 TiB")]
        {
            assert_eq!(bytes(value), expected);
        }
        for (value, expected) in
            [(9_999, "9999"), (12_345, "12.3 k"), (10_000_000_000, "10 G"), (u64::MAX, "18446.7 P")]
        {
            assert_eq!(count(value), expected);
        }
        for (value, expected) in [(7, "7 µs"), (1_500, "1.5 ms"), (2_000_000, "2 s"), (61_000_000, "1 min 1 s")] {
            assert_eq!(micros(value), expected);
        }
        for (seconds, expected) in [(7_199, "119 min 59 s"), (7_261, "2 h 1 min"), (176_400, "2 d 1 h")] {
            assert_eq!(micros(seconds * 1_000_000), expected);
        }
        assert_eq!((cores(500), cores(1_000), cores(10)), ("0.5".into(), "1".into(), "0.01".into()));
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{7}"), "a?[2Jb?");
        assert_eq!(one_line("a\r\nb"), "a  b");
    }
}
