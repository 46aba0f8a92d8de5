//! The commands, one file a noun or verb.

mod cluster;
mod cron;
mod deploy;
mod init;
mod job;
#[cfg(feature = "dev")]
mod local;
mod logs;
mod module;
mod namespace;
mod node;
mod quota;
mod run;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "dev")]
mod snapshot;
mod status;
mod stop;
mod task;
mod version;
mod wait;

use clap::CommandFactory as _;

#[cfg(feature = "dev")]
use crate::args::SnapshotCommand;
use crate::{
    args::{Cli, ClusterCommand, Command},
    exit::Exit,
    failure::Result,
    output::{Out, write_stdout},
    session::{Session, block_on},
};

/// Runs the command that was asked for.
pub(crate) fn dispatch(cli: Cli) -> Result<Exit> {
    let global = cli.global;
    let open = || Session::open(&global);
    match cli.command {
        #[cfg(feature = "dev")]
        Command::Dev(args) => crate::dev::start(&args, global.verbose),
        Command::Deploy(args) => block_on(async { deploy::deploy(&open()?, &args).await }),
        #[cfg(feature = "dev")]
        Command::Run(args) if args.local => local::run(&args),
        Command::Run(args) => block_on(async { run::run(&open()?, &args).await }),
        Command::Logs(args) => block_on(async { logs::logs(&open()?, &args).await }),
        Command::Status(args) => block_on(async { status::status(&open()?, &args).await }),
        Command::Wait(args) => block_on(async { wait::wait(&open()?, &args).await }),
        Command::Stop(args) => block_on(async { stop::stop(&open()?, &args).await }),
        Command::Module(command) => module::module(&global, command),
        Command::Job(command) => job::job(&global, &command),
        Command::Cron(command) => block_on(async { cron::cron(&open()?, &command).await }),
        Command::Task(command) => block_on(async { task::task(&open()?, &command).await }),
        Command::Node(command) => block_on(async { node::node(&open()?, &command).await }),
        Command::Namespace(command) => block_on(async { namespace::namespace(&open()?, &command).await }),
        Command::Quota(command) => block_on(async { quota::quota(&open()?, &command).await }),
        Command::Cluster(ClusterCommand::Init(args)) => init::init(&args),
        Command::Cluster(ClusterCommand::Info) => block_on(async { cluster::info(&open()?).await }),
        Command::Cluster(ClusterCommand::ReleaseBrake { message }) => {
            block_on(async { cluster::release_brake(&open()?, message).await })
        }
        Command::Cluster(ClusterCommand::Gc(args)) => block_on(async { cluster::gc(&open()?, args).await }),
        #[cfg(feature = "dev")]
        Command::Cluster(ClusterCommand::Snapshot(command)) => block_on(async {
            let out = Out::new(global.format);
            match command {
                SnapshotCommand::Save(args) => snapshot::save(&open()?, &args).await,
                SnapshotCommand::Inspect { file } => snapshot::inspect(out, &file).await,
                SnapshotCommand::Restore(args) => snapshot::restore(out, &args).await,
            }
        }),
        #[cfg(feature = "sim")]
        Command::Sim(args) => sim::sim(Out::new(global.format), &args),
        Command::Completion(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "wctl", &mut script);
            write_stdout(&script)?;
            Ok(Exit::Ok)
        }
        Command::Version => version::version(Out::new(global.format)),
    }
}
