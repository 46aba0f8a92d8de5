//! From what a person types to one object: exact names, unique prefixes, suggestions.

use weir_api::{Found, FoundKind, PageQuery, SearchQuery, nearest::nearest};

use crate::{
    exit::Exit,
    failure::{Failure, Result},
    session::Session,
};

/// The length of a whole run id.
const RUN_ID_LEN: usize = 13;
/// The most candidates that an error lists.
const CANDIDATES_MAX: usize = 10;

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A job of the session's namespace.
    Job(String),
    /// A run, by its whole id.
    Run(String),
    /// A task.
    Task(String, u32),
    /// A node.
    Node(String),
}

/// Finds the object that `text` means, among those of the given kinds.
pub(crate) async fn target(session: &Session, text: &str, kinds: &[FoundKind]) -> Result<Target> {
    let runs = kinds.contains(&FoundKind::Run);
    if runs && text.parse::<weir_wire::id::RunId>().is_ok() && !kinds.contains(&FoundKind::Job) {
        return Ok(Target::Run(text.to_ascii_lowercase()));
    }
    let found = find(session, text, kinds).await?;
    match pick(text, &found)? {
        Some(found) => return Ok(into_target(found)),
        None if runs => {
            if let Some((run, index)) = split_task(text) {
                return Ok(Target::Task(self::run(session, run).await?, index));
            }
        }
        None => {}
    }
    Err(unknown(session, text, kinds).await)
}

/// Finds a run: by its id, a prefix of it, or the latest of a job.
pub(crate) async fn run(session: &Session, text: &str) -> Result<String> {
    match Box::pin(target(session, text, &[FoundKind::Job, FoundKind::Run])).await? {
        Target::Run(run) => Ok(run),
        Target::Job(job) => latest_run(session, &job).await,
        Target::Task(..) => Err(Failure::usage(format!("`{text}` is a task; name its run"))),
        Target::Node(_) => Err(Failure::usage(format!("`{text}` is a node"))),
    }
}

/// Finds a task: `RUN.INDEX`, or the only task of a run or job.
pub(crate) async fn task(session: &Session, text: &str) -> Result<(String, u32)> {
    let run = match target(session, text, &[FoundKind::Job, FoundKind::Run]).await? {
        Target::Task(run, index) => return Ok((run, index)),
        Target::Run(run) => run,
        Target::Job(job) => latest_run(session, &job).await?,
        Target::Node(_) => return Err(Failure::usage(format!("`{text}` is a node"))),
    };
    let count = session.client.run(&session.namespace, &run, &Default::default()).await?.count;
    if count == 1 {
        Ok((run, 0))
    } else {
        Err(Failure::usage(format!("run {run} has {count} tasks")).hint(format!("name one of them, such as {run}.0")))
    }
}

/// The latest run of a job.
pub(crate) async fn latest_run(session: &Session, job: &str) -> Result<String> {
    let query = PageQuery { job: Some(job.to_owned()), limit: Some(1), cursor: None };
    let page = session.client.runs(&session.namespace, &query).await?;
    page.items.into_iter().next().map(|run| run.id).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("job `{job}` has no runs"))
            .hint(format!("`wctl run {job}` starts one; of a cron job `wctl cron list` shows when it fires"))
    })
}

/// Finds a job, node or module by its name or a unique prefix.
pub(crate) async fn name(session: &Session, text: &str, kind: FoundKind) -> Result<String> {
    let found = find(session, text, &[kind]).await?;
    match pick(text, &found)? {
        Some(found) => Ok(found.id),
        None => Err(unknown(session, text, &[kind]).await),
    }
}

async fn find(session: &Session, text: &str, kinds: &[FoundKind]) -> Result<Vec<Found>> {
    let query = SearchQuery {
        prefix: text.to_owned(),
        kind: match kinds {
            [kind] => Some(*kind),
            _ => None,
        },
        namespace: Some(session.namespace.clone()),
        limit: None,
    };
    let mut found = session.client.search(&query).await?.items;
    found.retain(|found| kinds.contains(&found.kind));
    Ok(found)
}

/// The exact match, or the only one; several are an error that lists them.
fn pick(text: &str, found: &[Found]) -> Result<Option<Found>> {
    let exact: Vec<&Found> = found.iter().filter(|found| found.id.eq_ignore_ascii_case(text)).collect();
    match (exact.as_slice(), found) {
        ([one], _) => return Ok(Some((*one).clone())),
        ([], [one]) => return Ok(Some(one.clone())),
        ([], []) => return Ok(None),
        _ => {}
    }
    let mut candidates: Vec<String> =
        found.iter().take(CANDIDATES_MAX).map(|found| format!("{} {}", found.kind, found.id)).collect();
    if found.len() > CANDIDATES_MAX {
        candidates.push("…".to_owned());
    }
    Err(Failure::usage(format!("`{text}` means several: {}", candidates.join(", "))).hint("write more of it"))
}

fn split_task(text: &str) -> Option<(&str, u32)> {
    let (run, index) = text.rsplit_once('.')?;
    (run.len() <= RUN_ID_LEN && !run.is_empty()).then_some(())?;
    Some((run, index.parse().ok()?))
}

fn into_target(found: Found) -> Target {
    match found.kind {
        FoundKind::Job => Target::Job(found.id),
        FoundKind::Run => Target::Run(found.id),
        FoundKind::Node | FoundKind::Module => Target::Node(found.id),
    }
}

async fn unknown(session: &Session, text: &str, kinds: &[FoundKind]) -> Failure {
    let words: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let words = match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        words => words.concat(),
    };
    let failure = Failure::new(Exit::NotFound, format!("there is no {words} `{text}`"));
    // A suggestion is a courtesy: when the search fails, the error stands without it.
    let all = find(session, "", kinds).await.unwrap_or_default();
    let named: Vec<&str> = all.iter().filter(|found| found.kind != FoundKind::Run).map(|f| f.id.as_str()).collect();
    match nearest(text, named) {
        Some(name) => failure.hint(format!("did you mean `{name}`?")),
        None => failure.hint(match kinds {
            [FoundKind::Module] => "`wctl module list` shows what there is",
            [FoundKind::Node] => "`wctl node list` shows what there is",
            _ => "`wctl status` shows what there is",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: FoundKind, id: &str) -> Found {
        Found { kind, id: id.to_owned(), namespace: None, job: None }
    }

    #[test]
    fn exact_beats_prefix_and_several_are_listed() {
        let jobs = [found(FoundKind::Job, "count"), found(FoundKind::Job, "counter")];
        assert_eq!(pick("count", &jobs).unwrap().unwrap().id, "count");
        assert_eq!(pick("counte", &jobs[1..]).unwrap().unwrap().id, "counter");
        assert_eq!(pick("x", &[]).unwrap(), None);
        let failure = pick("cou", &jobs).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.render(false, false).contains("job count, job counter"), "{failure:?}");
    }

    #[test]
    fn a_task_is_a_run_and_an_index() {
        for (text, expected) in [
            ("3f8k.17", Some(("3f8k", 17))),
            ("3f8k", None),
            ("3f8k.x", None),
            (".1", None),
            ("a-long-job-name.1", None),
        ] {
            assert_eq!(split_task(text), expected, "{text}");
        }
    }
}
