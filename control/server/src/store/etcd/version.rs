//! Versions of etcd with faults that matter here.

/// The first patch release of each series without the faults below.
const SOUND: [(u32, u32, u32); 3] = [(3, 4, 42), (3, 5, 28), (3, 6, 9)];
const REASON: &str = "before 3.4.42, 3.5.28 and 3.6.9 etcd may serve stale reads after a pause, revoke leases that were \
                      renewed, and renew leases that were revoked, so that leaders change or overlap without need";
/// Releases of 3.5 up to this patch may lose what they acknowledged when they crash, so that members differ for good.
const INCONSISTENT_THROUGH: u32 = 2;
const INCONSISTENT: &str = "3.5.0 to 3.5.2 may lose at a crash what they acknowledged, so that members differ from each other \
                            for good: nothing that was accepted is safe there";

/// Says why a version should not be used; nothing for a sound one.
pub(super) fn fault(version: &str) -> Option<&'static str> {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u32>());
    let mut next = || parts.next().and_then(Result::ok);
    let (Some(major), Some(minor), Some(patch)) = (next(), next(), next()) else {
        return Some("its version cannot be read");
    };
    if (major, minor) == (3, 5) && patch <= INCONSISTENT_THROUGH {
        return Some(INCONSISTENT);
    }
    let sound = match SOUND.iter().find(|sound| (sound.0, sound.1) == (major, minor)) {
        Some((_, _, first)) => patch >= *first,
        None => (major, minor) > (3, 6),
    };
    (!sound).then_some(REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faulty_versions_are_known() {
        for (version, sound) in [
            ("3.4.23", false),
            ("3.4.42", true),
            ("3.5.3", false),
            ("3.5.16", false),
            ("3.5.27", false),
            ("3.5.28", true),
            ("3.6.9", true),
            ("3.6.8-rc.1", false),
            ("3.7.0", true),
            ("4.0.0", true),
            ("3.3.99", false),
            ("2.3.8", false),
            ("", false),
            ("main", false),
        ] {
            assert_eq!(fault(version).is_none(), sound, "{version}");
        }
    }

    #[test]
    fn those_that_lose_data_are_told_from_those_that_elect_too_often() {
        for version in ["3.5.0", "3.5.1", "3.5.2", "3.5.2+git"] {
            assert!(fault(version).is_some_and(|reason| reason.contains("acknowledged")), "{version}");
        }
        for version in ["3.4.2", "3.5.3", "3.5.16", "3.6.0"] {
            assert_eq!(fault(version), Some(REASON), "{version}");
        }
    }
}
