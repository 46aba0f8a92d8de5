//! n1 is drained, with a minute for what may end by itself.

use weir_wire::kind::Kind;

use crate::{
    MINUTE, SECOND, cron, running, service,
    world::{World, neighbour},
};

/// What has an end may run until the deadline, and is then tried again elsewhere, free of charge.
fn until_the_deadline(kind: &Kind) -> World {
    let mut world = running(kind);
    world.drain("n1", false);
    world.advance(MINUTE - 2 * SECOND);
    assert_eq!(world.state(), "v1 active: running on n1");
    assert!(!world.drained("n1"));
    world.advance(3 * SECOND);
    assert!(world.drained("n1"));
    world
}

#[test]
fn batch() {
    let mut world = until_the_deadline(&Kind::Batch);
    assert_eq!(world.state(), "v1 active: running on n2 [drained by control]");
    world.finish("n2");
    assert_eq!(world.state(), "v1 succeeded: succeeded");
}

#[test]
fn service_moves_at_once() {
    let mut world = running(&service());
    world.drain("n1", false);
    world.advance(SECOND);
    assert_eq!(world.state(), "v1 active: running on n2 [drained by control]");
    assert!(world.drained("n1"));
}

#[test]
fn cron_job() {
    let mut world = until_the_deadline(&cron());
    assert_eq!(world.state(), "v1 active: running on n2 [drained by control]");
    world.finish("n2");
    world.advance(MINUTE);
    assert_eq!(world.state(), "v1 succeeded: succeeded; v1 active: running on n2");
}

#[test]
fn system() {
    let mut world = running(&Kind::System);
    world.put(neighbour("n1"));
    world.submit("neighbour");
    world.drain("n1", false);
    world.advance(MINUTE - 2 * SECOND);
    assert_eq!(world.state(), "v1 active: running on n1, running on n2");
    assert_eq!(world.running_on("n1"), ["j", "neighbour"]);
    world.advance(3 * SECOND);
    assert_eq!(world.state(), "v1 active: pending on n1 [drained by control], running on n2");
    assert!(world.drained("n1"));
    world.uncordon("n1");
    world.advance(SECOND);
    assert_eq!(world.state(), "v1 active: running on n1 [drained by control], running on n2");
}

#[test]
fn system_stays_if_asked_to() {
    let mut world = running(&Kind::System);
    world.put(neighbour("n1"));
    world.submit("neighbour");
    world.drain("n1", true);
    assert!(!world.drained("n1"));
    world.advance(MINUTE + SECOND);
    assert!(world.drained("n1"));
    assert_eq!(world.running_on("n1"), ["j"]);
}

#[test]
fn function() {
    let mut world = until_the_deadline(&Kind::Function);
    assert_eq!(world.state(), "v1 active: running on n2 [drained by control]");
    world.finish("n2");
    assert_eq!(world.state(), "v1 succeeded: succeeded");
}
