//! n1 falls silent for good.

use weir_wire::kind::Kind;

use crate::{SECOND, cron, running, service, world::World};

/// The task is unknown until the node is given up, and then goes on elsewhere, free of charge.
fn replaced(kind: &Kind) -> World {
    let mut world = running(kind);
    world.cut("n1");
    world.advance(9 * SECOND);
    assert_eq!(world.state(), "v1 active: unknown on n1");
    world.advance(2 * SECOND);
    assert_eq!(world.state(), "v1 active: running on n2 [node_lost by control]");
    world
}

#[test]
fn batch() {
    let mut world = replaced(&Kind::Batch);
    world.finish("n2");
    assert_eq!(world.state(), "v1 succeeded: succeeded");
}

#[test]
fn service_task() {
    replaced(&service());
}

#[test]
fn cron_job() {
    let mut world = replaced(&cron());
    world.finish("n2");
    assert_eq!(world.state(), "v1 succeeded: succeeded");
}

#[test]
fn system() {
    let mut world = running(&Kind::System);
    world.cut("n1");
    world.advance(9 * SECOND);
    assert_eq!(world.state(), "v1 active: unknown on n1, running on n2");
    world.advance(2 * SECOND);
    assert_eq!(world.state(), "v1 active: pending on n1 [node_lost by control], running on n2");
    world.start("n1");
    world.advance(SECOND);
    assert_eq!(world.state(), "v1 active: running on n1 [node_lost by control], running on n2");
}

#[test]
fn function() {
    let mut world = replaced(&Kind::Function);
    world.finish("n2");
    assert_eq!(world.state(), "v1 succeeded: succeeded");
}
