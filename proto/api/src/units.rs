//! Quantities as people write them: sizes, durations, CPU rates and large counts.

use thiserror::Error;

/// The reason why a quantity could not be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The text has no number at its start.
    #[error("`{0}` is not a number from 0 on")]
    NoNumber(String),
    /// The unit is missing.
    #[error("`{0}` has no unit; write one of {1}")]
    NoUnit(String, &'static str),
    /// The unit is not known.
    #[error("`{0}` is not a unit; write one of {1}")]
    UnknownUnit(String, &'static str),
    /// The value is not a whole number of the smallest unit.
    #[error("`{0}` is not a whole number of {1}")]
    Fraction(String, &'static str),
    /// The value does not fit.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

const SIZES: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];
const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a size such as `64MiB` into bytes.
///
/// # Errors
/// Fails when the unit is missing or unknown, or the value is not a whole number of bytes.
pub fn parse_size(text: &str) -> Result<u64, Error> {
    scaled(text, &SIZES, "B, KiB, MiB, GiB", "bytes")
}

/// Writes bytes with the largest binary unit that divides them, so that reading it back gives the same number.
pub fn format_size(bytes: u64) -> String {
    exact(bytes, &SIZES[..4], "B")
}

/// Reads a duration such as `30s` into milliseconds.
///
/// # Errors
/// Fails when the unit is missing or unknown, or the value is not a whole number of milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<u64, Error> {
    scaled(text, &DURATIONS, "ms, s, m, h, d", "milliseconds")
}

/// Writes milliseconds with the largest unit that divides them, so that reading it back gives the same number.
pub fn format_duration_ms(ms: u64) -> String {
    exact(ms, &DURATIONS, "ms")
}

/// Reads a count such as `10_000`, `10e9` or `1.5e6`.
///
/// # Errors
/// Fails when the text is not a whole number that fits 64 bits.
pub fn parse_count(text: &str) -> Result<u64, Error> {
    let clean = text.trim().replace('_', "");
    let (mantissa, exponent) = match clean.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, exponent.parse::<u32>().map_err(|_| Error::NoNumber(text.to_owned()))?)
        }
        None => (clean.as_str(), 0),
    };
    let scale = 10_u128.checked_pow(exponent).ok_or_else(|| Error::TooLarge(text.to_owned()))?;
    let value = decimal(mantissa, scale, text, "units")?;
    u64::try_from(value).map_err(|_| Error::TooLarge(text.to_owned()))
}

/// Reads a CPU rate such as `0.5` into thousandths of a core.
///
/// # Errors
/// Fails when the text is not a number of whole thousandths.
pub fn parse_cpu_milli(text: &str) -> Result<u32, Error> {
    let value = decimal(text.trim(), 1_000, text, "thousandths of a core")?;
    u32::try_from(value).map_err(|_| Error::TooLarge(text.to_owned()))
}

fn scaled(text: &str, units: &[(&str, u64)], names: &'static str, smallest: &'static str) -> Result<u64, Error> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = (text[..end].replace('_', ""), text[end..].trim());
    if number.is_empty() {
        return Err(Error::NoNumber(text.to_owned()));
    }
    if unit.is_empty() {
        return Err(Error::NoUnit(text.to_owned(), names));
    }
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(Error::UnknownUnit(unit.to_owned(), names));
    };
    let value = decimal(&number, u128::from(*scale), text, smallest)?;
    u64::try_from(value).map_err(|_| Error::TooLarge(text.to_owned()))
}

/// `number * scale`, exactly: floats would turn `0.3` into something else.
fn decimal(number: &str, scale: u128, text: &str, smallest: &'static str) -> Result<u128, Error> {
    let too_large = || Error::TooLarge(text.to_owned());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(Error::NoNumber(text.to_owned()));
    }
    let parse = |part: &str| {
        if part.is_empty() { Ok(0) } else { part.parse::<u128>().map_err(|_| too_large()) }
    };
    let fraction = fraction.trim_end_matches('0');
    let places = u32::try_from(fraction.len()).map_err(|_| too_large())?;
    let divisor = 10_u128.checked_pow(places).ok_or_else(too_large)?;
    let part = parse(fraction)?.checked_mul(scale).ok_or_else(too_large)?;
    if part % divisor != 0 {
        return Err(Error::Fraction(text.to_owned(), smallest));
    }
    let whole = parse(whole)?.checked_mul(scale).ok_or_else(too_large)?;
    whole.checked_add(part / divisor).ok_or_else(too_large)
}

fn exact(value: u64, units: &[(&str, u64)], smallest: &str) -> String {
    units
        .iter()
        .find(|(_, scale)| value != 0 && value.is_multiple_of(*scale))
        .map_or_else(|| format!("{value}{smallest}"), |(unit, scale)| format!("{}{unit}", value / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("64MiB", Ok(64 << 20)),
            ("0.5GiB", Ok(512 << 20)),
            ("1_024 KiB", Ok(1 << 20)),
            ("10B", Ok(10)),
            ("5MB", Ok(5_000_000)),
            ("64", Err(Error::NoUnit("64".into(), "B, KiB, MiB, GiB"))),
            ("64Mi", Err(Error::UnknownUnit("Mi".into(), "B, KiB, MiB, GiB"))),
            ("0.3B", Err(Error::Fraction("0.3B".into(), "bytes"))),
            ("-1B", Err(Error::NoNumber("-1B".into()))),
            ("1.2.3B", Err(Error::NoNumber("1.2.3B".into()))),
            ("99999999999TiB", Err(Error::TooLarge("99999999999TiB".into()))),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [("30s", 30_000), ("1.5s", 1_500), ("250ms", 250), ("2m", 120_000), ("1d", 86_400_000)]
        {
            assert_eq!(parse_duration_ms(text), Ok(expected), "{text}");
        }
        assert!(parse_duration_ms("30").is_err());
        assert!(parse_duration_ms("0.1ms").is_err());
    }

    #[test]
    fn counts_and_rates() {
        for (text, expected) in
            [("10e9", Some(10_000_000_000)), ("1.5e3", Some(1_500)), ("7", Some(7)), ("1_000", Some(1_000))]
        {
            assert_eq!(parse_count(text).ok(), expected, "{text}");
        }
        for text in ["1.5", "1e40", "-3", "e", "1e-3", ""] {
            assert!(parse_count(text).is_err(), "{text}");
        }
        assert_eq!(parse_cpu_milli("0.5"), Ok(500));
        assert_eq!(parse_cpu_milli("1"), Ok(1_000));
        assert!(parse_cpu_milli("0.0005").is_err());
    }

    #[test]
    fn formatting_reads_back() {
        for bytes in [0, 1, 1_000, 1 << 10, 1536, 64 << 20, u64::MAX] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        for ms in [0, 1, 1_500, 30_000, 90_000, 86_400_000] {
            assert_eq!(parse_duration_ms(&format_duration_ms(ms)), Ok(ms));
        }
    }
}
