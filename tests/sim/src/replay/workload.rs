//! The cluster and the jobs of a replay.

use weir_wire::{
    kind::{Kind, Tier},
    placement::Placement,
    resources::Resources,
    units::{CpuMillis, MemBytes},
};

use super::Shape;
use crate::whatif::{Cluster, Fractions, Group, Item, Length, Workload};

/// A node has room for half as many tasks again as it gets.
pub(super) fn of(shape: &Shape) -> (Cluster, Workload) {
    let task = Resources { cpu: CpuMillis(20), memory: MemBytes(16 << 20) };
    let each = u32::try_from(shape.tasks().div_ceil(u64::from(shape.nodes))).unwrap_or(u32::MAX);
    let lanes = each + each.div_ceil(2);
    let resources =
        Resources { cpu: CpuMillis(task.cpu.0 * lanes), memory: MemBytes(task.memory.0 * u64::from(lanes)) };
    let group = Group { name: "node".to_owned(), count: shape.nodes, resources, lanes, attributes: Default::default() };
    let cluster = Cluster { groups: vec![group], ..Cluster::default() };
    let time = u64::try_from(shape.task_time.as_nanos()).unwrap_or(u64::MAX);
    let item = |job: u32| Item {
        line: job as usize + 1,
        at: 0,
        namespace: "default".parse().expect("a valid name"),
        job: format!("job-{job}").parse().expect("a valid name"),
        kind: Kind::Batch,
        tier: Tier::Preemptible,
        priority: 50,
        count: shape.tasks_per_job,
        max_running: 0,
        resources: task,
        usage: Fractions { cpu: 1_000_000, memory: 1_000_000 },
        length: Length::List(vec![time]),
        stop_after: None,
        placement: Placement::default(),
        after: Vec::new(),
    };
    (cluster, Workload { items: (0..shape.jobs).map(item).collect() })
}
