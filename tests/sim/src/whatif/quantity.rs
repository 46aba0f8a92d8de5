//! Quantities as people write them into the files.

use weir_wire::{
    resources::Resources,
    units::{CpuMillis, MemBytes},
};

use super::limits::{CORES_MAX, SECONDS_MAX};

const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a size such as `64MiB`; a fraction of a byte is dropped.
pub(super) fn memory(text: &str) -> Result<MemBytes, String> {
    let form = || format!("{text:?} is not a size such as \"64MiB\" (B, KiB, MiB, GiB, TiB)");
    let text_only = text.trim();
    let unit = SIZES.iter().find(|(unit, _)| text_only.ends_with(unit)).ok_or_else(form)?;
    let number = text_only[..text_only.len() - unit.0.len()].trim_end();
    let value: f64 = number.parse().map_err(|_| form())?;
    let bytes = value * scale(unit.1);
    whole(bytes, scale(1 << 50)).filter(|_| value >= 0.0).map(MemBytes).ok_or_else(form)
}

/// Cores as thousandths.
pub(super) fn cpu(cores: f64) -> Result<CpuMillis, String> {
    let millis = whole(cores * 1000.0, CORES_MAX * 1000.0).and_then(|millis| u32::try_from(millis).ok());
    let found = millis.filter(|millis| *millis > 0 && cores <= CORES_MAX);
    found.map(CpuMillis).ok_or_else(|| format!("cpu is {cores}, and is to be from 0.001 to {CORES_MAX} cores"))
}

/// What a node offers or a task reserves.
pub(super) fn resources(cores: f64, size: &str) -> Result<Resources, String> {
    let memory = memory(size)?;
    if memory.0 == 0 {
        return Err("memory is 0".to_owned());
    }
    Ok(Resources { cpu: cpu(cores)?, memory })
}

/// Seconds as nanoseconds.
pub(super) fn seconds(name: &str, seconds: f64) -> Result<u64, String> {
    whole(seconds * 1e9, SECONDS_MAX * 1e9)
        .ok_or_else(|| format!("{name} is {seconds}, and is to be from 0 to {SECONDS_MAX} seconds"))
}

/// A fraction as millionths.
pub(super) fn fraction(name: &str, value: f64) -> Result<u32, String> {
    whole(value * 1e6, 1e6)
        .and_then(|millionths| u32::try_from(millionths).ok())
        .ok_or_else(|| format!("{name} is {value}, and is to be from 0 to 1"))
}

/// The nearest whole number, if it is from 0 to `max`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the value is checked before")]
pub(super) fn whole(value: f64, max: f64) -> Option<u64> {
    let rounded = value.round();
    (rounded >= 0.0 && rounded <= max).then_some(rounded as u64)
}

/// A number as a float; beyond 2^53 the nearest one.
#[expect(clippy::cast_precision_loss, reason = "for statistics and factors")]
pub(super) const fn scale(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_or_refused() {
        for (text, expected) in [
            ("64MiB", Some(64 << 20)),
            ("1.5 GiB", Some(3 << 29)),
            ("10B", Some(10)),
            ("0KiB", Some(0)),
            ("64", None),
            ("-1MiB", None),
            ("xMiB", None),
            ("NaNMiB", None),
            ("infMiB", None),
            ("99999TiB", None),
        ] {
            assert_eq!(memory(text).ok().map(|bytes| bytes.0), expected, "{text}");
        }
        for (cores, expected) in
            [(0.001, Some(1)), (2.0, Some(2000)), (0.0, None), (-1.0, None), (5000.0, None), (f64::NAN, None)]
        {
            assert_eq!(cpu(cores).ok().map(|millis| millis.0), expected, "{cores}");
        }
        assert_eq!(seconds("at", 1.5), Ok(1_500_000_000));
        for wrong in [-0.5, f64::NAN, f64::INFINITY, 1e12] {
            assert!(seconds("at", wrong).is_err(), "{wrong}");
        }
        assert_eq!(fraction("usage", 0.25), Ok(250_000));
        assert!(fraction("usage", 1.01).is_err());
    }
}
