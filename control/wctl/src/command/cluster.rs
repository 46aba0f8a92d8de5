use crate::{exit::Exit, failure::Result, session::Session};

/// `wctl cluster info`.
pub(crate) async fn info(session: &Session) -> Result<Exit> {
    session.out.object(&session.client.cluster().await?)?;
    Ok(Exit::Ok)
}
