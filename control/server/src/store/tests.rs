//! One suite for both stores, and what only etcd can do.

use std::path::Path;

use weir_wire::{
    codec::Document,
    exceptions::ExceptionTable,
    id::{JobVersion, RunId, Seq},
    record::{BlobStore, Block, Delta, Head, RunMeta, UsageSum},
    txn::KeyRange,
};

use super::*;
use crate::config::EtcdConfig;
use crate::testing::{Etcd, board, cluster, job, within};

/// A place where a store is kept.
enum Place {
    Etcd(Box<Etcd>),
    Embedded(tempfile::TempDir),
}

impl Place {
    async fn both(test: &str) -> Vec<Self> {
        let mut places = vec![Self::Embedded(tempfile::tempdir().unwrap())];
        places.extend(Etcd::start(test).await.map(|etcd| Self::Etcd(Box::new(etcd))));
        places
    }

    async fn open(&self) -> Store {
        match self {
            Self::Etcd(etcd) => open_etcd(etcd).await,
            Self::Embedded(directory) => Store::Embedded(open_embedded(directory.path()).await.unwrap()),
        }
    }

    /// Opens the store and becomes its leader.
    async fn lead(&self) -> (Store, Leadership) {
        let store = self.open().await;
        let leadership = won(store.campaign(&me()).await.unwrap());
        (store, leadership)
    }

    /// Ends one leadership in good order and begins another.
    async fn succeed(&self, (store, leadership): (Store, Leadership)) -> (Store, Leadership) {
        store.resign(&leadership).await.unwrap();
        drop(store);
        self.lead().await
    }
}

async fn open_etcd(etcd: &Etcd) -> Store {
    let settings = EtcdConfig::plain(vec![etcd.url()]);
    Store::Etcd(EtcdStore::new(&settings, &cluster(), board()).await.unwrap())
}

async fn open_embedded(directory: &Path) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(directory, &cluster(), board()).await
}

fn me() -> Leader {
    Leader { http: "http://127.0.0.1:1".to_owned(), link: "127.0.0.1:2".to_owned() }
}

fn won(campaign: Campaign) -> Leadership {
    match campaign {
        Campaign::Won(leadership) => leadership,
        Campaign::Lost { leader } => panic!("{leader:?} leads"),
    }
}

fn txn(term: Term, seq: u64, puts: &[(&str, &[u8])]) -> Txn {
    let puts = puts.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect();
    Txn { term, seq: Seq(seq), puts, deletes: Vec::new() }
}

fn is_committed(result: CommitResult) -> bool {
    matches!(result, CommitResult::Committed { .. })
}

async fn value(store: &Store, name: &str) -> Option<Vec<u8>> {
    let found = store.scan(name, &load::after(name), 2).await.unwrap();
    found.into_iter().next().map(|(_, value)| value)
}

#[tokio::test]
async fn transactions_are_carried_out_once_and_in_order() {
    for place in Place::both("transactions_are_carried_out_once_and_in_order").await {
        let (store, leadership) = place.lead().await;
        let term = leadership.term;
        let first = txn(term, 1, &[("log/a", b"1"), ("log/b", b"1")]);
        assert!(is_committed(store.commit(&first).await));
        assert!(is_committed(store.commit(&first).await), "the identical transaction again");
        let other = txn(term, 1, &[("log/a", b"other")]);
        assert!(is_committed(store.commit(&other).await), "its number is taken");
        assert_eq!(value(&store, "log/a").await.unwrap(), b"1", "and it changed nothing");
        let gap = txn(term, 3, &[("log/a", b"3")]);
        assert_eq!(store.commit(&gap).await, CommitResult::Gap { head: Seq(1) });
        let mut second = txn(term, 2, &[("ckpt/x", b"2")]);
        second.deletes.push(KeyRange { start: "log/a".to_owned(), end: "log/b".to_owned() });
        let CommitResult::Committed { revision } = store.commit(&second).await else { panic!("not committed") };
        let CommitResult::Committed { revision: next } = store.commit(&gap).await else { panic!("not committed") };
        assert!(next > revision, "revisions grow");
        assert_eq!(value(&store, "log/b").await.unwrap(), b"1", "the end of a range is not part of it");
        assert_eq!(value(&store, "ckpt/x").await.unwrap(), b"2");
        assert_eq!(value(&store, key::HEAD).await.unwrap(), Head { seq: Seq(3) }.to_bytes());
    }
}

