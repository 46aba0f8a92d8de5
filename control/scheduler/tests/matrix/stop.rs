//! The run is stopped by its user.

use weir_wire::kind::Kind;

use crate::{MINUTE, cron, running, service, world::World};

/// Its tasks end as killed, and are not tried again.
fn stopped(kind: &Kind) -> World {
    let mut world = running(kind);
    let run = world.runs()[0];
    world.stop(run);
    let killed = "killed on n1 [cancelled by control]";
    let before = if matches!(kind, Kind::System) {
        format!("{killed}, {}", killed.replace("n1", "n2"))
    } else {
        killed.to_owned()
    };
    assert_eq!(world.state(), format!("v1 stopped: {before}"));
    world
}

#[test]
fn batch() {
    let mut world = stopped(&Kind::Batch);
    world.advance(MINUTE);
    assert_eq!(world.state(), "v1 stopped: killed on n1 [cancelled by control]");
}

#[test]
fn service_ends() {
    let mut world = stopped(&service());
    world.advance(MINUTE);
    assert_eq!(world.state(), "v1 stopped: killed on n1 [cancelled by control]");
}

#[test]
fn cron_job() {
    let mut world = stopped(&cron());
    world.advance(MINUTE);
    // The job is not: it fires again.
    assert_eq!(world.state(), "v1 stopped: killed on n1 [cancelled by control]; v1 active: running on n1");
}

#[test]
fn system() {
    let mut world = stopped(&Kind::System);
    world.start("n3");
    world.advance(MINUTE);
    assert_eq!(world.runs().len(), 1);
}

#[test]
fn function() {
    let mut world = stopped(&Kind::Function);
    world.advance(MINUTE);
    assert_eq!(world.state(), "v1 stopped: killed on n1 [cancelled by control]");
}
