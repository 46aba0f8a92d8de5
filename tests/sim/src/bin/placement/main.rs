//! How fast the scheduler places: `placement [--quick] [--figures] [--unchecked]`, started by `cargo xtask bench placement`.
//!
//! Every figure is taken at the boundary of the state machine, through `Scheduler::handle` and `poll_output`. A placement
//! is one index bound to a node with its resources booked. Times are CPU time of the one thread, so that a busy machine
//! does not change them much. The same runs are done again outside the clock with the independent checker on, and all
//! grants are counted against the nodes once more from the messages alone.

mod cluster;
mod heap;
mod load;

use std::{io::Write as _, time::Duration};

use cluster::{Cluster, Placed};
use load::Load;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Tasks of each measured run.
const TASKS: u32 = 1_000_000;
/// Rounds of the figures in the JSON; the middle one counts.
const ROUNDS: usize = 3;

fn main() {
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    let (quick, figures, checked) = (asked("--quick"), asked("--figures"), !asked("--unchecked"));
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| {
        // A closed pipe ends the program at its next line anyway.
        let _ = writeln!(out, "{line}");
        let _ = out.flush();
    };
    let sizes: &[usize] = match (figures, quick) {
        (true, _) => &[],
        (false, true) => &[100, 1_000],
        (false, false) => &[100, 1_000, 10_000, 50_000],
    };
    say(format!("placement of {TASKS} tasks on one core"));
    say("nodes   load                placements/s   plans/s        placed in     all placed in  loss of a node".into());
    for &nodes in sizes {
        for full in [false, true] {
            for load in [Load::plain(), Load::mixed()] {
                say(row(nodes, load, full));
            }
        }
    }
    let (large, huge) = if quick { (1_000, 5_000) } else { (10_000, 50_000) };
    let one = middle(|| place(large, Load::one_kind(), false, false));
    let mixed = middle(|| place(large, Load::mixed(), false, false));
    let mixed_huge = middle(|| place(huge, Load::mixed(), false, false));
    let loads = [(large, Load::one_kind()), (large, Load::mixed()), (huge, Load::mixed())];
    for (nodes, load) in loads.into_iter().filter(|_| checked) {
        let placed = place(nodes, load, false, true);
        say(format!("checked: {} placements of {} on {nodes} nodes", placed.placements, load.name));
    }
    let bytes = bytes_per_pending_task();
    say(format!(
        "{{\"bench\":\"placement\",\"one_kind_10k_per_s\":{one:.0},\"mixed_10k_per_s\":{mixed:.0},\
         \"mixed_50k_per_s\":{mixed_huge:.0},\"bytes_per_pending_task\":{bytes:.3}}}"
    ));
}

/// One line of the table.
fn row(nodes: usize, load: Load, full: bool) -> String {
    let mut cluster = Cluster::new(nodes, load, false);
    if full {
        cluster.fill(95);
    }
    cluster.submit(TASKS);
    let placed = cluster.place();
    let loss = cluster.lose_a_node();
    let all = if full { "-".to_owned() } else { ms(cluster.place_rest()) };
    let name = format!("{}{}", load.name, if full { ", 95 % full" } else { "" });
    format!(
        "{nodes:<7} {name:<22} {:>11.0}    {:>9.0}   {:>12}  {all:>13}  {:>10} for {} tasks",
        placed.per_second(),
        placed.plans_per_second(),
        ms(placed.time),
        ms(loss.time),
        loss.placements,
    )
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn place(nodes: usize, load: Load, full: bool, check: bool) -> Placed {
    let mut cluster = Cluster::new(nodes, load, check);
    if full {
        cluster.fill(95);
    }
    cluster.submit(TASKS);
    let placed = cluster.place();
    cluster.recount();
    placed
}

/// The middle of some rounds, placements a second.
fn middle(mut round: impl FnMut() -> Placed) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round().per_second()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// What ten million queued tasks of one array take of the heap, a task.
fn bytes_per_pending_task() -> f64 {
    const QUEUED: u32 = 10_000_000;
    let mut cluster = Cluster::new(0, Load::one_kind(), false);
    let before = heap::live();
    cluster.submit(QUEUED);
    cluster.place();
    let after = heap::live();
    after.saturating_sub(before) as f64 / f64::from(QUEUED)
}