#[tokio::test]
async fn a_deposed_leader_changes_nothing() {
    for place in Place::both("a_deposed_leader_changes_nothing").await {
        let (old_store, old) = place.lead().await;
        assert!(is_committed(old_store.commit(&txn(old.term, 1, &[("log/a", b"1")])).await));
        let (store, new) = place.succeed((old_store, old.clone())).await;
        assert!(new.term > old.term, "terms grow");
        for seq in [1, 2, 3] {
            let late = store.commit(&txn(old.term, seq, &[("log/a", b"late")])).await;
            assert_eq!(late, CommitResult::Deposed, "transaction {seq}");
        }
        let early = Term(new.term.0 + 1);
        assert_eq!(store.commit(&txn(early, 2, &[("log/a", b"early")])).await, CommitResult::Deposed);
        assert_eq!(value(&store, "log/a").await.unwrap(), b"1");
        assert!(is_committed(store.commit(&txn(new.term, 2, &[("log/a", b"2")])).await));
    }
}

#[tokio::test]
async fn everything_is_read_back_over_many_pages() {
    for place in Place::both("everything_is_read_back_over_many_pages").await {
        let (store, leadership) = place.lead().await;
        let mut seq = 0;
        for version in 1..=5u64 {
            seq += 1;
            let jobs = (0..100).map(|i| {
                let mut job = job(&format!("job-{i}"));
                job.version = JobVersion(version);
                (key::job(&job.namespace, &job.job, job.version), job.to_bytes())
            });
            let puts = jobs.collect();
            let txn = Txn { term: leadership.term, seq: Seq(seq), puts, deletes: Vec::new() };
            assert!(is_committed(store.commit(&txn).await));
        }
        // Values as long as they may be: pages must shrink for them.
        let long = Delta { term: leadership.term, wall_ms: 7, runs: Vec::new() }.to_bytes();
        for _ in 0..40 {
            seq += 1;
            let filler = vec![0xa5; 900 << 10];
            let puts = vec![(key::log(Seq(seq)), long.clone()), (format!("zz/{seq}"), filler)];
            let txn = Txn { term: leadership.term, seq: Seq(seq), puts, deletes: Vec::new() };
            assert!(is_committed(store.commit(&txn).await));
        }
        let loaded = store.load().await.unwrap();
        assert_eq!(loaded.head, Seq(seq));
        assert_eq!(loaded.jobs.len(), 500);
        let seqs: Vec<u64> = loaded.deltas.iter().map(|(seq, _)| seq.0).collect();
        assert_eq!(seqs, (6..=45).collect::<Vec<_>>());
        assert_eq!(loaded.log_bytes, 40 * long.len());
        assert_eq!(store.scan("zz/", "zz0", 32).await.unwrap().len(), 32, "a page of long values");
    }
}

#[tokio::test]
async fn all_blocks_and_the_rest_of_a_checkpoint_are_read_back() {
    for place in Place::both("all_blocks_and_the_rest_of_a_checkpoint_are_read_back").await {
        let (store, leadership) = place.lead().await;
        let block = |len| {
            let applied = Seq(1);
            Block {
                applied,
                len,
                states: vec![(len, 1)],
                exceptions: ExceptionTable::default(),
                inline: vec![],
                fenced: vec![],
            }
        };
        let meta = RunMeta {
            applied: Seq(1),
            usage: UsageSum::default(),
            stop: None,
            ended_ms: Some(5),
            segments: vec![],
            desired: None,
            target: None,
            pins: vec![],
        };
        let (mut blocks, mut metas) = (Vec::new(), Vec::new());
        for (at, run) in [RunId(7), RunId(9)].into_iter().enumerate() {
            let numbers = 0..40u32;
            let puts = numbers.clone().map(|number| (key::block(run, number), block(number + 1).to_bytes()));
            let puts = puts.chain([(key::run_meta(run), meta.to_bytes())]).collect();
            let txn = Txn { term: leadership.term, seq: Seq(at as u64 + 1), puts, deletes: Vec::new() };
            assert!(is_committed(store.commit(&txn).await));
            blocks.extend(numbers.map(|number| (run, number, block(number + 1))));
            metas.push((run, meta.clone()));
        }
        let loaded = store.load().await.unwrap();
        assert_eq!((loaded.blocks, loaded.metas), (blocks, metas));
    }
}

