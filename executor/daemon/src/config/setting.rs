//! Values with units.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, written like `64MiB`; units B, KiB, MiB, GiB, TiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// A length of time, written like `30s`; units ms, s, m, h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// Where guests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Isolation {
    /// On threads of the daemon.
    InProcess,
    /// In processes of their own.
    Process,
}

/// Thousandths of a CPU, written like `1.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuCount(pub u32);

const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const SPAN_UNITS_MS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        with_unit(text, &SIZE_UNITS).map(Self).ok_or_else(|| format!("{text:?} is not a size like 64MiB or 4GiB"))
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let ms =
            with_unit(text, &SPAN_UNITS_MS).ok_or_else(|| format!("{text:?} is not a time like 500ms, 30s or 5m"))?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

impl FromStr for CpuCount {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a number of CPUs like 2 or 1.5");
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 3 {
            return Err(bad());
        }
        let whole: u32 = whole.parse().map_err(|_| bad())?;
        let part: u32 = format!("{part:0<3}").parse().map_err(|_| bad())?;
        whole.checked_mul(1000).and_then(|whole| whole.checked_add(part)).map(Self).ok_or_else(bad)
    }
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let number = number.trim_end();
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZE_UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (unit, factor) = unit.unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms.is_multiple_of(1000) { write!(f, "{}s", ms / 1000) } else { write!(f, "{ms}ms") }
    }
}

impl fmt::Display for CpuCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A value as a file may write it: text, or a bare number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Text(String),
    Integer(u64),
    Float(f64),
}

macro_rules! as_text {
    ($($name:ident),*) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = match Raw::deserialize(deserializer)? {
                    Raw::Text(text) => text,
                    Raw::Integer(number) => number.to_string(),
                    Raw::Float(number) => number.to_string(),
                };
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )* };
}
as_text!(Size, Span, CpuCount);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_cpus_have_units() {
        for (text, bytes) in [("64MiB", 64 << 20), ("0B", 0), ("1 KiB", 1024), ("3TiB", 3 << 40)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for (text, ms) in [("30s", 30_000), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for (text, millis) in [("2", 2000), ("1.5", 1500), ("0.05", 50), ("0.125", 125)] {
            assert_eq!(text.parse(), Ok(CpuCount(millis)), "{text}");
        }
        for bad in ["", "64", "MiB", "-1B", "1.5GiB", "64MB", "99999999999TiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        for bad in ["", "5", "s", "1d", "-3s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        for bad in ["", ".", "1.", ".5", "1.0005", "x", "99999999"] {
            assert!(bad.parse::<CpuCount>().is_err(), "{bad}");
        }
    }

    #[test]
    fn display_is_the_shortest_exact_form() {
        let shown = [Size(64 << 20).to_string(), Size(1500).to_string(), Size(0).to_string()];
        assert_eq!(shown, ["64MiB", "1500B", "0B"]);
        assert_eq!(Span(Duration::from_millis(1500)).to_string(), "1500ms");
        assert_eq!(CpuCount(50).to_string(), "0.050");
    }
}
