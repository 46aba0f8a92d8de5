use std::{path::Path, time::Duration};

use weir_api::units::parse_duration_ms;
use weir_sim::whatif::{self, Cluster, Options, Policy, Workload, alibaba::Converter};

use crate::{
    args::{ConvertArgs, PlacementArg, SimArgs, SimCommand, TraceFormat},
    exit::Exit,
    failure::{Failure, Result},
    output::{Out, terminal, write_stdout},
};

/// `wctl sim`.
pub(crate) fn sim(out: Out, args: &SimArgs) -> Result<Exit> {
    if let Some(SimCommand::Convert(args)) = &args.command {
        return convert(args);
    }
    let (Some(nodes), Some(workload)) = (&args.nodes, &args.workload) else {
        return Err(Failure::usage("--nodes and --workload are required"));
    };
    let cluster = Cluster::read(nodes).map_err(|error| refused(nodes, error))?;
    let workload = Workload::read(workload).map_err(|error| refused(workload, error))?;
    let until = args.until.as_deref().map(|text| duration("until", text)).transpose()?;
    let policy = match args.placement {
        PlacementArg::Spread => Policy::Spread,
        PlacementArg::Pack => Policy::Pack,
    };
    let options =
        Options { seed: args.seed, policy, commit_delay: duration("commit-delay", &args.commit_delay)?, until };
    let simulate = |workload: &Workload, options: &Options| {
        whatif::simulate(&cluster, workload, options)
            .map_err(|error| Failure::new(Exit::Failed, "failed to simulate the workload").because(error))
    };
    let mut report = simulate(&workload, &options)?;
    if args.compare {
        let without = workload.without_revocable();
        if without.is_empty() {
            return Err(Failure::usage("there is nothing to compare with: all work is revocable"));
        }
        // Means over different times say nothing.
        let until = Some(Duration::from_secs_f64(report.simulated_s()));
        report = report.compared_with(&simulate(&without, &Options { until, ..options })?);
    }
    if out.is_for_people() {
        out.bytes(report.to_string().as_bytes())?;
    } else {
        out.value(&report, "report")?;
    }
    Ok(Exit::Ok)
}

fn convert(args: &ConvertArgs) -> Result<Exit> {
    let TraceFormat::Alibaba2018 = args.trace_format;
    let mut converter = Converter::new(Some(&args.largest_memory))
        .map_err(|error| Failure::usage(format!("failed to read --largest-memory: {error}")))?;
    for file in &args.files {
        converter.read(file).map_err(|error| refused(file, error))?;
    }
    let converted = converter
        .finish()
        .map_err(|error| Failure::new(Exit::Invalid, "failed to convert the trace").because(error))?;
    write_stdout(converted.text.as_bytes())?;
    converted.notes.iter().for_each(|note| terminal::note(note));
    Ok(Exit::Ok)
}

fn refused(file: &Path, error: whatif::Error) -> Failure {
    let exit = if file.exists() { Exit::Invalid } else { Exit::NotFound };
    Failure::new(exit, format!("failed to read {}", file.display())).because(error)
}

fn duration(name: &str, text: &str) -> Result<Duration> {
    let ms = parse_duration_ms(text).map_err(|error| Failure::usage(format!("failed to read --{name}: {error}")))?;
    Ok(Duration::from_millis(ms))
}