#[tokio::test]
async fn a_transaction_may_be_as_large_as_the_limits_say() {
    for place in Place::both("a_transaction_may_be_as_large_as_the_limits_say").await {
        let (store, leadership) = place.lead().await;
        let ops = weir_wire::limits::TXN_OPS_MAX;
        let each = weir_wire::limits::TXN_BYTES_MAX / ops - 16;
        let puts = (0..ops).map(|i| (format!("ckpt/{i:03}"), vec![1; each])).collect();
        let txn = Txn { term: leadership.term, seq: Seq(1), puts, deletes: Vec::new() };
        assert!(is_committed(store.commit(&txn).await));
        assert_eq!(store.scan("ckpt/", "ckpt0", 1000).await.unwrap().len(), ops);
    }
}

#[tokio::test]
async fn the_first_blob_store_is_the_one() {
    for place in Place::both("the_first_blob_store_is_the_one").await {
        let store = place.open().await;
        assert_eq!(store.claim_blob_store("one").await.unwrap(), "one");
        assert_eq!(store.claim_blob_store("two").await.unwrap(), "one");
        let recorded = BlobStore::from_bytes(&value(&store, key::BLOB_STORE).await.unwrap());
        assert_eq!(recorded.unwrap().id, "one");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    for place in Place::both("what_cannot_be_read_is_named").await {
        let (store, leadership) = place.lead().await;
        assert!(is_committed(store.commit(&txn(leadership.term, 1, &[("job/a/b/1", b"\xff")])).await));
        let error = store.load().await.unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { key, .. } if key == "job/a/b/1"), "{error}");
        let mut clean = txn(leadership.term, 2, &[("log/nonsense", b"\x01")]);
        clean.deletes.push(KeyRange { start: "job/".to_owned(), end: "job0".to_owned() });
        assert!(is_committed(store.commit(&clean).await));
        let error = store.load().await.unwrap_err();
        assert!(matches!(&error, StoreError::UnknownKey(key) if key == "log/nonsense"), "{error}");
    }
}

/// The file of an embedded store in which ten transactions were made, and what is in it.
async fn written() -> (Vec<u8>, Vec<Pair>) {
    let directory = tempfile::tempdir().unwrap();
    let store = open_embedded(directory.path()).await.unwrap();
    let term = store.leadership().term;
    for seq in 1..=10 {
        let puts: Vec<(String, Vec<u8>)> =
            (0..40).map(|n| (format!("x/{seq}/{n}"), vec![u8::try_from(seq).unwrap(); 300])).collect();
        let txn = Txn { term, seq: Seq(seq), puts, deletes: Vec::new() };
        assert!(is_committed(store.commit(&txn).await));
    }
    let all = store.scan("", "~", 10_000).await.unwrap();
    let path = directory.path().join("weir.redb");
    let crashed = std::fs::read(&path).unwrap();
    assert_eq!(opened(&crashed).await.unwrap(), all, "a process that was killed left all that it had acknowledged");
    drop(store);
    (std::fs::read(path).unwrap(), all)
}

