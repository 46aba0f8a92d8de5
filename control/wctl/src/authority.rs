//! The files by which the parts of a cluster know each other: certificates, keys, and the digest of the admin token.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use weir_link::issue::{ClusterCa, Error, Issued, Validity};
use weir_wire::id::{ClusterName, NodeId};

use crate::input;

/// The authority outlives the certificates that it signs.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Bytes of randomness in the admin token.
const TOKEN_BYTES: usize = 32;
/// The names under which the machine of the control plane calls itself.
const LOCAL_HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];

/// The directory of the control plane's files.
pub(crate) const CONTROL_DIR: &str = "control";

/// The directory of an executor's files.
pub(crate) fn node_dir(node: &NodeId) -> PathBuf {
    Path::new("nodes").join(node.as_str())
}

/// New files of one cluster, not written yet.
pub(crate) struct Files {
    files: Vec<(PathBuf, String)>,
}

impl Files {
    /// Issues the certificates of a new cluster.
    pub(crate) fn issue(
        cluster: ClusterName,
        nodes: &[NodeId],
        hosts: &[String],
        lifetime: Duration,
    ) -> Result<Self, Error> {
        let now = SystemTime::now();
        let validity = Validity::starting(now, lifetime);
        let (ca, authority) = ClusterCa::generate(cluster, Validity::starting(now, CA_LIFETIME.max(lifetime)))?;
        let certificate = authority.certificate_pem.clone();
        let mut files =
            Self { files: vec![("ca.pem".into(), certificate.clone()), ("ca.key".into(), authority.key_pem)] };

        let mut names: Vec<String> = LOCAL_HOSTS.map(str::to_owned).to_vec();
        names.extend(hosts.iter().filter(|host| !LOCAL_HOSTS.contains(&host.as_str())).cloned());
        let control = Path::new(CONTROL_DIR);
        files.add(control, "control", ca.issue_control(&names, validity)?);
        files.add(control, "https", ca.issue_https(&names, validity)?);
        files.files.push((control.join("ca.pem"), certificate.clone()));
        for node in nodes {
            let dir = node_dir(node);
            files.add(&dir, "executor", ca.issue_executor(node, validity)?);
            files.files.push((dir.join("ca.pem"), certificate.clone()));
        }
        Ok(files)
    }

    /// Adds a new admin token, which is returned; its digest is all that is kept.
    pub(crate) fn add_token(&mut self) -> io::Result<String> {
        let mut bytes = [0; TOKEN_BYTES];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let token = format!("weir_{hex}");
        let digest = format!("{}\n", input::digest(token.as_bytes()));
        self.files.push((Path::new(CONTROL_DIR).join("token.sha256"), digest));
        Ok(token)
    }

    /// Writes everything into a directory; nothing that exists is replaced.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        for (path, content) in &self.files {
            let path = dir.join(path);
            path.parent().map_or(Ok(()), make_dir)?;
            // Private keys are among them, and nobody else has to read the others.
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
        }
        Ok(())
    }

    fn add(&mut self, dir: &Path, name: &str, issued: Issued) {
        self.files.push((dir.join(format!("{name}.pem")), issued.certificate_pem));
        self.files.push((dir.join(format!("{name}.key")), issued.key_pem));
    }
}

/// Makes a directory and its parents, for their owner only.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn files() -> Files {
        let nodes = ["n1".parse().unwrap(), "n2".parse().unwrap()];
        Files::issue("test".parse().unwrap(), &nodes, &["10.0.0.1".to_owned()], Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn the_daemons_find_their_files_and_nobody_else_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = files();
        let token = files.add_token().unwrap();
        files.write(dir.path()).unwrap();
        for file in [
            "ca.pem",
            "ca.key",
            "control/ca.pem",
            "control/control.pem",
            "control/control.key",
            "control/https.pem",
            "control/https.key",
            "control/token.sha256",
            "nodes/n1/ca.pem",
            "nodes/n1/executor.pem",
            "nodes/n2/executor.key",
        ] {
            let mode = fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let digest = fs::read_to_string(dir.path().join("control/token.sha256")).unwrap();
        assert_eq!(digest.trim(), input::digest(token.as_bytes()));
        for (part, name) in [("control", "control"), ("nodes/n1", "executor")] {
            let file = |name: String| dir.path().join(part).join(name);
            let (chain, key) = (file(format!("{name}.pem")), file(format!("{name}.key")));
            weir_link::Identity::load(&chain, &key, &file("ca.pem".to_owned())).unwrap();
        }
        assert!(files.write(dir.path()).is_err(), "written once");
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(files().add_token().unwrap(), files().add_token().unwrap());
    }
}
