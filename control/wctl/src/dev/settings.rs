use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use weir_executor::{CpuCount, Size, Span};
use weir_wire::id::{ClusterName, NodeId};

use crate::{
    args::DevArgs,
    authority::{CONTROL_DIR, Files, make_dir, node_dir},
    exit::Exit,
    failure::{Failure, Result},
};

const CLUSTER: &str = "dev";
const NODE: &str = "local";
/// Long enough that no development cluster sees its end.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long running attempts may take after a signal; what has not ended by then is run again at the next start.
const GRACE: Duration = Duration::from_secs(5);

/// Everything that a development cluster needs, checked, with its directory and certificates made.
#[derive(Debug)]
pub(super) struct Settings {
    cluster: ClusterName,
    node: NodeId,
    data_dir: PathBuf,
    listen: SocketAddr,
    link: SocketAddr,
    publish: BTreeMap<String, PathBuf>,
    cpus: Option<CpuCount>,
    memory: Option<Size>,
}

impl Settings {
    /// Checks the flags, makes the directory, and issues certificates at the first start.
    pub(super) fn new(args: &DevArgs) -> Result<Self> {
        for (flag, address) in [("listen", args.listen), ("link", args.link)] {
            if !address.ip().is_loopback() {
                return Err(Failure::usage(format!("--{flag} {address}: a development cluster is open to everybody who reaches it, so it listens on loopback only"))
                    .hint("`wctl cluster init`, weir-control and weir-executor make a cluster with TLS and a token"));
            }
        }
        let publish = args.publish.iter().map(|text| parse_publish(text)).collect::<Result<_>>()?;
        let cpus = parse("cpus", args.cpus.as_deref())?;
        let memory = parse("memory", args.memory.as_deref())?;
        let settings = Self {
            cluster: own_name(CLUSTER)?,
            node: own_name(NODE)?,
            data_dir: args.data_dir.clone().map_or_else(default_dir, Ok)?,
            listen: args.listen,
            link: args.link,
            publish,
            cpus,
            memory,
        };
        settings.prepare().map_err(|error| {
            Failure::new(Exit::Failed, format!("failed to prepare {}", settings.data_dir.display())).because(error)
        })?;
        Ok(settings)
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The settings of the control plane.
    pub(super) fn control(&self) -> weir_control::Config {
        let identity = self.identity().join(CONTROL_DIR);
        weir_control::Config::dev(
            self.cluster.clone(),
            &self.data_dir.join("control"),
            self.listen,
            self.link,
            identity,
        )
    }

    /// The settings of the executor.
    pub(super) fn executor(&self, link: SocketAddr) -> weir_executor::Config {
        let files = self.identity().join(node_dir(&self.node));
        weir_executor::Config {
            control: vec![link.to_string()],
            ca: files.join("ca.pem"),
            cert: files.join("executor.pem"),
            key: files.join("executor.key"),
            data_dir: self.data_dir.join("executor"),
            cpus: self.cpus,
            memory: self.memory,
            grace: Span(GRACE),
            publish: self.publish.clone(),
            scratch: true,
            network: ["0.0.0.0/0", "::/0"].map(str::to_owned).to_vec(),
            ..weir_executor::Config::default()
        }
    }

    fn identity(&self) -> PathBuf {
        self.data_dir.join("identity")
    }

    /// Certificates are written beside their place and moved there whole, so that a crash leaves none or all.
    fn prepare(&self) -> io::Result<()> {
        make_dir(&self.data_dir)?;
        let identity = self.identity();
        if identity.exists() {
            return Ok(());
        }
        let part = self.data_dir.join("identity.part");
        match fs::remove_dir_all(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let nodes = std::slice::from_ref(&self.node);
        Files::issue(self.cluster.clone(), nodes, &[], LIFETIME).map_err(io::Error::other)?.write(&part)?;
        fs::rename(&part, &identity)
    }
}

/// `NAME=DIR`.
fn parse_publish(text: &str) -> Result<(String, PathBuf)> {
    let (name, dir) =
        text.split_once('=').ok_or_else(|| Failure::usage(format!("--publish {text}: write NAME=DIR")))?;
    weir_api::spec::check_name(name)
        .map_err(|reason| Failure::usage(format!("--publish {text}: the name {reason}")))?;
    let failed = |error| Failure::usage(format!("--publish {text}: failed to find {dir}")).because(error);
    let dir = fs::canonicalize(dir).map_err(failed)?;
    if !dir.is_dir() {
        return Err(Failure::usage(format!("--publish {text}: {} is not a directory", dir.display())));
    }
    Ok((name.to_owned(), dir))
}

fn parse<T: FromStr<Err = String>>(flag: &str, text: Option<&str>) -> Result<Option<T>> {
    text.map(T::from_str).transpose().map_err(|error| Failure::usage(format!("--{flag}: {error}")))
}

fn own_name<T: FromStr<Err = weir_wire::id::ParseError>>(name: &str) -> Result<T> {
    name.parse().map_err(|error| Failure::new(Exit::Failed, "failed to name the cluster").because(error))
}

fn default_dir() -> Result<PathBuf> {
    let from = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let data = from("XDG_DATA_HOME").or_else(|| Some(from("HOME")?.join(".local/share")));
    data.map(|data| data.join("weir/dev")).ok_or_else(|| Failure::usage("HOME is not set; give --data-dir DIR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path) -> DevArgs {
        DevArgs {
            listen: "127.0.0.1:0".parse().unwrap(),
            link: "127.0.0.1:0".parse().unwrap(),
            data_dir: Some(dir.join("data")),
            publish: vec![format!("corpus={}", dir.display())],
            cpus: Some("1.5".to_owned()),
            memory: Some("1GiB".to_owned()),
        }
    }

    #[test]
    fn certificates_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::new(&args(dir.path())).unwrap();
        let key = || fs::read(dir.path().join("data/identity/ca.key")).unwrap();
        let first = key();
        Settings::new(&args(dir.path())).unwrap();
        assert_eq!(key(), first);
        let executor = settings.executor("127.0.0.1:4641".parse().unwrap());
        executor.validate().unwrap();
        assert!(executor.cert.is_file() && executor.key.is_file() && executor.ca.is_file());
        assert_eq!(executor.publish["corpus"], dir.path().canonicalize().unwrap());
        assert!(settings.control().identity.join("control.pem").is_file());
    }

    #[test]
    fn flags_that_cannot_work_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for change in [
            (|a: &mut DevArgs| a.listen = "0.0.0.0:4640".parse().unwrap()) as fn(&mut DevArgs),
            |a| a.link = "10.0.0.1:4641".parse().unwrap(),
            |a| a.publish = vec!["corpus".to_owned()],
            |a| a.publish = vec!["Corpus=/".to_owned()],
            |a| a.publish = vec!["corpus=/nonexistent/dir".to_owned()],
            |a| a.cpus = Some("many".to_owned()),
            |a| a.memory = Some("4".to_owned()),
        ] {
            let mut args = args(dir.path());
            change(&mut args);
            assert_eq!(Settings::new(&args).unwrap_err().exit(), Exit::Usage);
            assert!(!dir.path().join("data").exists());
        }
    }
}
