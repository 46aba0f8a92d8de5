//! What the tests of this crate share: a real etcd, certificates, records.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};
use weir_link::issue::{ClusterCa, Validity};
use weir_wire::{
    id::{ClusterName, Digest, JobName, JobVersion, Namespace},
    kind::{Execution, Kind, Tier},
    placement::Placement,
    resources::Resources,
    units::{CpuMillis, Fuel, MemBytes},
    work::{Budgets, Capabilities, JobRecord, RetryPolicy, RunRecord},
};

use crate::status::{ClusterStatus, Health, StatusBoard};

/// How long a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Fails the test when `what` takes too long.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

pub(crate) fn cluster() -> ClusterName {
    "test".parse().unwrap()
}

pub(crate) fn board() -> StatusBoard {
    StatusBoard::new(ClusterStatus {
        cluster: cluster(),
        leading: false,
        term: None,
        leading_since: None,
        leader: None,
        leaderless_since_ms: None,
        store_kind: weir_api::StoreKind::Etcd,
        store_version: None,
        store: Health::Unknown,
        store_full: false,
        held_back: None,
    })
}

/// An etcd of one member, which may be stopped and started again. It dies with this value.
pub(crate) struct Etcd {
    client: SocketAddr,
    peer: SocketAddr,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Etcd {
    /// Starts etcd; without the program, says that the test is skipped and returns nothing.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        let mut etcd = Self::prepare(test)?;
        etcd.run().await;
        Some(etcd)
    }

    /// As [`start`](Self::start), but leaves it stopped.
    pub(crate) fn prepare(test: &str) -> Option<Self> {
        if !installed() {
            skip(test, "the program etcd is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (client, peer) = (free_address(), free_address());
        Some(Self { client, peer, folder, child: None })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.client)
    }

    /// Starts it and waits until it serves.
    pub(crate) async fn run(&mut self) {
        let (client, peer) = (self.url(), format!("http://{}", self.peer));
        let mut child = Command::new("etcd")
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--name", "one", "--logger", "zap", "--log-outputs", "stderr"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                // The words differ between versions and loggers.
                if ["serving client traffic", "ready to serve client", "serving insecure client"]
                    .iter()
                    .any(|words| line.contains(words))
                {
                    return;
                }
            }
            panic!("etcd ended before it served");
        };
        within("starting etcd", ready).await;
        // A full pipe would stop etcd.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.child = Some(child);
    }

    /// Kills it; its data stays.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }
}

fn installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("etcd").is_file())
}

/// Says that a test is skipped, where people see it and where skipped tests are counted.
pub(crate) fn skip(test: &str, why: &str) {
    println!("SKIPPED: {test}: {why}");
    if let Some(path) = std::env::var_os("WEIR_SKIP_LOG") {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(PathBuf::from(path));
        writeln!(log.unwrap(), "SKIPPED: {test}: {why}").unwrap();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Certificates of a control replica in a directory, and the authority for others.
pub(crate) fn identity(directory: &Path) -> ClusterCa {
    let validity = Validity::starting(SystemTime::now(), Duration::from_secs(3600));
    let (ca, issued) = ClusterCa::generate(cluster(), validity).unwrap();
    let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let control = ca.issue_control(&hosts, validity).unwrap();
    let https = ca.issue_https(&hosts, validity).unwrap();
    std::fs::create_dir_all(directory).unwrap();
    for (name, text) in [
        ("ca.pem", &issued.certificate_pem),
        ("control.pem", &control.certificate_pem),
        ("control.key", &control.key_pem),
        ("https.pem", &https.certificate_pem),
        ("https.key", &https.key_pem),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    ca
}

/// A job that any node can run.
pub(crate) fn job(name: &str) -> JobRecord {
    JobRecord {
        kind: Kind::Batch,
        tier: Tier::Preemptible,
        max_failed: None,
        start_deadline: None,
        after: Vec::new(),
        input_from: None,
        execution: Execution::default(),
        namespace: namespace(),
        job: name.parse().unwrap(),
        version: JobVersion(0),
        module: Digest([7; 32]),
        args: Vec::new(),
        env: Vec::new(),
        budgets: Budgets {
            resources: Resources { cpu: CpuMillis(100), memory: MemBytes(1 << 20) },
            fuel: Fuel(1_000_000),
            timeout: Some(Duration::from_secs(30)),
            output: 1 << 20,
        },
        dirs: Vec::new(),
        capabilities: Capabilities::NONE,
        count: 3,
        max_running: 0,
        priority: 50,
        retry: RetryPolicy {
            attempts: 1,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(1),
            retry_deterministic: false,
        },
        placement: Placement::default(),
        created_ms: 1,
        message: String::new(),
    }
}

pub(crate) fn namespace() -> Namespace {
    "default".parse().unwrap()
}

pub(crate) fn job_name(name: &str) -> JobName {
    name.parse().unwrap()
}

/// A run of that job.
pub(crate) fn run(name: &str, count: u32) -> RunRecord {
    RunRecord {
        meta: Vec::new(),
        after: Vec::new(),
        input_from: None,
        scheduled_ms: None,
        namespace: namespace(),
        job: job_name(name),
        version: JobVersion(1),
        count,
        args: None,
        input: weir_wire::work::Input::None,
        submitted_ms: 1,
    }
}
