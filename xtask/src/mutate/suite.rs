//! What has to find a fault.

use anyhow::{Context, Result, bail, ensure};

/// What has to find a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Suite {
    /// The simulator, with the properties as which it may be seen.
    Simulator,
    /// Tests of one package, those with this text in their names: against a real etcd or real files.
    Tests { package: String, filter: String },
    /// A file of `tests/e2e`, with real daemons.
    EndToEnd { name: String },
    /// The chaos harness with this seed, for so many seconds of faults.
    Chaos { seed: u64, seconds: u32 },
}

/// The longest unrest that a fault may ask for.
const SECONDS_MAX: u32 = 300;

impl Suite {
    /// Reads what follows `suite = `.
    ///
    /// # Errors
    /// Says which forms there are.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        Ok(match words[..] {
            ["tests", package, filter] => Self::Tests { package: package.to_owned(), filter: filter.to_owned() },
            ["e2e", name] => Self::EndToEnd { name: name.to_owned() },
            ["chaos", seed, seconds] => {
                let seconds = seconds.parse().context("the seconds are no number")?;
                ensure!(seconds <= SECONDS_MAX, "{seconds} s is longer than {SECONDS_MAX} s");
                Self::Chaos { seed: seed.parse().context("the seed is no number")?, seconds }
            }
            _ => bail!("a suite is `tests PACKAGE FILTER`, `e2e NAME` or `chaos SEED SECONDS`, not `{text}`"),
        })
    }

    /// Whether daemons are started, so that they have to be built.
    pub(super) const fn needs_programs(&self) -> bool {
        matches!(self, Self::EndToEnd { .. } | Self::Chaos { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_read_and_others_refused() {
        let tests = Suite::Tests { package: "weir-control".to_owned(), filter: "store".to_owned() };
        assert_eq!(Suite::parse("tests weir-control store").unwrap(), tests);
        assert_eq!(Suite::parse("e2e failover").unwrap(), Suite::EndToEnd { name: "failover".to_owned() });
        assert_eq!(Suite::parse("chaos 3 75").unwrap(), Suite::Chaos { seed: 3, seconds: 75 });
        for text in ["", "e2e", "chaos 3", "chaos a 75", "chaos 3 301", "simulator", "tests one"] {
            assert!(Suite::parse(text).is_err(), "{text}");
        }
    }
}
