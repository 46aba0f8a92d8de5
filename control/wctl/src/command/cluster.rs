use weir_api::ChangeRequest;

use crate::{exit::Exit, failure::Result, session::Session};

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
