//! The etcd store: the only place that names etcd-client.

mod access;
mod endpoint;
mod failure;
mod member;
mod version;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, GetOptions, KeyValue, LeaseGrantOptions, PutOptions, TlsOptions,
    TxnOp, TxnOpResponse,
};
use tokio::time::timeout;
use weir_wire::{
    codec::Document,
    id::{ClusterName, Seq, Term},
    key,
    record::{Head, Leader},
    txn::{CommitResult, Txn},
    units::Instant,
};

use self::{access::Credentials, failure::Failure, member::Member};
use super::{Campaign, Leadership, PageRange, Pair, StoreError};
use crate::{
    clock,
    config::EtcdConfig,
    status::{Part, StatusBoard},
};

/// How long a leader that fell silent keeps others out, seconds.
const LEASE_TTL_S: i64 = 3;
/// The part of a lease that is not relied on, in thousandths: clocks run at different speeds.
const LEASE_MARGIN_PERMILLE: u32 = 50;
/// How long a small request may take. A renewal that takes longer is given up, so that its late answer is never taken
/// for the answer to another.
const CALL_MAX: Duration = Duration::from_secs(2);
/// How long a transaction or a page may take: both move up to some MiB.
const BULK_CALL_MAX: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How often a silent connection is tested.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Longest page accepted, bytes.
const PAGE_BYTES_MAX: usize = 128 << 20;

/// A handle on an etcd cluster.
#[derive(Clone)]
pub(crate) struct EtcdStore {
    shared: Arc<Shared>,
}

struct Shared {
    prefix: String,
    members: Vec<Member>,
    /// The member that is asked; the next one after a failure.
    current: AtomicUsize,
    /// Whether the last call found this replica not let in.
    locked_out: AtomicBool,
    board: StatusBoard,
}

/// A lease and its length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    id: i64,
    ttl: Duration,
}

impl Lease {
    /// Until when it is certain to last when it was renewed by a request sent at `sent`.
    fn certain_until(&self, sent: Instant) -> Instant {
        sent + self.ttl * (1000 - LEASE_MARGIN_PERMILLE) / 1000
    }
}

impl EtcdStore {
    /// Reads certificates and password, and prepares the connections; nothing has to answer yet.
    ///
    /// # Errors
    /// [`StoreError::Settings`] for an endpoint that cannot be used, [`StoreError::Setting`] for a file.
    pub(crate) async fn new(
        settings: &EtcdConfig,
        cluster: &ClusterName,
        board: StatusBoard,
    ) -> Result<Self, StoreError> {
        let tls = settings.tls.as_ref().map(access::load_tls).transpose()?;
        let credentials = settings.login.as_ref().map(Credentials::load).transpose()?.map(Arc::new);
        let mut members = Vec::new();
        for url in &settings.endpoints {
            endpoint::check(url, settings.allow_plaintext)?;
            members.push(Member::new(url, tls.as_ref(), credentials.clone()).await?);
        }
        if members.is_empty() {
            return Err(StoreError::Settings("there is no etcd endpoint".to_owned()));
        }
        let (current, locked_out) = (AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Shared { prefix: key::prefix(cluster), members, current, locked_out, board };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Asks for etcd's version and warns when it has faults that matter here.
    pub(super) async fn version(&self) -> Result<String, StoreError> {
        let status =
            self.call("status", CALL_MAX, |client| async move { client.maintenance_client().status().await }).await?;
        let version = status.version().to_owned();
        if let Some(reason) = version::fault(&version) {
            tracing::warn!(etcd.version = version, reason, "this version of etcd should be upgraded");
        }
        Ok(version)
    }

    pub(super) async fn commit(&self, txn: &Txn) -> CommitResult {
        let request = self.log_transaction(txn);
        let answer =
            self.call("commit", BULK_CALL_MAX, |client| async move { client.kv_client().txn(request).await }).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.shared.board.failed(Part::Commits, &error.to_string());
                return CommitResult::Unknown;
            }
        };
        let revision = answer.header().map_or(0, |header| unsigned(header.revision()));
        if answer.succeeded() {
            return CommitResult::Committed { revision };
        }
        let mut found = answer.op_responses().into_iter().map(first_pair);
        let (leader, head) = (found.next().flatten(), found.next().flatten());
        if leader.map(|kv| unsigned(kv.create_revision())) != Some(txn.term.0) {
            return CommitResult::Deposed;
        }
        let head = match head.map(|kv| Head::from_bytes(kv.value())) {
            None => Seq(0),
            Some(Ok(head)) => head.seq,
            Some(Err(error)) => {
                self.shared.board.failed(Part::Commits, &format!("the head in the store cannot be read: {error}"));
                return CommitResult::Unknown;
            }
        };
        if head >= txn.seq { CommitResult::Committed { revision } } else { CommitResult::Gap { head } }
    }

