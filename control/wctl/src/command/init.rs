//! `wctl cluster init`: everything that the daemons of a new cluster need to know each other.

use std::{fs, io, path::Path, time::Duration};

use weir_wire::id::NodeId;

use crate::{
    args::InitArgs,
    authority::{Files, make_dir},
    exit::Exit,
    failure::{Failure, Result},
    output::{terminal, write_stdout},
};

const DAY: Duration = Duration::from_secs(86_400);

/// `wctl cluster init`.
pub(crate) fn init(args: &InitArgs) -> Result<Exit> {
    let token = create(args)?;
    let dir = args.dir.display();
    terminal::note(&format!(
        "wrote {dir}/ca.pem (for clients), {dir}/ca.key (keep it offline), {dir}/control (for the control plane), \
         {dir}/nodes/NAME (one for each executor)\nthe admin token follows on stdout; it is not kept and cannot be shown \
         again: give it to wctl as WCTL_TOKEN, with WCTL_CA={dir}/ca.pem"
    ));
    write_stdout(format!("{token}\n").as_bytes())?;
    Ok(Exit::Ok)
}

/// Writes everything into the directory and returns the admin token, which is kept as a digest only.
fn create(args: &InitArgs) -> Result<String> {
    let cluster = args.name.parse();
    let cluster = cluster.map_err(|error| Failure::usage(format!("--name {}", args.name)).because(error))?;
    let files = Files::issue(cluster, &nodes(&args.nodes)?, &args.hosts, DAY * args.days);
    let mut files = files.map_err(|error| Failure::usage(format!("failed to {error}")))?;
    let failed =
        |error: io::Error| Failure::new(Exit::Failed, format!("failed to write {}", args.dir.display())).because(error);
    let token = files.add_token().map_err(failed)?;
    make_empty(&args.dir)?;
    files.write(&args.dir).map_err(failed)?;
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

/// Makes the directory; one that holds anything is never touched.
fn make_empty(dir: &Path) -> Result<()> {
    let failed = |error| Failure::new(Exit::Failed, format!("failed to make {}", dir.display())).because(error);
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::Conflict, format!("{} is not empty; nothing was written", dir.display()))
            .hint("name a new directory; certificates and token of an existing cluster are never overwritten")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_dir(dir).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
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
    fn a_cluster_is_made_once() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("cluster");
        create(&args(&dir)).unwrap();
        let digest = fs::read_to_string(dir.join("control/token.sha256")).unwrap();
        assert_eq!(create(&args(&dir)).unwrap_err().exit(), Exit::Conflict);
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
}
