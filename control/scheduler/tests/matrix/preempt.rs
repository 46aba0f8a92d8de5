//! A production job needs all of n1.

use weir_wire::kind::Kind;

use crate::{
    SECOND, cron, running, service,
    world::{World, intruder},
};

/// The task has a grace, makes room, and goes on elsewhere, free of charge.
fn evicted(kind: &Kind) -> World {
    let mut world = running(kind);
    world.put(intruder("n1"));
    world.submit("intruder");
    world.advance(20 * SECOND);
    assert_eq!(world.running_on("n1"), ["intruder"]);
    world
}

#[test]
fn batch() {
    let mut world = evicted(&Kind::Batch);
    assert_eq!(world.state(), "v1 active: running on n2 [preempted by control]");
    world.finish("n2");
    assert_eq!(world.state(), "v1 succeeded: succeeded");
}

#[test]
fn service_task() {
    let world = evicted(&service());
    assert_eq!(world.state(), "v1 active: running on n2 [preempted by control]");
}

#[test]
fn cron_job() {
    let world = evicted(&cron());
    assert_eq!(world.state(), "v1 active: running on n2 [preempted by control]");
}

#[test]
fn system() {
    let mut world = evicted(&Kind::System);
    assert_eq!(world.state(), "v1 active: pending on n1 [preempted by control], running on n2");
    world.finish("n1");
    world.advance(SECOND);
    assert_eq!(world.state(), "v1 active: running on n1 [preempted by control], running on n2");
}

#[test]
fn function() {
    let world = evicted(&Kind::Function);
    assert_eq!(world.state(), "v1 active: running on n2 [preempted by control]");
}
