//! An open loop: calls start when they are due, whether or not earlier ones have ended. A call counts from when it was due,
//! so that a system that holds up its callers does not hide that.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{runtime::Handle, sync::mpsc};
use weir_api::DispatchRequest;
use weir_client::{Client, Dispatched};

use crate::{null, report::percentile, system::NAMESPACE};

/// How long a rate is kept up, and how many calls there are at least: the slowest of a thousand is one call of them.
const DURATION: Duration = Duration::from_secs(6);
const CALLS_MIN: u32 = 1000;
/// More calls than this in flight mean that the rate is too much: no further ones are started.
const IN_FLIGHT_MAX: u32 = 5000;
/// How long after the last arrival the last result may come.
const LAG_MAX: Duration = Duration::from_millis(500);

/// What became of one rate.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    calls: u32,
    refused: u32,
    cut_off: bool,
    lag: Duration,
}

impl Row {
    /// Whether the calls ended as fast as they came.
    pub(super) fn is_sustained(&self) -> bool {
        self.refused == 0 && !self.cut_off && self.lag <= LAG_MAX
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms", self.p50_ms, self.p99_ms, self.p999_ms)?;
        write!(f, " of {} calls", self.calls)?;
        if !self.is_sustained() {
            let lag_s = self.lag.as_secs_f64();
            write!(f, "; not sustained: {} refused, the last one {lag_s:.1} s late", self.refused)?;
        }
        Ok(())
    }
}

/// Calls a few times, one after the other.
pub(super) async fn warm_up(client: &Client, function: &str, calls: u32) -> Result<()> {
    for _ in 0..calls {
        call(client, function).await?;
    }
    Ok(())
}

/// Keeps up a rate, calls per second, and waits for all results.
pub(super) async fn at_rate(client: &Arc<Client>, function: &'static str, rate: u32) -> Result<Row> {
    let calls = CALLS_MIN.max(rate * u32::try_from(DURATION.as_secs()).unwrap_or(u32::MAX));
    let (ended, mut outcomes) = mpsc::unbounded_channel();
    let in_flight = Arc::new(AtomicU32::new(0));
    let arrivals = Arrivals { client: Arc::clone(client), function, rate, calls, in_flight, ended };
    let runtime = Handle::current();
    let arrivals = thread::spawn(move || arrivals.run(&runtime));
    let (mut latencies_ms, mut refused, mut first_error) = (Vec::new(), 0, None);
    while let Some(outcome) = outcomes.recv().await {
        match outcome {
            Ok(latency) => latencies_ms.push(latency.as_secs_f64() * 1e3),
            Err(error) => {
                refused += 1;
                first_error.get_or_insert(error);
            }
        }
    }
    let ended = Instant::now();
    let Ok((started, last)) = arrivals.join() else { bail!("the thread of the arrivals panicked") };
    let answered = u32::try_from(latencies_ms.len()).unwrap_or(u32::MAX);
    ensure!(answered + refused == started, "{started} calls and {answered} results, {refused} refused");
    if answered == 0 {
        return Err(first_error.context("there were no calls")?);
    }
    Ok(Row {
        p50_ms: percentile(&mut latencies_ms, 0.50),
        p99_ms: percentile(&mut latencies_ms, 0.99),
        p999_ms: percentile(&mut latencies_ms, 0.999),
        calls: started,
        refused,
        cut_off: started < calls,
        lag: ended.saturating_duration_since(last),
    })
}

/// Calls, each at its time.
struct Arrivals {
    client: Arc<Client>,
    function: &'static str,
    rate: u32,
    calls: u32,
    in_flight: Arc<AtomicU32>,
    ended: mpsc::UnboundedSender<Result<Duration>>,
}

impl Arrivals {
    /// Starts the calls; how many there were, and when the last one was due. On a thread of its own: the runtime's clock
    /// is as coarse as a call is long.
    fn run(self, runtime: &Handle) -> (u32, Instant) {
        let begin = Instant::now();
        let mut due = begin;
        for number in 0..self.calls {
            due = begin + Duration::from_secs(1) * number / self.rate;
            wait_until(due);
            if self.in_flight.fetch_add(1, Ordering::Relaxed) >= IN_FLIGHT_MAX {
                return (number, due);
            }
            let (client, function) = (Arc::clone(&self.client), self.function);
            let (in_flight, ended) = (Arc::clone(&self.in_flight), self.ended.clone());
            runtime.spawn(async move {
                let outcome = call(&client, function).await;
                in_flight.fetch_sub(1, Ordering::Relaxed);
                // Nobody listens only when the bench has failed.
                drop(ended.send(outcome.map(|()| due.elapsed())));
            });
        }
        (self.calls, due)
    }
}

fn wait_until(due: Instant) {
    while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// Calls the function, and checks what it returns.
async fn call(client: &Client, function: &str) -> Result<()> {
    let request = DispatchRequest::default();
    let dispatched = client.dispatch(NAMESPACE, function, &request, None, None).await.context("call a function")?;
    let Dispatched::Done { result, .. } = dispatched else { bail!("a call takes longer than a minute") };
    ensure!(result == null::expected(0).to_le_bytes(), "a call returned {result:?}");
    Ok(())
}