    pub(super) async fn campaign(&self, me: &Leader) -> Result<Campaign, StoreError> {
        // Nearly always somebody leads; a lease is made only when it is needed.
        if let Some(found) = self.get(key::LEADER).await? {
            return Ok(lost(&found));
        }
        let sent = clock::mono();
        let grant = LeaseGrantOptions::new();
        let grant = self
            .call("grant a lease", CALL_MAX, |client| async move {
                client.lease_client().grant(LEASE_TTL_S, Some(grant)).await
            })
            .await?;
        let ttl = Duration::from_secs(unsigned(grant.ttl()));
        let lease = Lease { id: grant.id(), ttl };
        let term = self.take_leader_key(me, lease).await;
        if let Ok(Some(term)) = term {
            return Ok(Campaign::Won(Leadership { term, until: lease.certain_until(sent), lease: Some(lease) }));
        }
        // When the outcome is unknown, a key that was created goes with its lease.
        if let Err(error) = self.revoke(&lease).await {
            tracing::debug!(%error, "a lease was left to lapse");
        }
        term?;
        let found = self.get(key::LEADER).await?;
        Ok(found.map_or(Campaign::Lost { leader: None }, |found| lost(&found)))
    }

    /// Who holds the leader key.
    pub(super) async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        Ok(self.get(key::LEADER).await?.and_then(|found| Leader::from_bytes(found.value()).ok()))
    }

    /// Renews the lease once; nothing when it is gone.
    pub(super) async fn renew(&self, lease: &Lease) -> Result<Option<Instant>, StoreError> {
        let sent = clock::mono();
        let id = lease.id;
        // The client sends one renewal and waits for its answer when it opens the stream. One stream for each renewal
        // makes sure that no answer is taken for that to a later one.
        let kept = self
            .call("renew the lease", CALL_MAX, |client| async move {
                match client.lease_client().keep_alive(id).await {
                    Ok(_) => Ok(true),
                    Err(error @ Error::LeaseKeepAliveError(_)) => {
                        let left = client.lease_client().time_to_live(id, None).await?;
                        // It lasts, but was not renewed: that is asked for again.
                        if left.ttl() > 0 { Err(error) } else { Ok(false) }
                    }
                    Err(error) => Err(error),
                }
            })
            .await?;
        Ok(kept.then(|| lease.certain_until(sent)))
    }

    pub(super) async fn revoke(&self, lease: &Lease) -> Result<(), StoreError> {
        let id = lease.id;
        self.call("revoke a lease", CALL_MAX, |client| async move {
            match client.lease_client().revoke(id).await {
                // It has lapsed: the purpose is served.
                Err(error) if failure::is_gone(&error) => Ok(()),
                revoked => revoked.map(drop),
            }
        })
        .await
    }

    /// Creates a record unless it is there, and returns the one that is.
    pub(super) async fn create(&self, name: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let full = self.shared.key(name);
        let request = etcd_client::Txn::new()
            .when([Compare::create_revision(full.clone(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(full.clone(), value.clone(), None)])
            .or_else([TxnOp::get(full, None)]);
        let answer = self
            .call("create a record", CALL_MAX, |client| async move { client.kv_client().txn(request).await })
            .await?;
        if answer.succeeded() {
            return Ok(value);
        }
        let found = answer.op_responses().into_iter().find_map(first_pair);
        found
            .map(|kv| kv.value().to_vec())
            .ok_or_else(|| StoreError::Unavailable("etcd's answer has no record".to_owned()))
    }

    pub(super) async fn scan(&self, start: &str, end: &str, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.scan_at(PageRange { start: start.to_owned(), end: end.to_owned(), limit }, None).await
    }

    /// The revision of the newest change.
    pub(super) async fn revision(&self) -> Result<i64, StoreError> {
        let full = self.shared.key(key::HEAD);
        let found = self
            .call("read the revision", CALL_MAX, |client| async move { client.kv_client().get(full, None).await })
            .await?;
        let revision = found.header().map(etcd_client::ResponseHeader::revision);
        revision.ok_or_else(|| StoreError::Unavailable("etcd's answer has no header".to_owned()))
    }

    /// Writes records as they are, and deletes one, while this process leads.
    pub(super) async fn import(&self, term: Term, records: Vec<Pair>, delete: Option<&str>) -> Result<(), StoreError> {
        let term = i64::try_from(term.0).unwrap_or(i64::MAX);
        let puts = records.into_iter().map(|(name, value)| TxnOp::put(self.shared.key(&name), value, None));
        let delete = delete.map(|name| TxnOp::delete(self.shared.key(name), None));
        let request = etcd_client::Txn::new()
            .when([Compare::create_revision(self.shared.key(key::LEADER), CompareOp::Equal, term)])
            .and_then(puts.chain(delete).collect::<Vec<_>>());
        let answer = self
            .call("write records", BULK_CALL_MAX, |client| async move { client.kv_client().txn(request).await })
            .await?;
        if answer.succeeded() { Ok(()) } else { Err(StoreError::Refused("somebody else leads now".to_owned())) }
    }

    /// A page, of the newest state or as of a revision.
    pub(super) async fn scan_at(&self, range: PageRange, revision: Option<i64>) -> Result<Vec<Pair>, StoreError> {
        let (start, end) = (self.shared.key(&range.start), self.shared.key(&range.end));
        let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
        let mut page = self
            .call("read a page", BULK_CALL_MAX, |client| async move {
                let options = GetOptions::new().with_range(end).with_limit(limit).with_revision(revision.unwrap_or(0));
                let mut kv = client.kv_client().max_decoding_message_size(PAGE_BYTES_MAX);
                kv.get(start, Some(options)).await
            })
            .await?;
        page.take_kvs().into_iter().map(|kv| self.shared.pair(kv)).collect()
    }

    async fn get(&self, name: &str) -> Result<Option<KeyValue>, StoreError> {
        let full = self.shared.key(name);
        let mut found = self
            .call("read a record", CALL_MAX, |client| async move { client.kv_client().get(full, None).await })
            .await?;
        Ok(found.take_kvs().pop())
    }

    /// Creates the leader key; returns its create-revision, or nothing when somebody else has it.
    async fn take_leader_key(&self, me: &Leader, lease: Lease) -> Result<Option<Term>, StoreError> {
        let full = self.shared.key(key::LEADER);
        let put = PutOptions::new().with_lease(lease.id);
        let request = etcd_client::Txn::new()
            .when([Compare::create_revision(full.clone(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(full, me.to_bytes(), Some(put))]);
        let answer = self
            .call("take the leader key", CALL_MAX, |client| async move { client.kv_client().txn(request).await })
            .await?;
        let revision = answer.header().map_or(0, |header| unsigned(header.revision()));
        Ok(answer.succeeded().then_some(Term(revision)))
    }

    fn log_transaction(&self, txn: &Txn) -> etcd_client::Txn {
        let key = |name: &str| self.shared.key(name);
        let term = i64::try_from(txn.term.0).unwrap_or(i64::MAX);
        let previous = match txn.seq.0.saturating_sub(1) {
            0 => Compare::create_revision(key(key::HEAD), CompareOp::Equal, 0),
            seq => Compare::value(key(key::HEAD), CompareOp::Equal, Head { seq: Seq(seq) }.to_bytes()),
        };
        let puts = txn.puts.iter().map(|(name, value)| TxnOp::put(key(name), value.clone(), None));
        let deletes = txn
            .deletes
            .iter()
            .map(|range| TxnOp::delete(key(&range.start), Some(DeleteOptions::new().with_range(key(&range.end)))));
        let head = TxnOp::put(key(key::HEAD), Head { seq: txn.seq }.to_bytes(), None);
        etcd_client::Txn::new()
            .when([Compare::create_revision(key(key::LEADER), CompareOp::Equal, term), previous])
            .and_then(puts.chain(deletes).chain([head]).collect::<Vec<_>>())
            .or_else([TxnOp::get(key(key::LEADER), None), TxnOp::get(key(key::HEAD), None)])
    }

    /// Asks one member; after a failure the next call asks the next member.
    async fn call<T, F>(
        &self,
        what: &'static str,
        limit: Duration,
        ask: impl FnOnce(Client) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let shared = &self.shared;
        let index = shared.current.load(Ordering::Relaxed);
        let member = &shared.members[index % shared.members.len()];
        let url = &member.url;
        let asked = async {
            let client = member.client().await.map_err(|error| {
                let user = member.user().unwrap_or_default();
                Failure::new(&format!("log in as {user} at {url}"), &error)
            })?;
            ask(client).await.map_err(|error| Failure::new(&format!("{what} at {url}"), &error))
        };
        let silent = || Failure::unavailable(format!("{what} at {url}: no answer within {} s", limit.as_secs()));
        match timeout(limit, asked).await.unwrap_or_else(|_| Err(silent())) {
            Ok(answer) => {
                shared.locked_out.store(false, Ordering::Relaxed);
                shared.board.answered(Part::Store);
                Ok(answer)
            }
            Err(failure) => {
                // A user without a right may also be nobody: etcd takes the name in the certificate where a token is
                // missing, as it is when authentication has been enabled since the connection was made.
                if failure.stranger || failure.locked_out {
                    member.forget_login();
                }
                // Only the first of several that fail together moves on.
                let next = index.wrapping_add(1);
                let _ = shared.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
                shared.failed(&failure);
                Err(failure.error)
            }
        }
    }
}

impl Shared {
    /// Tells people. The board says only that the store does not work, and does so when that begins; that this replica
    /// is not let in may show later, and waiting does not help then.
    fn failed(&self, failure: &Failure) {
        if failure.full {
            // It answers, and says no: whoever wants to write shows what for.
            return self.board.full();
        }
        let error = failure.error.to_string();
        if failure.locked_out && !self.locked_out.swap(true, Ordering::Relaxed) {
            tracing::error!(error, "etcd and this replica do not accept each other; it is tried again");
        }
        self.board.failed(Part::Store, &error);
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn pair(&self, kv: KeyValue) -> Result<Pair, StoreError> {
        let (key, value) = kv.into_key_value();
        let name = std::str::from_utf8(&key).ok().and_then(|key| key.strip_prefix(&self.prefix));
        let unknown = || StoreError::UnknownKey(String::from_utf8_lossy(&key).into_owned());
        Ok((name.ok_or_else(unknown)?.to_owned(), value))
    }
}

fn lost(found: &KeyValue) -> Campaign {
    let leader = Leader::from_bytes(found.value())
        .inspect_err(|error| tracing::debug!(%error, "the leader key cannot be read"))
        .ok();
    Campaign::Lost { leader }
}

fn first_pair(response: TxnOpResponse) -> Option<KeyValue> {
    match response {
        TxnOpResponse::Get(mut found) => found.take_kvs().pop(),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    }
}

/// Revisions and lengths are never negative.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
