use crate::{
    args::NamespaceCommand,
    exit::Exit,
    failure::Result,
    session::{Session, all_pages},
};

/// `wctl namespace`.
pub(crate) async fn namespace(session: &Session, command: &NamespaceCommand) -> Result<Exit> {
    match command {
        NamespaceCommand::List => {
            session.out.list(&all_pages(async |page| session.client.namespaces(page).await).await?)?;
        }
    }
    Ok(Exit::Ok)
}
