//! What the executor counts, as Prometheus text, on a loopback address.

use std::{fmt::Write, net::SocketAddr, time::Duration};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use weir_agent::Stats;

/// Longest request head, bytes.
const REQUEST_LEN_MAX: usize = 8 << 10;
/// How long a client may take.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves `/metrics` and `/healthz` (200 while joined, 503 otherwise).
pub(crate) async fn serve(addr: SocketAddr, stats: watch::Receiver<Stats>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(addr).await.with_context(|| format!("listen on {addr} for metrics"))?;
    tracing::info!(metrics.addr = %listener.local_addr()?, "metrics");
    tokio::spawn(async move {
        // One client at a time: this is for one collector on the same machine.
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    let stats = *stats.borrow();
                    let answered = tokio::time::timeout(CLIENT_TIMEOUT, answer(client, &stats)).await;
                    tracing::trace!(?answered, "metrics asked for");
                }
                Err(error) => {
                    tracing::warn!(%error, "metrics client not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(())
}

async fn answer(mut client: TcpStream, stats: &Stats) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < REQUEST_LEN_MAX {
        let mut buffer = [0; 1024];
        let len = client.read(&mut buffer).await?;
        if len == 0 {
            break;
        }
        head.extend_from_slice(&buffer[..len]);
    }
    let target = head.split(|b| *b == b' ').nth(1).unwrap_or_default();
    let (status, body) = match target {
        b"/metrics" => ("200 OK", render(stats)),
        b"/healthz" if stats.connected => ("200 OK", "joined\n".to_owned()),
        b"/healthz" => ("503 Service Unavailable", "not joined\n".to_owned()),
        _ => ("404 Not Found", "there is /metrics and /healthz\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(body.as_bytes()).await?;
    client.shutdown().await
}

fn render(stats: &Stats) -> String {
    let totals = &stats.totals;
    let count = |value: usize| value as u64;
    let gauges = [
        ("connected", "Whether a leader has accepted this node.", u64::from(stats.connected)),
        ("term", "The highest term seen.", stats.term.0),
        ("cpu_capacity_millis", "CPU offered.", stats.capacity.cpu.0.into()),
        ("cpu_reserved_millis", "CPU reserved by held ranges.", stats.reserved.cpu.0.into()),
        ("memory_capacity_bytes", "Memory offered.", stats.capacity.memory.0),
        ("memory_reserved_bytes", "Memory reserved by held ranges.", stats.reserved.memory.0),
        ("ranges", "Ranges held.", count(stats.ranges)),
        ("ranges_parked", "Ranges that wait for room in the outbox.", count(stats.parked)),
        ("attempts_running", "Attempts in the sandbox.", count(stats.running)),
        ("outbox_outcomes", "Outcomes that are not acknowledged.", count(stats.outbox_len)),
        ("outbox_bytes", "Their estimated size.", count(stats.outbox_bytes)),
        ("runs", "Runs known.", count(stats.runs)),
        ("modules", "Modules known.", count(stats.modules)),
        (
            "fuel_per_second",
            "Fuel for each second of CPU time, over the attempts that ended lately; 0 if not known.",
            stats.fuel_per_s.unwrap_or(0),
        ),
    ];
    let counters = [
        ("grants_accepted_total", "Grants accepted.", totals.grants_accepted),
        ("grants_returned_total", "Grants given back whole.", totals.grants_returned),
        ("grants_stale_total", "Grants of a term that is over.", totals.grants_stale),
        ("tasks_returned_total", "Tasks given back without having been started.", totals.tasks_returned),
        ("attempts_started_total", "Attempts started.", totals.attempts_started),
        ("attempts_ended_total", "Attempts ended.", totals.attempts_ended),
        ("attempts_succeeded_total", "Attempts ended well.", totals.attempts_succeeded),
        ("reports_total", "Reports sent.", totals.reports),
        ("outcomes_resent_total", "Outcomes sent again after a reconnection.", totals.outcomes_resent),
        ("uploads_total", "Results and logs uploaded.", totals.uploads),
        ("leases_lapsed_total", "Leases that ended without a renewal.", totals.leases_lapsed),
        ("events_unexpected_total", "Events of the sandbox that fitted nothing held.", totals.events_unexpected),
    ];
    let mut text = String::new();
    let gauges = gauges.into_iter().map(|metric| ("gauge", metric));
    for (kind, (name, help, value)) in gauges.chain(counters.into_iter().map(|metric| ("counter", metric))) {
        let name = format!("weir_executor_{name}");
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}").unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(addr: SocketAddr, target: &str) -> String {
        let mut client = TcpStream::connect(addr).await.expect("connected");
        client.write_all(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).await.expect("sent");
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("received");
        text
    }

    #[tokio::test]
    async fn metrics_and_health_follow_the_state() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        drop(listener);
        let (state, stats) = watch::channel(Stats::default());
        serve(addr, stats).await.expect("listening");
        assert!(get(addr, "/healthz").await.starts_with("HTTP/1.1 503"));
        state.send_replace(Stats { connected: true, running: 3, ..Stats::default() });
        assert!(get(addr, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(get(addr, "/metrics").await.contains("\nweir_executor_attempts_running 3\n"));
        assert!(get(addr, "/other").await.starts_with("HTTP/1.1 404"));
    }
}
