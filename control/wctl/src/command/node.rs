use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use weir_api::{ChangeRequest, DrainRequest, FoundKind, LabelsRequest, Node};

use crate::{
    args::{DrainArgs, NodeCommand},
    exit::Exit,
    failure::{Failure, Result},
    output::terminal,
    resolve,
    session::{Session, all_pages, deadline},
};

/// How often a node that is drained is looked at.
const DRAIN_LOOK: Duration = Duration::from_millis(250);

/// `wctl node`.
pub(crate) async fn node(session: &Session, command: &NodeCommand) -> Result<Exit> {
    let client = &session.client;
    match command {
        NodeCommand::List => session.out.list(&all_pages(async |page| client.nodes(page).await).await?)?,
        NodeCommand::Inspect { node } => {
            let node = find(session, node).await?;
            session.out.object(&client.node(&node).await?)?;
        }
        NodeCommand::Cordon { node, change } => {
            let request = ChangeRequest { message: change.message.clone() };
            session.out.object(&client.cordon_node(&find(session, node).await?, &request).await?)?;
        }
        NodeCommand::Uncordon { node, change } => {
            let request = ChangeRequest { message: change.message.clone() };
            session.out.object(&client.uncordon_node(&find(session, node).await?, &request).await?)?;
        }
        NodeCommand::Drain(args) => session.out.object(&drain(session, args).await?)?,
        NodeCommand::Label { node, labels } => {
            let request = LabelsRequest { labels: parse_labels(labels)? };
            session.out.object(&client.label_node(&find(session, node).await?, &request).await?)?;
        }
        NodeCommand::Remove { node } => {
            let node = find(session, node).await?;
            client.remove_node(&node).await?;
            terminal::note(&format!("node {node} is forgotten"));
        }
    }
    Ok(Exit::Ok)
}

async fn find(session: &Session, node: &str) -> Result<String> {
    resolve::name(session, node, FoundKind::Node).await
}

async fn drain(session: &Session, args: &DrainArgs) -> Result<Node> {
    let node = find(session, &args.node).await?;
    let deadline = deadline("timeout", args.timeout.as_deref())?;
    if args.cancel {
        let request = ChangeRequest { message: args.message.clone() };
        return Ok(session.client.uncordon_node(&node, &request).await?);
    }
    let request = DrainRequest {
        deadline: if args.force { Some("0s".to_owned()) } else { args.deadline.clone() },
        ignore_system: args.ignore_system,
        message: args.message.clone(),
    };
    let mut state = session.client.drain_node(&node, &request).await?;
    let mut left = None;
    while args.wait && !is_empty(&state)? {
        if left != Some(state.running) {
            left = Some(state.running);
            terminal::note(&format!("{} tasks are left on {node}", state.running));
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let message = format!("node {node} is not empty yet; its drain goes on");
            return Err(Failure::new(Exit::TimedOut, message).hint(format!("`wctl node inspect {node}` shows how far")));
        }
        tokio::time::sleep(DRAIN_LOOK).await;
        state = session.client.node(&node).await?;
    }
    Ok(state)
}

/// Whether a drained node has nothing left that has to go.
fn is_empty(node: &Node) -> Result<bool> {
    let drain = node.drain.as_ref();
    drain.map(|drain| drain.done).ok_or_else(|| {
        Failure::new(Exit::Conflict, format!("node {} is drained no more: somebody has cancelled that", node.id))
    })
}

/// `NAME=VALUE` sets, `NAME-` removes.
fn parse_labels(texts: &[String]) -> Result<BTreeMap<String, Option<String>>> {
    let one = |text: &String| match (text.split_once('='), text.strip_suffix('-')) {
        (Some((name, value)), _) => Ok((name.to_owned(), Some(value.to_owned()))),
        (None, Some(name)) => Ok((name.to_owned(), None)),
        (None, None) => Err(Failure::usage(format!("`{text}`: write NAME=VALUE to set a label, NAME- to remove it"))),
    };
    texts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_set_and_removed() {
        let texts = ["zone=a", "disk-", "note=a=b-"].map(str::to_owned);
        let labels = parse_labels(&texts).unwrap();
        let expected = [("disk", None), ("note", Some("a=b-")), ("zone", Some("a"))];
        assert!(labels.iter().map(|(name, value)| (name.as_str(), value.as_deref())).eq(expected), "{labels:?}");
        assert_eq!(parse_labels(&["zone".to_owned()]).unwrap_err().exit(), Exit::Usage);
    }
}
