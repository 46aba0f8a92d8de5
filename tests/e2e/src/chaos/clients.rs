//! Clients that do not give up: each call is sent to one replica after the other until one answers.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{MissedTickBehavior, interval, timeout};
use weir_client::{Client, Error, Options, api::Code};

use crate::cluster::Cluster;

/// A replica that is frozen takes a request and is silent.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// How often a call is sent while nobody answers.
const AGAIN: Duration = Duration::from_millis(250);
/// How long nobody may answer; far more than any fault lasts.
const SILENCE_MAX: Duration = Duration::from_secs(180);
/// How long a replica may take to say who leads.
const WHO_LEADS: Duration = Duration::from_secs(1);

/// One client for each replica.
#[derive(Debug)]
pub(super) struct Clients {
    of_replica: Vec<Client>,
    addresses: Vec<String>,
}

impl Clients {
    pub(super) fn of(cluster: &Cluster, replicas: usize) -> Result<Self> {
        let addresses: Vec<String> = (0..replicas).map(|replica| cluster.address_of(replica)).collect();
        let ca_pem = cluster.ca_pem()?;
        let client = |address: &String| {
            let (addresses, token) = (vec![address.clone()], Some(cluster.token().to_owned()));
            Client::new(Options { addresses, token, ca_pem: Some(ca_pem.clone()) })
        };
        let of_replica = addresses.iter().map(client).collect::<Result<_, _>>()?;
        Ok(Self { of_replica, addresses })
    }

    /// Sends a call, which must be one that may arrive twice, until it is answered. Nothing is asked for before it was
    /// acknowledged, so that an answer that something does not exist is a refusal like any other.
    pub(super) async fn insist<T>(&self, what: &str, call: impl AsyncFn(&Client) -> Result<T, Error>) -> Result<T> {
        let mut pace = interval(AGAIN);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = "no answer".to_owned();
        let insisted = timeout(SILENCE_MAX, async {
            for client in self.of_replica.iter().cycle() {
                pace.tick().await;
                match timeout(ANSWER_MAX, call(client)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) if is_passing(&error) => last = format!("{error:#}"),
                    Ok(Err(error)) => bail!("{what}: {error:#}"),
                    Err(_) => last = "no answer".to_owned(),
                }
            }
            bail!("{what}: there is no replica")
        });
        let answer = insisted.await;
        answer.unwrap_or_else(|_| bail!("{what}: nobody answered within {SILENCE_MAX:?}; the last error: {last}"))
    }

    /// The replica that leads, if one says so.
    pub(super) async fn leader(&self) -> Option<usize> {
        for client in &self.of_replica {
            let Ok(Ok(info)) = timeout(WHO_LEADS, client.cluster()).await else { continue };
            if let Some(leader) = info.leader {
                return self.addresses.iter().position(|address| *address == leader);
            }
        }
        None
    }
}

/// Whether an error says nothing about the request.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Connect { .. } | Error::Exchange { .. } => true,
        Error::Api(problem) => {
            matches!(problem.code, Code::NoLeader | Code::StoreUnavailable | Code::BackPressure | Code::BlobStore)
        }
        Error::Options(_) | Error::Answer { .. } => false,
    }
}
