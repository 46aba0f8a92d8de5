use weir_api::FoundKind;

use crate::{
    args::NodeCommand,
    exit::Exit,
    failure::Result,
    resolve,
    session::{Session, all_pages},
};

/// `wctl node`.
pub(crate) async fn node(session: &Session, command: &NodeCommand) -> Result<Exit> {
    match command {
        NodeCommand::List => {
            let nodes = all_pages(async |page| session.client.nodes(page).await).await?;
            session.out.list(&nodes)?;
        }
        NodeCommand::Inspect { node } => {
            let node = resolve::name(session, node, FoundKind::Node).await?;
            session.out.object(&session.client.node(&node).await?)?;
        }
    }
    Ok(Exit::Ok)
}
