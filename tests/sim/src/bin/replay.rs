//! What two public records in placing many tasks cost the control plane: `cargo xtask bench replay`.
//!
//! The last line is a JSON object. The exit code is 1 if a task has no outcome in the stored bytes.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use weir_sim::replay::{C1M, C2M, Cost, Shape, replay};

// As the control plane has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match replays() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // There is nobody to tell when stderr itself fails; the exit code still speaks.
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

fn replays() -> Result<(), String> {
    print("simulated, CPU time; not comparable with wall time on real nodes")?;
    let c1m = one("C1M", &C1M, 300)?;
    let c2m = one("C2M", &C2M, 1334)?;
    let seconds = |cost: &Cost| cost.total().as_secs_f64();
    print(&format!("{{\"c1m_s\":{:.3},\"c2m_s\":{:.3}}}", seconds(&c1m), seconds(&c2m)))
}

fn one(name: &str, shape: &Shape, nomad_s: u64) -> Result<Cost, String> {
    let cost = replay(shape).map_err(|error| error.to_string())?;
    if cost.recorded != shape.tasks() {
        return Err(format!("{name}: {} of {} tasks have an outcome in the store", cost.recorded, shape.tasks()));
    }
    let tasks = u32::try_from(shape.tasks()).map_err(|error| error.to_string())?;
    let Cost { core, encode, decode, sent, received, stored, .. } = cost;
    print(&format!(
        "\n{name}: {tasks} tasks in {} runs on {} nodes, all of them running at once ({})",
        shape.jobs, shape.nodes, cost.running_max
    ))?;
    for (part, time, what) in [
        ("scheduler", core, format!("{} transactions with {} KiB", stored.0, stored.1 >> 10)),
        ("encoding", encode, format!("{} messages to executors with {} KiB", sent.0, sent.1 >> 10)),
        ("decoding", decode, format!("{received} messages of executors")),
        ("total", cost.total(), format!("{:?} a task", cost.total() / tasks)),
        ("Nomad, wall time", core::time::Duration::from_secs(nomad_s), "on real machines".to_owned()),
    ] {
        print(&format!("  {part:<18}{:>9.3} s   {what}", time.as_secs_f64()))?;
    }
    print(&format!(
        "  on the virtual clock all had started after {:.2} s, and all outcomes were durable after {:.2} s",
        cost.all_started.as_secs_f64(),
        cost.all_durable.as_secs_f64()
    ))?;
    Ok(cost)
}

fn print(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|error| format!("cannot write to stdout: {error}"))
}
