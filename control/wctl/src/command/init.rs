//! `wctl cluster init`: everything that the daemons of a new cluster need to know each other.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use weir_link::issue::{ClusterCa, Issued, Validity};
use weir_wire::id::{ClusterName, NodeId};

use crate::{
    args::InitArgs,
    exit::Exit,
    failure::{Failure, Result},
    input,
    output::{terminal, write_stdout},
};

/// The authority outlives the certificates that it signs.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);
/// Bytes of randomness in the admin token.
const TOKEN_BYTES: usize = 32;
/// The names under which the machine of the control plane calls itself.
const LOCAL_HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];

/// `wctl cluster init`.
pub(crate) fn init(args: &InitArgs) -> Result<Exit> {
    let token = create(args)?;
    let dir = args.dir.display();
    terminal::note(&format!(
        "wrote {dir}/ca.pem (for clients), {dir}/ca-key.pem (keep it offline), {dir}/control (for the control plane), \
         {dir}/nodes/NAME (one for each executor)\nthe admin token follows on stdout; it is not kept and cannot be shown \
         again: give it to wctl as WCTL_TOKEN, with WCTL_CA={dir}/ca.pem"
    ));
    write_stdout(format!("{token}\n").as_bytes())?;
    Ok(Exit::Ok)
}

/// Writes everything into the directory and returns the admin token, which is kept as a digest only.
fn create(args: &InitArgs) -> Result<String> {
    let cluster: ClusterName =
        args.name.parse().map_err(|error| Failure::usage(format!("--name {}", args.name)).because(error))?;
    let nodes = nodes(&args.nodes)?;
    let mut hosts: Vec<String> = LOCAL_HOSTS.map(str::to_owned).to_vec();
    hosts.extend(args.hosts.iter().filter(|host| !LOCAL_HOSTS.contains(&host.as_str())).cloned());
    let files = issue(cluster, &nodes, &hosts, DAY * args.days)?;
    let token = new_token()?;

    make_empty(&args.dir)?;
    for (path, content) in &files {
        write(&args.dir.join(path), content)?;
    }
    let digest = input::digest(token.as_bytes());
    write(&args.dir.join("control/token.sha256"), &format!("{}\n", &digest["sha256:".len()..]))?;
    Ok(token)
}

fn nodes(names: &[String]) -> Result<Vec<NodeId>> {
    let mut nodes: Vec<NodeId> = Vec::with_capacity(names.len());
    for name in names {
        let node = name.parse().map_err(|error| Failure::usage(format!("--node {name}")).because(error))?;
        if nodes.contains(&node) {
            return Err(Failure::usage(format!("--node {name} is given twice")));
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// Every file with its path in the directory.
fn issue(
    cluster: ClusterName,
    nodes: &[NodeId],
    hosts: &[String],
    lifetime: Duration,
) -> Result<Vec<(PathBuf, String)>> {
    let failed = |error: weir_link::issue::Error| Failure::usage(format!("failed to {error}"));
    let now = SystemTime::now();
    let validity = Validity::starting(now, lifetime);
    let (ca, ca_files) =
        ClusterCa::generate(cluster, Validity::starting(now, CA_LIFETIME.max(lifetime))).map_err(failed)?;
    let mut files: Vec<(PathBuf, String)> = vec![
        ("ca.pem".into(), ca_files.certificate_pem.clone()),
        ("ca-key.pem".into(), ca_files.key_pem),
        ("control/ca.pem".into(), ca_files.certificate_pem.clone()),
    ];
    let mut add = |prefix: String, issued: Issued| {
        files.push((format!("{prefix}.pem").into(), issued.certificate_pem));
        files.push((format!("{prefix}-key.pem").into(), issued.key_pem));
    };
    add("control/link".to_owned(), ca.issue_control(hosts, validity).map_err(failed)?);
    add("control/https".to_owned(), ca.issue_https(hosts, validity).map_err(failed)?);
    for node in nodes {
        add(format!("nodes/{node}/link"), ca.issue_executor(node, validity).map_err(failed)?);
    }
    for node in nodes {
        files.push((format!("nodes/{node}/ca.pem").into(), ca_files.certificate_pem.clone()));
    }
    Ok(files)
}

/// Makes the directory; one that holds anything is never touched.
fn make_empty(dir: &Path) -> Result<()> {
    let failed = |error| Failure::new(Exit::Failed, format!("failed to make {}", dir.display())).because(error);
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Failure::new(
                    Exit::Conflict,
                    format!("{} is not empty; nothing was written", dir.display()),
                )
                .hint("name a new directory; certificates and token of an existing cluster are never overwritten"));
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make_dir(dir).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn make_dir(dir: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a new file that only its owner reads.
fn write(path: &Path, content: &str) -> Result<()> {
    let written = path.parent().map_or(Ok(()), make_dir).and_then(|()| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| Failure::new(Exit::Failed, format!("failed to write {}", path.display())).because(error))
}

/// A token from the kernel's randomness.
fn new_token() -> Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Failure::new(Exit::Failed, "failed to read /dev/urandom").because(error))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("weir_{hex}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn args(dir: &Path) -> InitArgs {
        InitArgs {
            dir: dir.to_owned(),
            name: "test".to_owned(),
            nodes: vec!["n1".to_owned(), "n2".to_owned()],
            hosts: vec!["10.0.0.1".to_owned()],
            days: 1,
        }
    }

    #[test]
    fn everything_is_written_once_and_private() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("cluster");
        let token = create(&args(&dir)).unwrap();
        for file in ["ca.pem", "control/https-key.pem", "control/link.pem", "nodes/n1/link-key.pem", "nodes/n2/ca.pem"]
        {
            let mode = fs::metadata(dir.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let digest = fs::read_to_string(dir.join("control/token.sha256")).unwrap();
        assert_eq!(format!("sha256:{}", digest.trim()), input::digest(token.as_bytes()));

        let failure = create(&args(&dir)).unwrap_err();
        assert_eq!(failure.exit(), Exit::Conflict);
        assert_eq!(fs::read_to_string(dir.join("control/token.sha256")).unwrap(), digest);
    }

    #[test]
    fn bad_names_write_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("cluster");
        for change in [
            (|a: &mut InitArgs| a.nodes = vec!["n1".to_owned(), "n1".to_owned()]) as fn(&mut InitArgs),
            |a| a.nodes = vec!["../x".to_owned()],
            |a| a.name = "A B".to_owned(),
            |a| a.hosts = vec!["not a host".to_owned()],
        ] {
            let mut args = args(&dir);
            change(&mut args);
            assert_eq!(create(&args).unwrap_err().exit(), Exit::Usage);
            assert!(!dir.exists());
        }
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(new_token().unwrap(), new_token().unwrap());
    }
}
