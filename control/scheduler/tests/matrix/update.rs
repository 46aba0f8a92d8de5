//! The job gets a new version.

use weir_wire::kind::Kind;

use crate::{
    MINUTE, SECOND, cron, running, service,
    world::{JOB, World},
};

fn updated(kind: &Kind) -> World {
    let mut world = running(kind);
    world.put_version(kind, "new");
    world.advance(SECOND);
    // What runs goes on as it was submitted.
    let before = if matches!(kind, Kind::System) { "running on n1, running on n2" } else { "running on n1" };
    assert_eq!(world.state(), format!("v1 active: {before}"));
    world
}

#[test]
fn batch() {
    let mut world = updated(&Kind::Batch);
    world.submit(JOB);
    world.advance(SECOND);
    assert_eq!(world.state(), "v1 active: running on n1; v2 active: running on n2");
}

#[test]
fn service_rolls() {
    let mut world = updated(&service());
    world.submit(JOB);
    world.advance(SECOND);
    // One task at a time: the old one has ended, and nothing more happens before the new one is healthy.
    assert_eq!(world.state(), "v1 active: pending; v2 active: running on n1");
    world.advance(MINUTE);
    assert_eq!(world.state(), "v1 stopped: killed [cancelled by control]; v2 active: running on n1");
}

#[test]
fn cron_job() {
    let mut world = updated(&cron());
    world.finish("n1");
    world.advance(MINUTE);
    assert_eq!(world.state(), "v1 succeeded: succeeded; v2 active: running on n1");
}

#[test]
fn system_rolls() {
    let mut world = updated(&Kind::System);
    world.submit(JOB);
    world.advance(SECOND);
    assert_eq!(world.state(), "v1 active: pending on n1, running on n2; v2 active: running on n1");
    world.advance(MINUTE);
    let old = "v1 stopped: killed [cancelled by control], killed [cancelled by control]";
    assert_eq!(world.state(), format!("{old}; v2 active: running on n1, running on n2"));
}

#[test]
fn function() {
    let mut world = updated(&Kind::Function);
    world.submit(JOB);
    world.advance(SECOND);
    assert_eq!(world.state(), "v1 active: running on n1; v2 active: running on n2");
}
