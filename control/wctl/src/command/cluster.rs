use weir_api::{ChangeRequest, GcRequest};

use crate::{args::GcArgs, exit::Exit, failure::Result, session::Session};

/// `wctl cluster info`.
pub(crate) async fn info(session: &Session) -> Result<Exit> {
    session.out.object(&session.client.cluster().await?)?;
    Ok(Exit::Ok)
}

/// `wctl cluster release-brake`.
pub(crate) async fn release_brake(session: &Session, message: Option<String>) -> Result<Exit> {
    session.out.object(&session.client.release_brake(&ChangeRequest { message }).await?)?;
    Ok(Exit::Ok)
}

/// `wctl cluster gc`.
pub(crate) async fn gc(session: &Session, args: GcArgs) -> Result<Exit> {
    let request = GcRequest { dry_run: args.dry_run, min_age: args.min_age, message: args.message };
    session.out.object(&session.client.collect_garbage(&request).await?)?;
    Ok(Exit::Ok)
}
