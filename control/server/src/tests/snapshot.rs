//! Snapshots that are not taken or restored to their end.

use std::{future::ready, path::Path};

use tokio::sync::mpsc;
use weir_wire::id::Digest;

use sha2::{Digest as _, Sha256};

use super::{config, start, submit};
use crate::{
    blobs::Blobs,
    config::{Config, StoreConfig},
    server::Server,
    snapshot::{Header, SnapshotError, restore, save},
    testing::{self, within},
};

/// Many chunks long.
const OBJECT_LEN: usize = 8 << 20;

fn header(created_ms: u64) -> Header {
    Header { cluster: testing::cluster().to_string(), version: "1".to_owned(), created_ms, blobs: true }
}

/// A control plane that keeps two runs and a large object.
async fn filled(directory: &Path) -> Server {
    testing::identity(&directory.join("identity"));
    let server = start(config(directory, StoreConfig::Embedded(directory.join("store")))).await;
    submit(&server, "default/k").await;
    let content = vec![7; OBJECT_LEN];
    let digest = Digest(Sha256::digest(&content).into());
    server.handle().blobs().put_bytes(&digest, content.into()).await.unwrap();
    server
}

async fn save_to(server: &Server, created_ms: u64, path: &Path) {
    let (chunks, mut sent) = mpsc::channel(1);
    let shared = server.handle().shared();
    let saving = tokio::spawn(async move { save(&shared, &header(created_ms), ready(true), chunks).await });
    let mut file = Vec::new();
    while let Some(chunk) = within("a chunk", sent.recv()).await {
        file.extend_from_slice(&chunk.unwrap());
    }
    within("the end", saving).await.unwrap();
    std::fs::write(path, file).unwrap();
}

/// A snapshot of this replica, which has led all the time or not, ends with a failure.
async fn assert_broken_off(server: &Server, led: bool) {
    let (chunks, mut sent) = mpsc::channel(1);
    let shared = server.handle().shared();
    let saving = tokio::spawn(async move { save(&shared, &header(1), ready(led), chunks).await });
    let mut last = None;
    while let Some(chunk) = within("a chunk", sent.recv()).await {
        last = Some(chunk);
    }
    within("the end", saving).await.unwrap();
    assert!(matches!(last, Some(Err(SnapshotError::Failed(_)))), "{last:?}");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = filled(folder.path()).await;
    let (chunks, mut sent) = mpsc::channel(1);
    let shared = server.handle().shared();
    let saving = tokio::spawn(async move { save(&shared, &header(1), ready(true), chunks).await });
    within("a chunk", sent.recv()).await.unwrap().unwrap();
    // Time goes on only while nothing else can.
    tokio::time::pause();
    saving.await.unwrap();
    tokio::time::resume();
    let (mut left, mut failed) = (0, 0);
    while let Some(chunk) = sent.recv().await {
        chunk.map_or_else(|_| failed += 1, |chunk| left += chunk.len());
    }
    assert!(failed == 0 && left < OBJECT_LEN / 2, "{left} bytes were made for nobody");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_while_saving_breaks_the_snapshot_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = filled(folder.path()).await;
    // A name that no blob has, whose content cannot be read.
    let unreadable = folder.path().join("blobs/sha256/zz");
    std::fs::create_dir_all(&unreadable).unwrap();
    std::os::unix::fs::symlink("loop", unreadable.join("loop")).unwrap();
    assert_broken_off(&server, true).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_leads_no_more_finishes_no_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let server = filled(folder.path()).await;
    assert_broken_off(&server, false).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_was_cut_off_is_finished_by_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = filled(folder.path()).await;
    let (whole, other) = (folder.path().join("whole"), folder.path().join("other"));
    save_to(&server, 1, &whole).await;
    save_to(&server, 2, &other).await;
    server.stop().await;

    // The records are written before the objects, which have no place to go to.
    let target = folder.path().join("target");
    std::fs::create_dir_all(target.join("blobs")).unwrap();
    std::os::unix::fs::symlink("missing/in-the-way", target.join("blobs/sha256")).unwrap();
    testing::identity(&target.join("identity"));
    let settings = config(&target, StoreConfig::Embedded(target.join("store")));
    let failed = within("a failure", restore(&settings, &whole)).await.unwrap_err();
    assert!(matches!(failed, SnapshotError::Failed(_)), "{failed}");

    let server = Server::start(settings.clone()).await.unwrap();
    let held_back = |status: &crate::status::ClusterStatus| status.held_back.is_some();
    within("being held back", server.handle().wait_for(held_back)).await;
    let why = server.handle().status().held_back.unwrap();
    assert!(!server.is_leading() && why.contains("repeat it with the same file"), "{why}");
    server.stop().await;

    let refused = within("a refusal", restore(&settings, &other)).await.unwrap_err();
    assert!(matches!(&refused, SnapshotError::Refused(why) if why.contains("another snapshot")), "{refused}");
    std::fs::remove_file(target.join("blobs/sha256")).unwrap();
    let restored = within("the restore", restore(&settings, &whole)).await.unwrap();
    assert_eq!((restored.submissions, restored.objects), (1, 1));
    let server = start(settings.clone()).await;
    assert_eq!(submit(&server, "default/k").await.len(), 2, "the key is known");
    let digest = Digest(Sha256::digest(vec![7; OBJECT_LEN]).into());
    let blobs: &Blobs = server.handle().blobs();
    assert_eq!(blobs.read(&digest, 1 << 30).await.unwrap().map(|content| content.len()), Some(OBJECT_LEN));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = filled(folder.path()).await;
    let whole = folder.path().join("whole");
    save_to(&server, 1, &whole).await;
    server.stop().await;

    let target = folder.path().join("target");
    testing::identity(&target.join("identity"));
    let settings = config(&target, StoreConfig::Embedded(target.join("store")));
    let other_name = Config { cluster: "other".parse().unwrap(), ..settings.clone() };
    let occupied = Config { blobs: folder.path().join("blobs"), ..settings.clone() };
    for (settings, parts) in
        [(other_name, ["not of the control plane of", "other"]), (occupied, ["not empty", "--blobs"])]
    {
        let refused = within("a refusal", restore(&settings, &whole)).await.unwrap_err();
        let said = refused.to_string();
        assert!(matches!(refused, SnapshotError::Refused(_)) && parts.iter().all(|part| said.contains(part)), "{said}");
    }
    // Both stores are as they were, so that the same restore succeeds with the right settings.
    within("the restore", restore(&settings, &whole)).await.unwrap();
}
