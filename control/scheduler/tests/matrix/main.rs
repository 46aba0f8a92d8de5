//! The table of `docs/LIFECYCLE.md`: what becomes of the tasks of each kind of job at each event, one test per cell.
//!
//! In each of them the job runs on the node n1, then n2 joins, and then something happens to n1 or to the job.

#[expect(dead_code, reason = "the scripts look at more of it")]
#[path = "../scripts/store.rs"]
mod store;

mod executor;
mod world;

mod drain;
mod lost;
mod preempt;
mod restart;
mod stop;
mod update;

use std::time::Duration;

use weir_wire::kind::{Cron, Kind, Overlap, Service};
use world::{JOB, World, spec};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A cluster in which a job of a kind runs on n1, and n2 is there.
fn running(kind: &Kind) -> World {
    let mut world = World::new();
    world.start("n1");
    world.put(spec(kind.clone()));
    match kind {
        // It starts by itself, at the next full minute.
        Kind::Cron(_) => world.advance(MINUTE),
        Kind::Batch | Kind::Service(_) | Kind::System | Kind::Function => {
            world.submit(JOB);
        }
    }
    world.advance(SECOND);
    world.start("n2");
    world.advance(SECOND);
    world
}

fn service() -> Kind {
    Kind::Service(Service { healthy_after: Duration::from_secs(5) })
}

fn cron() -> Kind {
    Kind::Cron(Cron {
        schedule: "* * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        overlap: Overlap::Forbid,
        start_deadline: MINUTE,
    })
}