/// What a store with this file gives.
async fn opened(file: &[u8]) -> Result<Vec<Pair>, StoreError> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("weir.redb"), file).unwrap();
    let first = match open_embedded(directory.path()).await {
        Ok(store) => store.scan("", "~", 10_000).await,
        Err(error) => Err(error),
    };
    if first.is_err() {
        assert!(open_embedded(directory.path()).await.is_err(), "it is refused again");
    }
    first
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_gives_what_was_stored() {
    const PAGE: usize = 4096;
    let (file, all) = written().await;
    let used = file.chunks(PAGE).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0));
    let places: Vec<usize> =
        used.filter_map(|(at, page)| Some(at * PAGE + page.iter().rposition(|byte| *byte == 5)?)).collect();
    assert!(places.len() >= 3, "values of the fifth transaction are in {} pages", places.len());
    let mut refused = 0;
    for place in places {
        let mut flipped = file.clone();
        flipped[place] ^= 1;
        match opened(&flipped).await {
            Ok(found) => assert_eq!(found, all, "byte {place}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused >= 3, "{refused} were refused");
    for part in 1..8 {
        if let Ok(found) = opened(&file[..file.len() / 8 * part]).await {
            assert_eq!(found, all, "{part} of 8 parts");
        }
    }
}

#[tokio::test]
async fn an_empty_file_is_no_new_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.redb");
    std::fs::write(&path, b"").unwrap();
    for _ in 0..2 {
        let error = open_embedded(directory.path()).await.err().unwrap().to_string();
        assert!(error.contains("it is empty") && error.contains("snapshot restore"), "{error}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "it is left as it was found");
    }
    std::fs::remove_file(&path).unwrap();
    open_embedded(directory.path()).await.unwrap();
}

#[tokio::test]
async fn a_second_process_cannot_open_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let first = open_embedded(directory.path()).await.unwrap();
    let error = open_embedded(directory.path()).await.err().unwrap();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(error.to_string().contains("already in use"), "{error}");
    drop(first);
    let other = "other".parse().unwrap();
    let error = EmbeddedStore::open(directory.path(), &other, board()).await.err().unwrap();
    assert!(error.to_string().contains("belongs to the cluster \"test\""), "{error}");
    open_embedded(directory.path()).await.unwrap();
}

#[tokio::test]
async fn only_one_replica_has_the_leader_key() {
    let Some(etcd) = Etcd::start("only_one_replica_has_the_leader_key").await else { return };
    let (first, second) = (open_etcd(&etcd).await, open_etcd(&etcd).await);
    let leadership = won(first.campaign(&me()).await.unwrap());
    assert!(first.renew(&leadership).await.unwrap().unwrap() >= leadership.until);
    for store in [&first, &second] {
        let Campaign::Lost { leader } = store.campaign(&Leader::default()).await.unwrap() else { panic!("won twice") };
        assert_eq!(leader, Some(me()));
    }
    first.resign(&leadership).await.unwrap();
    assert_eq!(first.renew(&leadership).await.unwrap(), None, "the lease is gone");
    let next = won(second.campaign(&me()).await.unwrap());
    assert!(next.term > leadership.term);
}

#[tokio::test]
async fn an_unknown_outcome_is_resolved_by_the_same_transaction() {
    let test = "an_unknown_outcome_is_resolved_by_the_same_transaction";
    let Some(mut etcd) = Etcd::start(test).await else { return };
    let store = open_etcd(&etcd).await;
    let leadership = won(store.campaign(&me()).await.unwrap());
    let (first, second) = (txn(leadership.term, 1, &[("log/a", b"1")]), txn(leadership.term, 2, &[("log/b", b"2")]));
    assert!(is_committed(store.commit(&first).await));
    etcd.kill().await;
    assert_eq!(store.commit(&first).await, CommitResult::Unknown);
    assert_eq!(store.commit(&second).await, CommitResult::Unknown);
    assert!(matches!(store.load().await.unwrap_err(), StoreError::Unavailable(_)));
    etcd.run().await;
    let resolved = async {
        for txn in [&first, &second] {
            while store.commit(txn).await == CommitResult::Unknown {}
        }
    };
    within("etcd's return", resolved).await;
    assert!(is_committed(store.commit(&second).await), "etcd counts the lease from its start, so the term goes on");
    assert_eq!(value(&store, "log/b").await.unwrap(), b"2");
}

#[tokio::test]
async fn a_first_endpoint_that_never_answers_costs_one_call() {
    let Some(etcd) = Etcd::start("a_first_endpoint_that_never_answers_costs_one_call").await else { return };
    // Connections to it are opened and never answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoints = vec![format!("http://{}", silent.local_addr().unwrap()), etcd.url()];
    let store = EtcdStore::new(&EtcdConfig::plain(endpoints), &cluster(), board()).await.unwrap();
    assert!(matches!(store.version().await.unwrap_err(), StoreError::Unavailable(_)));
    for _ in 0..20 {
        store.version().await.expect("the member that answers is asked from then on");
    }
}

/// Takes connections on this machine, gives one answer to whatever is sent, and closes.
async fn answering(answer: &'static [u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whoever asks may be gone.
            let _asked = stream.read(&mut [0; 4096]).await;
            let _answered = stream.write_all(answer).await;
            let _closed = stream.shutdown().await;
            let _rest = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    address.to_string()
}

#[tokio::test]
async fn what_answers_and_is_not_etcd_is_told_from_tls_where_that_can_be_known() {
    const WEB: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // As etcd does where a handshake of TLS is missing.
    const SILENCE: &[u8] = b"";
    for (answer, begins) in [
        (WEB, "what answers there does not speak as etcd does: name etcd's client URL; if etcd serves TLS"),
        (SILENCE, "if etcd serves TLS there, begin the endpoint with https:// and set etcd_ca; if it is not etcd"),
    ] {
        let endpoint = format!("http://{}", answering(answer).await);
        let store = EtcdStore::new(&EtcdConfig::plain(vec![endpoint]), &cluster(), board()).await.unwrap();
        let error = store.version().await.unwrap_err().to_string();
        assert!(error.contains(begins), "{error}");
    }
}
