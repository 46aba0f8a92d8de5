//! The executor of n1 is killed and started anew.

use weir_wire::kind::Kind;

use crate::{SECOND, cron, running, service, world::World};

/// What ran is gone, and starts again where there is room, free of charge.
fn again(kind: &Kind) -> World {
    let mut world = running(kind);
    world.start("n1");
    world.advance(SECOND);
    world
}

#[test]
fn batch() {
    let mut world = again(&Kind::Batch);
    assert_eq!(world.state(), "v1 active: running on n2 [executor_restarted by control]");
    world.finish("n2");
    assert_eq!(world.state(), "v1 succeeded: succeeded");
}

#[test]
fn service_task() {
    let world = again(&service());
    assert_eq!(world.state(), "v1 active: running on n2 [executor_restarted by control]");
}

#[test]
fn cron_job() {
    let world = again(&cron());
    assert_eq!(world.state(), "v1 active: running on n2 [executor_restarted by control]");
}

#[test]
fn system() {
    let world = again(&Kind::System);
    assert_eq!(world.state(), "v1 active: running on n1 [executor_restarted by control], running on n2");
}

#[test]
fn function() {
    let world = again(&Kind::Function);
    assert_eq!(world.state(), "v1 active: running on n2 [executor_restarted by control]");
}
