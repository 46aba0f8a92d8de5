//! A cluster of real processes under measurement, reached through the HTTP API.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::interval;
use weir_api::{Run, RunQuery, RunRequest, Until, spec::JobSpec};
use weir_client::{Client, JobWrite};
use weir_e2e::{Cluster, Options, Store, daemon::cpu_seconds};

/// A client of a cluster that knows these addresses.
pub(crate) fn client(cluster: &Cluster, addresses: Vec<String>) -> Result<Client> {
    let (token, ca_pem) = (Some(cluster.token().to_owned()), Some(cluster.ca_pem()?));
    Ok(Client::new(weir_client::Options { addresses, token, ca_pem })?)
}

/// The namespace of everything here.
pub(crate) const NAMESPACE: &str = "default";

/// How exactly the end of many runs is seen.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A cluster with one executor on real etcd.
pub(crate) struct System {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
}

impl System {
    /// Starts etcd, one control plane and one executor.
    pub(crate) fn start() -> Result<Self> {
        Self::with(&Options { executors: 1, ..Options::default() })
    }

    /// Starts etcd and what the options say.
    pub(crate) fn with(options: &Options) -> Result<Self> {
        let cluster = Cluster::start(&Options { store: Store::Etcd, ..options.clone() })?;
        let client = client(&cluster, (0..=options.standbys).map(|replica| cluster.address_of(replica)).collect())?;
        Ok(Self { cluster, client })
    }

    /// Uploads a module and creates a job of it; a task takes 0.05 cores and 16 MiB.
    pub(crate) async fn deploy(&self, job: &str, wasm: &[u8]) -> Result<()> {
        self.deploy_with(json!({ "name": job }), wasm).await
    }

    /// Uploads a module and creates a job of it with more to be said than its name.
    pub(crate) async fn deploy_with(&self, job: serde_json::Value, wasm: &[u8]) -> Result<()> {
        self.deploy_small(job, 0.05, wasm).await
    }

    /// As [`deploy_with`](Self::deploy_with); a task takes so many cores.
    pub(crate) async fn deploy_small(&self, mut job: serde_json::Value, cpu: f64, wasm: &[u8]) -> Result<()> {
        let hex: String = Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex}");
        self.client.put_module(&digest, wasm.to_vec()).await.context("upload the module")?;
        job["module"] = digest.as_str().into();
        let spec = json!({
            "job": job,
            "resources": { "cpu": cpu, "memory": "16MiB" },
        });
        let spec = JobSpec::from_value(&spec).context("check the job spec")?;
        self.client.put_job(NAMESPACE, &(&spec).into(), &JobWrite::default()).await.context("create the job")?;
        Ok(())
    }

    /// Starts a run of `count` tasks.
    pub(crate) async fn start_run(&self, job: &str, count: u32) -> Result<Run> {
        let request = RunRequest { job: job.to_owned(), count: Some(count), ..RunRequest::default() };
        self.client.start_run(NAMESPACE, &request, None).await.context("start the run")
    }

    /// Waits for the end of a run, all of whose tasks must succeed.
    pub(crate) async fn finish(&self, run: &str) -> Result<Run> {
        let query = RunQuery { wait: Some("30s".to_owned()), until: Some(Until::Terminal), ..RunQuery::default() };
        loop {
            let run = self.client.run(NAMESPACE, run, &query).await.context("wait for the run")?;
            if run.state.is_terminal() {
                ensure!(run.tasks.succeeded == u64::from(run.count), "tasks did not succeed: {:?}", run.tasks);
                return Ok(run);
            }
        }
    }

    /// Waits until no run is open, looking every [`LOOK_EVERY`]; other than asking for each run, this costs nothing that
    /// would show in what is measured.
    pub(crate) async fn quiet(&self) -> Result<()> {
        let mut look = interval(LOOK_EVERY);
        loop {
            look.tick().await;
            if self
                .client
                .cluster()
                .await
                .context("ask what is open")?
                .totals
                .is_some_and(|totals| totals.open_runs == 0)
            {
                return Ok(());
            }
        }
    }

    /// Bytes of memory that the first control process has resident.
    pub(crate) fn control_rss_bytes(&mut self) -> Result<u64> {
        rss_bytes(self.cluster.control_mut().pid())
    }

    /// CPU seconds of each process so far, and of all others on the machine, which may be shared.
    pub(crate) fn cpu(&self) -> Result<BTreeMap<&'static str, f64>> {
        let mut seconds = BTreeMap::new();
        for (name, pid) in self.cluster.pids() {
            *seconds.entry(name).or_insert(0.0) += cpu_seconds(pid)?;
        }
        seconds.insert("client", cpu_seconds(std::process::id())?);
        let ours: f64 = seconds.values().sum();
        seconds.insert("everything else", machine_cpu_seconds()? - ours);
        Ok(seconds)
    }
}

/// How many cores each process kept busy between two readings: what bounds a figure.
pub(crate) fn bound_by(
    before: &BTreeMap<&'static str, f64>,
    after: &BTreeMap<&'static str, f64>,
    wall_s: f64,
) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let mut used: Vec<(&str, f64)> = after
        .iter()
        .map(|(name, after)| (*name, (after - before.get(name).copied().unwrap_or(0.0)) / wall_s))
        .collect();
    used.sort_by(|left, right| right.1.total_cmp(&left.1));
    let busy: f64 = used.iter().map(|(_, used)| used).sum();
    let shares: Vec<String> = used.iter().map(|(name, used)| format!("{name} {used:.2}")).collect();
    let verdict = if busy > cores * 0.85 { "the cores" } else { "waiting between the processes" };
    format!("{verdict}: {busy:.2} of {cores} cores busy ({})", shares.join(", "))
}

/// CPU seconds of all processes and of the kernel since the machine was started.
fn machine_cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|ticks| ticks.parse().ok()).collect();
    // user, nice, system, idle, waiting for disks, interrupts
    let busy: f64 =
        ticks.iter().enumerate().filter(|(at, _)| matches!(at, 0..=2 | 5..=6)).map(|(_, ticks)| ticks).sum();
    Ok(busy / 100.0)
}

fn rss_bytes(pid: u32) -> Result<u64> {
    let path = std::path::Path::new("/proc").join(pid.to_string()).join("status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in the status")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().context("read VmRSS")?;
    Ok(kib << 10)
}
