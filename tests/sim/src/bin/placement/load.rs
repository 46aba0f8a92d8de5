//! Nodes and jobs of the measured clusters.

use std::time::Duration;

use weir_wire::{
    id::{Digest, JobVersion},
    kind::{Execution, Kind, Tier},
    node::Hello,
    placement::{Affinity, Comparison, Constraint, Operator, Placement},
    resources::Resources,
    units::{CpuMillis, Fuel, MemBytes},
    work::{Budgets, Capabilities, JobRecord, RetryPolicy},
};

/// Lanes of a node.
const LANES: u32 = 128;
/// Kinds of work in the mixed loads.
const KINDS: usize = 100;
const NAMESPACES: usize = 10;

/// What is to be placed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    kinds: usize,
    constrained: bool,
}

impl Load {
    /// One array.
    pub(crate) const fn one_kind() -> Self {
        Self { name: "one kind", kinds: 1, constrained: false }
    }

    /// A hundred kinds in several namespaces, tiers and priorities.
    pub(crate) const fn plain() -> Self {
        Self { name: "mixed", kinds: KINDS, constrained: false }
    }

    /// The same with constraints, affinities, spread and limits per node.
    pub(crate) const fn mixed() -> Self {
        Self { name: "constrained", kinds: KINDS, constrained: true }
    }

    /// The jobs.
    pub(crate) fn jobs(self) -> Vec<JobRecord> {
        (0..self.kinds).map(|kind| self.job(kind)).collect()
    }

    fn job(self, kind: usize) -> JobRecord {
        let small = u32::try_from(kind).unwrap_or(0);
        let mut spec = job(&format!("space-{}", kind % NAMESPACES), &format!("job-{kind}"), small);
        if self.kinds > 1 {
            spec.tier = match (kind % 7, kind % 11) {
                (0, _) => Tier::Production,
                (_, 0) => Tier::Revocable,
                _ => Tier::Preemptible,
            };
            spec.priority = [50, 30, 70][kind % 3];
        }
        if self.constrained {
            spec.placement = placement(kind);
        }
        spec
    }
}

/// A job of one kind; the work that fills a cluster beforehand is one too.
pub(crate) fn job(namespace: &str, name: &str, kind: u32) -> JobRecord {
    let resources =
        Resources { cpu: CpuMillis(100 + 10 * (kind % 10)), memory: MemBytes((64 + u64::from(kind % 7) * 16) << 20) };
    let mut module = [7; 32];
    module[..4].copy_from_slice(&kind.to_be_bytes());
    JobRecord {
        kind: Kind::Batch,
        tier: Tier::Preemptible,
        max_failed: None,
        start_deadline: None,
        after: Vec::new(),
        input_from: None,
        execution: Execution::default(),
        namespace: namespace.parse().expect("a valid name"),
        job: name.parse().expect("a valid name"),
        version: JobVersion(0),
        module: Digest(module),
        args: vec!["--index-from".to_owned(), "env".to_owned()],
        env: vec![("MODE".to_owned(), "bench".to_owned())],
        budgets: Budgets { resources, fuel: Fuel(1 << 30), timeout: Some(Duration::from_secs(60)), output: 1 << 16 },
        dirs: Vec::new(),
        capabilities: Capabilities::NONE,
        count: 1,
        max_running: 0,
        priority: 50,
        retry: RetryPolicy {
            attempts: 3,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            retry_deterministic: false,
        },
        placement: Placement::default(),
        created_ms: 0,
        message: String::new(),
    }
}

fn placement(kind: usize) -> Placement {
    let constraint = |attribute: &str, operator, values: &[&str]| Constraint {
        attribute: attribute.to_owned(),
        operator,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let mut placement = Placement::default();
    match kind % 10 {
        0 => placement.constraints.push(constraint("zone", Operator::In, &["z0", "z1", "z2"])),
        1 => placement.constraints.push(constraint("arch", Operator::NotEqual, &["arm64"])),
        2 => {
            let version = Operator::Version(Comparison::GreaterOrEqual);
            placement.constraints.push(constraint("kernel", version, &["5.10"]));
        }
        3 => placement.constraints.push(constraint("zone", Operator::Matches, &["^z[0-3]$"])),
        4 => {
            let wanted = constraint("disk", Operator::Equal, &["ssd"]);
            placement.affinities.push(Affinity { constraint: wanted, weight: 50 });
        }
        5 => placement.spread = Some("zone".to_owned()),
        6 => placement.max_per_node = 8,
        7 => {
            placement.constraints.push(constraint("disk", Operator::Exists, &[]));
            placement.constraints.push(constraint("node", Operator::NotEqual, &["n7"]));
        }
        _ => {}
    }
    placement
}

/// A node: zones, architectures, kernels and disks of several sorts.
pub(crate) fn hello(number: usize) -> Hello {
    let attributes = vec![
        ("arch".to_owned(), ["amd64", "amd64", "amd64", "arm64"][number % 4].to_owned()),
        ("disk".to_owned(), ["ssd", "hdd"][number / 4 % 2].to_owned()),
        ("kernel".to_owned(), ["6.1.0", "5.10.2", "5.4"][number / 8 % 3].to_owned()),
        ("zone".to_owned(), format!("z{}", number % 5)),
    ];
    Hello {
        wire_min: 1,
        wire_max: 1,
        cluster: "bench".parse().expect("a valid name"),
        node: format!("n{number}").parse().expect("a valid name"),
        installation: 1,
        incarnation: weir_wire::id::Incarnation(1),
        boot: 1,
        version: "1".to_owned(),
        attributes,
        capacity: Resources { cpu: CpuMillis(200 * LANES), memory: MemBytes(u64::from(LANES) << 28) },
        lanes_max: LANES,
        modules: Vec::new(),
    }
}
