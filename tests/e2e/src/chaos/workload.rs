//! What clients do meanwhile: submit, call, scale and look, and write down what they asked for and what they saw.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use tokio::{
    sync::watch,
    time::{Duration, Instant, MissedTickBehavior, interval},
};
use weir_client::{
    Dispatched,
    api::{Page, ScaleRequest, Task, TaskState, TasksQuery},
};

use super::{
    clients::Clients,
    history::{End, Expected, History, Seen, Submission, input},
    jobs::{self, BATCHES, FUNCTION, NAMESPACE, SERVICE},
    marks::Marks,
    rng::Rng,
};

/// Clients of each kind at one time.
const SUBMITTERS: usize = 2;
const CALLERS: usize = 2;
/// The pauses between two requests of one client: two cores have to do all of it beside all the daemons.
const SUBMIT_EVERY: Duration = Duration::from_millis(1_500);
const CALL_EVERY: Duration = Duration::from_millis(700);
const SCALE_EVERY: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(900);
/// Entries of one page of tasks: all of the largest batch.
const PAGE: u32 = 10_000;

/// Everything that the clients share.
#[derive(Debug)]
pub(super) struct Workload<'a> {
    pub(super) clients: &'a Clients,
    pub(super) marks: &'a Marks,
    pub(super) seed: u64,
    pub(super) begun: Instant,
    history: Mutex<History>,
}

impl<'a> Workload<'a> {
    pub(super) fn new(clients: &'a Clients, marks: &'a Marks, seed: u64) -> Self {
        Self { clients, marks, seed, begun: Instant::now(), history: Mutex::default() }
    }

    /// Does everything until it is told to stop; what was begun is brought to its end.
    pub(super) async fn run(&self, stop: &watch::Receiver<bool>) -> Result<()> {
        let submitters = (0..SUBMITTERS).map(|who| self.submit(who, stop.clone()));
        let callers = (0..CALLERS).map(|who| self.call(who, stop.clone()));
        let [first, second] = <[_; SUBMITTERS]>::try_from(submitters.collect::<Vec<_>>()).ok().expect("as many");
        let [third, fourth] = <[_; CALLERS]>::try_from(callers.collect::<Vec<_>>()).ok().expect("as many");
        tokio::try_join!(first, second, third, fourth, self.scale(stop.clone()), self.look(stop.clone()))?;
        Ok(())
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn submit(&self, who: usize, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut rng = Rng::new(self.seed, &format!("submitter {who}"));
        let mut pace = Pace::new(SUBMIT_EVERY);
        for number in 0_u32.. {
            if pace.is_over(&mut stop).await {
                break;
            }
            let (job, expected) = BATCHES[rng.index(BATCHES.len())];
            let count = if expected == Expected::Once { rng.count(1, 4) } else { rng.count(1, 60) };
            let (key, job) = (format!("{job}-{who}-{number}"), job.to_owned());
            self.submit_one(&key, Submission { job, count, expected, answers: Vec::new(), result: None }).await?;
        }
        Ok(())
    }

    async fn submit_one(&self, key: &str, submission: Submission) -> Result<()> {
        if submission.expected == Expected::Once {
            for index in 0..submission.count {
                self.marks.make(&input(key, index))?;
            }
        }
        let request = jobs::batch(self.clients, key, &submission).await?;
        self.history().submissions.insert(key.to_owned(), submission);
        let send = async || {
            let answer =
                self.clients.insist(key, async |client| client.start_run(NAMESPACE, &request, Some(key)).await);
            let run = answer.await?.id;
            self.answered(key, run, None);
            anyhow::Ok(())
        };
        send().await?;
        // One that has an answer and asks again is told the same.
        send().await
    }

    async fn call(&self, who: usize, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut pace = Pace::new(CALL_EVERY);
        for number in 0_u32.. {
            if pace.is_over(&mut stop).await {
                break;
            }
            let key = format!("{FUNCTION}-{who}-{number}");
            let submission = Submission {
                job: FUNCTION.to_owned(),
                count: 1,
                expected: Expected::Echo,
                answers: Vec::new(),
                result: None,
            };
            self.history().submissions.insert(key.clone(), submission);
            let request = jobs::call(&key);
            // Whoever is told that it goes on calls again with the same key, and waits for the same call.
            loop {
                let dispatch = async |client: &weir_client::Client| {
                    client.dispatch(NAMESPACE, FUNCTION, &request, Some(&key), Some("5s")).await
                };
                match self.clients.insist(&key, dispatch).await? {
                    Dispatched::Done { run, result } => {
                        self.answered(&key, run, Some(result));
                        break;
                    }
                    Dispatched::Going(run) => self.answered(&key, run.id, None),
                }
            }
        }
        Ok(())
    }

    fn answered(&self, key: &str, run: String, result: Option<Vec<u8>>) {
        if let Some(submission) = self.history().submissions.get_mut(key) {
            submission.answers.push(run);
            submission.result = result.or(submission.result.take());
        }
    }

    async fn scale(&self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut rng = Rng::new(self.seed, "scale");
        let mut pace = Pace::new(SCALE_EVERY);
        while !pace.is_over(&mut stop).await {
            let request = ScaleRequest { count: rng.count(1, 5), message: None };
            self.clients.insist("scale", async |client| client.scale_job(NAMESPACE, SERVICE, &request).await).await?;
        }
        let request = ScaleRequest { count: jobs::SERVICE_TASKS, message: None };
        self.clients.insist("scale", async |client| client.scale_job(NAMESPACE, SERVICE, &request).await).await?;
        Ok(())
    }

    /// Reads runs that exist, and writes down which of their tasks have ended how.
    async fn look(&self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut rng = Rng::new(self.seed, "look");
        let mut pace = Pace::new(LOOK_EVERY);
        while !pace.is_over(&mut stop).await {
            let run = {
                let history = self.history();
                let known: Vec<&String> =
                    history.submissions.values().filter_map(|submission| submission.answers.first()).collect();
                if known.is_empty() {
                    continue;
                }
                known[rng.index(known.len())].clone()
            };
            let seen = self.ended_tasks(&run).await?;
            self.history().seen.extend(seen.into_iter().map(|(index, end)| Seen { run: run.clone(), index, end }));
        }
        Ok(())
    }

    /// The tasks of a run that have ended.
    pub(super) async fn ended_tasks(&self, run: &str) -> Result<Vec<(u32, End)>> {
        let query = TasksQuery { limit: Some(PAGE), ..TasksQuery::default() };
        let read = async |client: &weir_client::Client| client.tasks(NAMESPACE, run, &query).await;
        let page: Page<Task> = self.clients.insist(run, read).await?;
        Ok(page.items.iter().filter_map(|task| Some((task.index, end_of(task.state)?))).collect())
    }
}

fn end_of(state: TaskState) -> Option<End> {
    match state {
        TaskState::Succeeded => Some(End::Succeeded),
        TaskState::Failed => Some(End::Failed),
        TaskState::Lost => Some(End::Lost),
        TaskState::Killed | TaskState::Rejected => Some(End::Other),
        TaskState::Pending | TaskState::Assigned | TaskState::Running | TaskState::Stopping | TaskState::Unknown => {
            None
        }
    }
}

/// The rhythm of a client, which ends when all are told to stop.
#[derive(Debug)]
struct Pace {
    ticks: tokio::time::Interval,
}

impl Pace {
    fn new(every: Duration) -> Self {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks }
    }

    /// Waits for its turn; true when there is none any more.
    async fn is_over(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => true,
            _ = self.ticks.tick() => false,
        }
    }
}
