use weir_api::{QuotaLimits, units};

use crate::{
    args::{QuotaCommand, QuotaSetArgs},
    exit::Exit,
    failure::{Failure, Result},
    output::terminal,
    session::{Session, all_pages},
};

/// `wctl quota`.
pub(crate) async fn quota(session: &Session, command: &QuotaCommand) -> Result<Exit> {
    match command {
        QuotaCommand::List => {
            session.out.list(&all_pages(async |page| session.client.quotas(page).await).await?)?;
        }
        QuotaCommand::Set(args) => {
            session.out.object(&session.client.set_quota(&args.namespace, &limits(args)?).await?)?;
        }
        QuotaCommand::Rm { namespace } => {
            session.client.remove_quota(namespace).await?;
            terminal::note(&format!("namespace {namespace} has no quota and the usual weight"));
        }
    }
    Ok(Exit::Ok)
}

fn limits(args: &QuotaSetArgs) -> Result<QuotaLimits> {
    if args.cpu.is_none() && args.memory.is_none() && args.running.is_none() && args.weight.is_none() {
        let hint = format!("give --cpu, --memory, --running or --weight; `wctl quota rm {}` lifts it", args.namespace);
        return Err(Failure::usage("the quota has no value").hint(hint));
    }
    let cpu = args
        .cpu
        .as_deref()
        .map(|text| units::parse_cpu_milli(text).map_err(|error| Failure::usage(format!("--cpu {text}: {error}"))));
    let memory = args
        .memory
        .as_deref()
        .map(|text| units::parse_size(text).map_err(|error| Failure::usage(format!("--memory {text}: {error}"))));
    Ok(QuotaLimits {
        cpu_milli: cpu.transpose()?,
        memory_bytes: memory.transpose()?,
        running: args.running,
        weight: args.weight.unwrap_or(QuotaLimits::default().weight),
    })
}
