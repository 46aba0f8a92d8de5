//! The daemon as one call: everything opened in order, run, and closed.

use anyhow::Context;
use tokio::sync::{mpsc, oneshot, watch};
use weir_agent::{Agent, Config as AgentConfig, ExitReason, Stats};
use weir_link::{Connector, Identity};
use weir_sandbox::{Apart, CompileLimits, Sandbox, SandboxConfig};
use weir_wire::{message::WIRE_MAX, units::MemBytes};

use crate::{
    blob_cache::BlobCache,
    config::{Config, Isolation, Problem},
    data_dir::{self, DataDir},
    driver::{Driver, End},
    exit, machine, metrics,
    payloads::Payloads,
    sampler::Sampler,
    transfer::Transfers,
    uplink::Uplink,
};

/// Runs an executor until `shutdown` is ready and it has drained, or until it cannot go on.
///
/// It runs on a thread of its own with a current-thread runtime; the caller's runtime only waits. Dropping the future
/// leaves it running until `shutdown`.
///
/// [`Config::helper`] is started once more to compile modules and to run guests.
///
/// # Errors
/// A setting, identity, directory or machine that cannot be used; see [`crate::Error`] for those that a script may want
/// to tell apart.
pub async fn run(config: Config, shutdown: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
    config.validate()?;
    let (result, ended) = oneshot::channel();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(serve(config, shutdown)),
            Err(error) => Err(anyhow::Error::new(error).context("start the runtime")),
        };
        // Nobody waits when the caller was dropped.
        drop(result.send(outcome));
    };
    std::thread::Builder::new().name("weir-executor".to_owned()).spawn(work).context("start a thread")?;
    ended.await.context("the executor's thread panicked")?
}

async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let identity = Identity::load(&config.cert, &config.key, &config.ca)?;
    let name = identity.name().clone();
    let Some(node) = name.role.node().cloned() else {
        let why = format!("the certificate names {name}, which is no executor");
        return Err(Problem { key: "cert".to_owned(), why }.into());
    };
    let connector = Connector::new(&identity, weir_link::Config::default())?;
    // Also where the executor is a part of another program.
    rustix::thread::set_no_new_privs(true).context("give up new privileges")?;
    let data = DataDir::open(&config.data_dir)?;
    let boot = u64::from_le_bytes(data_dir::random().context("read random bytes")?);
    let agent = AgentConfig {
        boot,
        installation: data.installation,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        attributes: machine::attributes(&config),
        lanes_max: lanes(&config),
        wire_max: config.wire_max.unwrap_or(WIRE_MAX),
        ..AgentConfig::new(name.cluster.clone(), node, data.incarnation, machine::capacity(&config))
    };
    tracing::info!(
        node.id = %agent.node, cluster = %agent.cluster, incarnation = agent.incarnation.0,
        capacity = %agent.capacity, lanes = agent.lanes_max, "starting"
    );
    let cache = BlobCache::open(data.blobs(), config.blob_cache.0).context("open the blob cache")?;
    let (transfers, transferred) = Transfers::new(cache);
    let (sender, events) = mpsc::unbounded_channel();
    if !config.scratch {
        // Where there are some, the sandbox removes what earlier attempts have left.
        data.clear_scratch().context("remove the scratch directories of earlier attempts")?;
    }
    let sandbox = Sandbox::start(sandbox_config(&config, &data, &agent)?, sender).context("start the sandbox")?;
    let (stats, shown) = watch::channel(Stats::default());
    if let Some(addr) = config.metrics {
        metrics::serve(addr, shown).await?;
    }
    let driver = Driver {
        agent: Agent::new(agent, boot),
        sandbox,
        events,
        uplink: Uplink::start(connector, config.control, boot),
        transfers,
        transferred,
        sampler: Sampler::default(),
        payloads: Payloads::new(config.payload_memory.0),
        stats,
        grace: config.grace.0,
        stale_said: None,
    };
    match driver.run(shutdown).await {
        End::Exit(ExitReason::Drained) => Ok(()),
        End::Exit(reason) => Err(exit::Error::Ended(reason).into()),
        End::Link(error @ weir_link::Error::Refused { .. }) => Err(exit::Error::Certificate(error).into()),
        End::Link(error) => Err(anyhow::Error::new(error).context("join the cluster")),
        End::GraceOver => {
            tracing::warn!("ended before everything was recorded; the cluster runs those tasks again");
            Ok(())
        }
    }
}

fn workers(config: &Config) -> usize {
    config.workers.unwrap_or_else(|| {
        let offered =
            config.cpus.map_or(usize::MAX, |cpus| usize::try_from(cpus.0.div_ceil(1000)).unwrap_or(usize::MAX));
        offered.min(machine::cpus()).max(1)
    })
}

fn lanes(config: &Config) -> u32 {
    u32::try_from(workers(config)).unwrap_or(u32::MAX).saturating_mul(config.lanes_per_worker)
}

fn sandbox_config(config: &Config, data: &DataDir, agent: &AgentConfig) -> anyhow::Result<SandboxConfig> {
    Ok(SandboxConfig {
        workers: workers(config),
        lanes_per_worker: config.lanes_per_worker,
        memory_max: agent.capacity.memory,
        cache_dir: data.compiled(),
        cache_key: data.cache_key,
        cache_bytes_max: config.compile_cache.0,
        published: config.publish.clone(),
        published_writable: config.publish_writable.clone(),
        scratch: config.scratch.then(|| data.scratch()),
        isolation: match config.isolation {
            Isolation::InProcess => weir_sandbox::Isolation::InProcess,
            Isolation::Process => {
                let workers = workers(config);
                let number = config.worker_processes.unwrap_or(workers).min(workers);
                weir_sandbox::Isolation::Processes { number }
            }
        },
        apart: Apart::new(&config.apart).context("read the setting apart")?,
        network: config.network_policy()?,
        helper: config.helper.clone(),
        compile: CompileLimits {
            memory: MemBytes(config.compile_memory.0),
            cpu: config.compile_cpu.0,
            timeout: config.compile_timeout.0,
        },
    })
}
