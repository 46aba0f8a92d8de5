//! All promises at once, under faults of all kinds: the bounded form of `cargo xtask chaos`.

use std::time::Duration;

use weir_e2e::{chaos::Unrest, etcd::Etcd, skip};

/// Long enough for each kind of fault to come once or more often.
const UNREST: Duration = Duration::from_secs(75);

#[test]
fn nothing_accepted_is_lost_doubled_or_wrong_under_faults_of_all_kinds() {
    if !Etcd::is_installed() {
        skip::note("nothing_accepted_is_lost_doubled_or_wrong_under_faults_of_all_kinds", "etcd is not installed");
        return;
    }
    let report = Unrest { seed: 1, lasts: UNREST, logs: None }.run().expect("the harness works");
    assert!(report.violations.is_empty(), "{report}");
}
