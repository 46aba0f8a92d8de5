//! Commands and words about where tasks run.

use weir_scheduler::Policy;
use weir_wire::{
    id::Namespace,
    kind::Tier,
    message::{Report, ToControl},
    placement::{Affinity, Comparison, Constraint, Operator, Placement},
    resources::Resources,
    units::{CpuMillis, MemBytes},
    work::JobRecord,
};

use crate::{
    cluster::{Cluster, Words},
    show,
};

/// `ns=NAME`.
pub(crate) fn namespace(words: &Words<'_>) -> Namespace {
    words.named.get("ns").unwrap_or(&"default").parse().expect("a valid name")
}

/// Attributes of a node that a script may name.
pub(crate) fn attributes(words: &Words<'_>) -> Vec<(String, String)> {
    let given = |name: &str| words.named.get(name).map(|value| (name.to_owned(), (*value).to_owned()));
    ["disk", "kernel", "network", "pool", "scratch", "zone"].into_iter().filter_map(given).collect()
}

/// `tier=revocable`, `zone=a`, `where=disk:in:ssd,nvme`, `prefer=disk:equal:ssd:50`, `spread=zone`, `max_per_node=1`,
/// `for_pool=p`.
pub(crate) fn shape(words: &Words<'_>, spec: &mut JobRecord) {
    let text = |name: &str| words.named.get(name).map(|text| (*text).to_owned());
    spec.namespace = namespace(words);
    if let Some(tier) = text("tier") {
        spec.tier = Tier::ALL.into_iter().find(|known| known.as_str() == tier).expect("a tier");
    }
    spec.placement = Placement {
        spread: text("spread"),
        max_per_node: words.small("max_per_node", 0),
        pool: text("for_pool"),
        ..Placement::default()
    };
    spec.placement.constraints.extend(text("zone").map(|zone| Constraint::equal("zone", zone)));
    spec.placement.constraints.extend(text("where").map(|text| constraint(&text)));
    spec.placement.affinities.extend(text("prefer").map(|text| {
        let (text, weight) = text.rsplit_once(':').expect("a weight");
        Affinity { constraint: constraint(text), weight: weight.parse().expect("a weight") }
    }));
}

fn constraint(text: &str) -> Constraint {
    let mut parts = text.splitn(3, ':');
    let (attribute, operator) = (parts.next().expect("an attribute").to_owned(), parts.next().expect("an operator"));
    let values = parts.next().into_iter().flat_map(|values| values.split(',')).map(str::to_owned).collect();
    let operator = match operator {
        "equal" => Operator::Equal,
        "not_equal" => Operator::NotEqual,
        "in" => Operator::In,
        "not_in" => Operator::NotIn,
        "matches" => Operator::Matches,
        "at_least" => Operator::Version(Comparison::GreaterOrEqual),
        "exists" => Operator::Exists,
        other => panic!("no such operator: {other}"),
    };
    Constraint { attribute, operator, values }
}

impl Cluster {
    /// Carries out a command about placement; false if it is none.
    pub(crate) fn place_command(&mut self, words: &Words<'_>) -> bool {
        match words.plain[0] {
            "pack" => self.config.placement = Policy::Pack,
            "commit" if words.plain[1] == "all" => {
                while self.in_flight.is_some() {
                    self.command("commit ok");
                }
            }
            "measured" => {
                let memory = MemBytes(words.number("memory", 0) << 20);
                let measured = Some(Resources { cpu: CpuMillis(words.small("cpu", 0)), memory });
                let report = Report { first: words.number("first", 1), measured, ..Report::default() };
                self.message(words.plain[1], ToControl::Report(report));
            }
            "plan" => {
                let job = words.plain[1].parse().expect("a valid name");
                let job = self.scheduler.job(&namespace(words), &job, None).expect("a job").clone();
                let plan = self.scheduler.plan(self.now(), &job, words.small("count", 1)).expect("it leads");
                self.say(&show::facts(&format!("{plan:?}")));
            }
            _ => return false,
        }
        true
    }
}
