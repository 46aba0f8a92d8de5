//! Unrest: a cluster with all kinds of jobs, faults from a seed, and a check of what clients saw and what is stored.
//!
//! Real processes are not deterministic: a seed gives the same faults and the same requests, not the same history.

mod audit;
pub mod check;
mod clients;
mod collect;
mod damage;
mod exhaust;
pub mod history;
mod hour;
mod inject;
mod jobs;
mod marks;
mod report;
pub mod rng;
pub mod schedule;
mod workload;

use std::{
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{runtime::Runtime, sync::watch};

use crate::{
    cluster::{Cluster, Options, Store},
    faked_clock::FakedClock,
    skip,
};
use audit::Auditor;
use clients::Clients;
use history::Cron;
use hour::Hours;
use inject::{Injector, wall_clock};
use marks::Marks;
pub use report::Report;
use workload::Workload;

/// The members of the etcd.
pub const ETCD_MEMBERS: usize = 3;
/// The replicas of the control plane.
pub const REPLICAS: usize = 3;
/// The executors.
pub const EXECUTORS: usize = 5;

/// For how long the workload goes on after the last fault: long enough for the control plane to be at work again, and for
/// some instants of the cron job that have to fire then.
const CALM: Duration = Duration::from_secs(30);
/// How long a cron job may take to fire for the first time.
const CRON_STARTS: Duration = Duration::from_secs(4);

/// What the disk of the blobs and that of each executor have room for.
const DISK_MIB: u32 = 64;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Unrest {
    /// Decides the faults and the requests.
    pub seed: u64,
    /// For how long there are faults.
    pub lasts: Duration,
    /// A directory that gets all logs; it must exist.
    pub logs: Option<PathBuf>,
}

impl Unrest {
    /// Does it on a cluster of its own.
    ///
    /// # Errors
    /// Something that has to work for the harness itself does not; broken promises are in the report.
    pub fn run(&self) -> Result<Report> {
        let marks_dir = tempfile::Builder::new().prefix("weir-marks-").tempdir().context("make a directory")?;
        let marks = Marks::watch(marks_dir.path(), EXECUTORS)?;
        let hours = FakedClock::make()?.map(Hours::new).transpose()?;
        if hours.is_none() {
            skip::note("chaos: wall clocks", "the Debian package faketime is not installed");
        }
        let mut cluster = Cluster::prepare(&Options {
            store: Store::Etcd,
            etcd_members: ETCD_MEMBERS,
            network: true,
            standbys: REPLICAS - 1,
            executors: EXECUTORS,
            offer: Some(("2", "1GiB")),
            publish_own: vec![("marks".to_owned(), marks_dir.path().to_owned())],
            logs: self.logs.clone(),
            environment: hours.as_ref().map(Hours::environment).unwrap_or_default(),
            ..Options::default()
        })?;
        if !cluster.mount_disks(DISK_MIB)? {
            skip::note("chaos: full disks", "mounting a small file system is not allowed here");
        }
        cluster.start_all()?;
        let clients = Clients::of(&cluster, REPLICAS)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.context("start the clients")?;
        runtime.block_on(jobs::start(&clients, &marks))?;
        let workload = Workload::new(&clients, &marks, self.seed);
        self.go(&mut cluster, hours, &workload, &runtime)
    }

    fn go(
        &self,
        cluster: &mut Cluster,
        hours: Option<Hours>,
        workload: &Workload<'_>,
        runtime: &Runtime,
    ) -> Result<Report> {
        let members = (0..ETCD_MEMBERS).map(|member| cluster.member_mut(member).url());
        let auditor = Auditor::start(runtime, members.collect());
        let begun = Instant::now();
        let since = wall_clock() + CRON_STARTS;
        let (stop, stopped) = watch::channel(false);
        let mut injector = Injector::new(cluster, hours, workload.clients, runtime, &auditor);
        let faults = &mut injector;
        let until = std::thread::scope(move |threads| {
            // `stop` belongs here: were it outside, a panic would leave the clients at work for ever.
            // Dropped when the workload ends by itself, which it only does on an error.
            let (alive, over) = mpsc::channel::<()>();
            let work = threads.spawn(move || {
                let _alive = alive;
                runtime.block_on(workload.run(&stopped))
            });
            let plan = schedule::plan(self.seed, self.lasts);
            let followed = faults.follow(&plan, &over).and_then(|()| calm(&over));
            let until = wall_clock();
            stop.send_replace(true);
            work.join().expect("clients do not panic")?;
            followed.map(|()| until)
        })?;
        let until_ms = injector.shown_ms(until)?;
        let counts = runtime.block_on(async {
            workload.settle(until_ms).await?;
            workload.collect(until_ms).await
        });
        injector.note_crashes();
        counts?;
        let (audit, mut history) = (auditor.audit(), workload.history());
        history.recorded = (!audit.incomplete).then_some(audit.recorded);
        history.crashed = injector.crashed;
        history.disturbed = injector.disturbed;
        history.clock = injector.hours.map(|hours| hours.settings).unwrap_or_default();
        history.cron = Cron { job: jobs::CRON.to_owned(), period_ms: jobs::CRON_PERIOD_MS, since, until };
        Ok(Report::new(self.seed, begun.elapsed(), injector.counts, &history))
    }
}

fn calm(over: &Receiver<()>) -> Result<()> {
    let silent = over.recv_timeout(CALM) == Err(RecvTimeoutError::Timeout);
    silent.then_some(()).context("the clients gave up")
}
