//! The certificate authority, and identities read from files.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use weir_link::issue::{ClusterCa, Error, Issued, Validity};
use weir_link::{Identity, IdentityError, Name};

const DAY: Duration = Duration::from_secs(86_400);

fn today() -> Validity {
    Validity::starting(SystemTime::now(), DAY)
}

fn ca() -> (ClusterCa, Issued) {
    ClusterCa::generate("prod".parse().expect("a name"), today()).expect("an authority")
}

/// Writes the three files of an identity and returns their paths.
fn files(dir: &TempDir, contents: [&str; 3]) -> [PathBuf; 3] {
    let paths = ["node.pem", "node.key", "ca.pem"].map(|name| dir.path().join(name));
    for (path, content) in paths.iter().zip(contents) {
        std::fs::write(path, content).expect("a file");
    }
    paths
}

#[test]
fn an_authority_reads_back_and_goes_on_issuing() {
    let (ca, kept) = ca();
    let again = ClusterCa::load(&kept.certificate_pem, &kept.key_pem).unwrap();
    assert_eq!(again.cluster(), ca.cluster());
    assert_eq!(again.certificate_pem(), kept.certificate_pem);
    let node = "n1".parse().unwrap();
    for authority in [&ca, &again] {
        let issued = authority.issue_executor(&node, today()).unwrap();
        let identity =
            Identity::from_pem(&issued.certificate_pem, &issued.key_pem, ca.certificate_pem(), SystemTime::now());
        assert_eq!(identity.unwrap().name(), &Name::executor("prod".parse().unwrap(), node.clone()));
    }
}

#[test]
fn a_damaged_authority_is_refused() {
    let ((ca, kept), (_, other)) = (ca(), ca());
    let leaf = ca.issue_control(&[], today()).unwrap();
    for (certificate, key, word) in [
        (&kept.certificate_pem, &other.key_pem, "another certificate"),
        (&leaf.certificate_pem, &leaf.key_pem, "may not sign"),
        (&kept.key_pem, &kept.key_pem, "certificate authority"),
        (&kept.certificate_pem, &kept.certificate_pem, "key"),
        (&String::new(), &kept.key_pem, "certificate authority"),
    ] {
        let Err(error) = ClusterCa::load(certificate, key) else { panic!("{word}: accepted") };
        assert!(matches!(error, Error::Authority(_)));
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn hosts_and_validities_are_checked() {
    let (ca, _) = ca();
    let hosts = ["control.example", "10.0.0.1", "fe80::1"].map(str::to_owned);
    assert!(ca.issue_control(&hosts, today()).is_ok());
    assert!(ca.issue_https(&hosts, today()).is_ok());
    assert_eq!(ca.issue_https(&[], today()), Err(Error::NoHost));
    for bad in ["", "a b", "https://x", "x:4640", "ä.example"] {
        assert_eq!(ca.issue_https(&[bad.to_owned()], today()), Err(Error::Host(bad.to_owned())), "{bad}");
    }
    let now = SystemTime::now();
    for (not_before, not_after) in
        [(now, now - DAY), (now, now), (UNIX_EPOCH - DAY, now), (now, UNIX_EPOCH + Duration::from_secs(1 << 40))]
    {
        assert_eq!(ca.issue_control(&[], Validity { not_before, not_after }), Err(Error::Validity));
    }
}

#[test]
fn an_identity_is_read_from_files() {
    let (ca, _) = ca();
    let issued = ca.issue_executor(&"n1".parse().unwrap(), today()).unwrap();
    let dir = TempDir::new().unwrap();
    let [chain, key, authority] = files(&dir, [&issued.certificate_pem, &issued.key_pem, ca.certificate_pem()]);
    let identity = Identity::load(&chain, &key, &authority).unwrap();
    assert_eq!(identity.name().to_string(), "weir://prod/executor/n1");
    let left = identity.not_after().duration_since(SystemTime::now()).unwrap();
    assert!(left > DAY / 2 && left <= DAY, "{left:?}");
    assert!(!format!("{identity:?}").contains("PRIVATE"));
}

#[test]
fn what_is_wrong_with_the_files_is_named() {
    let (ca, _) = ca();
    let node = "n1".parse().unwrap();
    let issued = ca.issue_executor(&node, today()).unwrap();
    let other = ca.issue_executor(&node, today()).unwrap();
    let https = ca.issue_https(&["localhost".to_owned()], today()).unwrap();
    let (cert, key, root) = (issued.certificate_pem.as_str(), issued.key_pem.as_str(), ca.certificate_pem());
    let huge = "x".repeat(1 << 20);
    for (contents, word) in [
        (["no PEM", key, root], "node.pem"),
        ([cert, "no PEM", root], "node.key"),
        ([cert, key, ""], "ca.pem"),
        ([cert, cert, root], "private key"),
        ([cert, &other.key_pem, root], "belongs to another certificate"),
        ([&https.certificate_pem, &https.key_pem, root], "no role"),
        ([&huge, key, root], "is it a certificate"),
    ] {
        let dir = TempDir::new().unwrap();
        let [chain, key, authority] = files(&dir, contents);
        let error = Identity::load(&chain, &key, &authority).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
    let dir = TempDir::new().unwrap();
    let [chain, key, _] = files(&dir, [cert, key, root]);
    let missing = dir.path().join("missing.pem");
    let error = Identity::load(&chain, &key, &missing).unwrap_err();
    assert!(matches!(&error, IdentityError::Unreadable { path, .. } if *path == missing), "{error}");
}

#[test]
fn dates_are_named() {
    let (ca, _) = ca();
    // Noon of 2 January 2024, and a day on either side.
    let noon = UNIX_EPOCH + Duration::from_secs(1_704_196_800);
    let validity = Validity { not_before: noon - DAY, not_after: noon + DAY };
    let issued = ca.issue_executor(&"n1".parse().unwrap(), validity).unwrap();
    let read = |now| Identity::from_pem(&issued.certificate_pem, &issued.key_pem, ca.certificate_pem(), now);
    assert_eq!(read(noon).unwrap().not_after(), noon + DAY);
    let error = read(noon + 2 * DAY).unwrap_err();
    assert!(matches!(error, IdentityError::Expired { .. }));
    assert!(error.to_string().contains("expired on Jan  3 12:00:00 2024"), "{error}");
    let error = read(noon - 2 * DAY).unwrap_err();
    assert!(matches!(error, IdentityError::NotYetValid { .. }));
    assert!(error.to_string().contains("valid from Jan  1 12:00:00 2024"), "{error}");
}
