//! The end: waiting until everything accepted has ended, and reading all that is stored.

use anyhow::{Result, ensure};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};
use weir_client::api::{Page, PageQuery, Run};

use super::{
    EXECUTORS,
    history::{Lasting, Stored},
    jobs::{BATCHES, CRON, CRON_PERIOD_MS, FUNCTION, KEEPERS, KEY, NAMESPACE, SERVICE, SERVICE_TASKS, SYSTEM},
    workload::Workload,
};

/// How long what was accepted may take to end once nothing is broken: a node's lease with all margins is 21 s, the rest is
/// for two cores that are busy with everything.
const LIVENESS: Duration = Duration::from_secs(150);
/// How often it is asked whether everything has ended.
const ASK_EVERY: Duration = Duration::from_millis(500);

impl Workload<'_> {
    /// Waits until all runs have ended that were submitted, or fired up to an instant, and until services and system jobs
    /// have their tasks; what is not so in time is left to the checker.
    pub(super) async fn settle(&self, until_ms: u64) -> Result<()> {
        let deadline = Instant::now() + LIVENESS;
        let mut pace = interval(ASK_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < deadline {
            pace.tick().await;
            let runs = self.finite_runs(until_ms).await?;
            let lasting = self.lasting().await?;
            if runs.iter().all(|run| run.state.is_terminal())
                && lasting.iter().all(|lasting| lasting.running == lasting.wanted)
            {
                break;
            }
        }
        Ok(())
    }

    /// Reads everything into the history.
    pub(super) async fn collect(&self, until_ms: u64) -> Result<()> {
        for run in self.finite_runs(until_ms).await? {
            let mut results = Vec::new();
            let read = async |client: &weir_client::Client| {
                let (mut lines, mut results) = (client.run_results(NAMESPACE, &run.id).await?, Vec::new());
                while let Some(line) = lines.next().await? {
                    results.push((line.index, line.bytes().unwrap_or_default()));
                }
                Ok(results)
            };
            results.extend(self.clients.insist(&run.id, read).await?);
            let counts = &run.tasks;
            let stored = Stored {
                job: run.job.clone(),
                key: run.meta.get(KEY).cloned(),
                ended: run.state.is_terminal(),
                count: run.count,
                ended_count: counts.succeeded + counts.failed + counts.killed + counts.lost + counts.rejected,
                scheduled_ms: run.scheduled_ms,
                tasks: self.ended_tasks(&run.id).await?,
                results,
            };
            self.history().stored.insert(run.id, stored);
        }
        let lasting = self.lasting().await?;
        let mut history = self.history();
        history.lasting = lasting;
        history.steps = self.marks.steps();
        Ok(())
    }

    /// All runs that have to end; the newest firings of the cron job may still go on.
    async fn finite_runs(&self, until_ms: u64) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        for (job, _) in BATCHES {
            runs.extend(self.runs_of(job).await?);
        }
        runs.extend(self.runs_of(FUNCTION).await?);
        let firings = self.runs_of(CRON).await?;
        // One that fires without end would also be read without end.
        let most = 2 * (self.begun.elapsed().as_secs() * 1_000 / CRON_PERIOD_MS) + 10;
        ensure!(
            firings.len() as u64 <= most,
            "{CRON} was fired {} times, with instants for half of {most}",
            firings.len()
        );
        runs.extend(firings.into_iter().filter(|run| run.scheduled_ms.is_none_or(|instant| instant < until_ms)));
        Ok(runs)
    }

    async fn runs_of(&self, job: &str) -> Result<Vec<Run>> {
        let mut query = PageQuery { job: Some(job.to_owned()), limit: Some(1_000), ..PageQuery::default() };
        let mut runs = Vec::new();
        loop {
            let page: Page<Run> = self.clients.insist(job, async |client| client.runs(NAMESPACE, &query).await).await?;
            runs.extend(page.items);
            query.cursor = page.next;
            if query.cursor.is_none() {
                return Ok(runs);
            }
        }
    }

    /// What services and system jobs have.
    async fn lasting(&self) -> Result<Vec<Lasting>> {
        let mut lasting = Vec::new();
        let others = [(SERVICE, u64::from(SERVICE_TASKS)), (SYSTEM, EXECUTORS as u64)];
        for (job, wanted) in KEEPERS.map(|keeper| (keeper, 1)).into_iter().chain(others) {
            let running = self.runs_of(job).await?.iter().map(|run| run.tasks.running).sum();
            lasting.push(Lasting { job: job.to_owned(), wanted, running });
        }
        Ok(lasting)
    }
}
