//! `wctl cluster snapshot`: everything that a cluster keeps, in one file.

mod partial;

use std::path::Path;

use clap::Parser as _;
use tokio::{fs::File, io::AsyncWriteExt as _};
use weir_api::SnapshotQuery;
use weir_control::{
    Args, Config,
    snapshot::{self, SnapshotError},
};

use crate::{
    args::{RestoreArgs, SaveArgs},
    exit::Exit,
    failure::{Failure, Result},
    output::{Out, terminal},
    session::Session,
};

/// `wctl cluster snapshot save`: the file appears once it is whole.
pub(crate) async fn save(session: &Session, args: &SaveArgs) -> Result<Exit> {
    let path = &args.file;
    let failed =
        |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot write {}", path.display())).because(error);
    if path.exists() {
        return Err(Failure::usage(format!("{} exists already; give another name", path.display())));
    }
    let query = SnapshotQuery { blobs: args.no_blobs.then_some(false) };
    let mut download = session.client.snapshot(&query).await?;
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let partial = partial::create(beside).map_err(failed)?;
    let mut file = File::from_std(partial.as_file().try_clone().map_err(failed)?);
    while let Some(chunk) = download.next().await.map_err(broken_off)? {
        file.write_all(chunk.as_ref()).await.map_err(failed)?;
    }
    file.sync_all().await.map_err(failed)?;
    drop(file);
    let summary = snapshot::inspect(partial.path()).await.map_err(failure)?;
    partial.persist_noclobber(path).map_err(|error| failed(error.error))?;
    session.out.object(&summary)?;
    Ok(Exit::Ok)
}

/// What is there of it is of no use, and is gone.
fn broken_off(error: weir_client::Error) -> Failure {
    Failure::from(error).hint(
        "the snapshot broke off, and nothing was kept of it; `wctl cluster info` shows who leads, whose log says why, \
         and then it can be made again",
    )
}

/// `wctl cluster snapshot inspect`.
pub(crate) async fn inspect(out: Out, path: &Path) -> Result<Exit> {
    out.object(&snapshot::inspect(path).await.map_err(failure)?)?;
    Ok(Exit::Ok)
}

/// `wctl cluster snapshot restore`.
pub(crate) async fn restore(out: Out, args: &RestoreArgs) -> Result<Exit> {
    let settings = std::iter::once("weir-control").chain(args.settings.iter().map(String::as_str));
    let settings = Args::try_parse_from(settings)
        .map_err(|error| Failure::usage(format!("the settings of weir-control after `--`: {error}")))?;
    let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let config = Config::load(settings, environment).map_err(|error| {
        Failure::usage(format!("failed to {error}"))
            .hint("give the settings of the control plane after `--`, such as `-- --config control.toml`")
    })?;
    let summary = snapshot::restore(&config, &args.file).await.map_err(failure)?;
    if !summary.header.blobs {
        terminal::note("the snapshot has no objects: the control plane needs the blob store that belongs to it");
    }
    terminal::note("restored; start the control plane, then the executors anew");
    out.object(&summary)?;
    Ok(Exit::Ok)
}

fn failure(error: SnapshotError) -> Failure {
    let exit = match error {
        SnapshotError::File { .. } | SnapshotError::Format(_) => Exit::Usage,
        SnapshotError::Refused(_) => Exit::Conflict,
        SnapshotError::Damaged(_) | SnapshotError::Failed(_) => Exit::Failed,
    };
    Failure::new(exit, format!("failed to {error}"))
}
