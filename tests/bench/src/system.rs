//! A cluster of real processes under measurement, reached through the HTTP API.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};
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
    pub(crate) async fn deploy_with(&self, mut job: serde_json::Value, wasm: &[u8]) -> Result<()> {
        let hex: String = Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex}");
        self.client.put_module(&digest, wasm.to_vec()).await.context("upload the module")?;
        job["module"] = digest.as_str().into();
        let spec = json!({
            "job": job,
            "resources": { "cpu": 0.05, "memory": "16MiB" },
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

    /// CPU seconds of each process so far.
    pub(crate) fn cpu(&self) -> Result<BTreeMap<&'static str, f64>> {
        let mut seconds = BTreeMap::new();
        for (name, pid) in self.cluster.pids() {
            *seconds.entry(name).or_insert(0.0) += cpu_seconds(pid)?;
        }
        seconds.insert("client", cpu_seconds(std::process::id())?);
        Ok(seconds)
    }
}
