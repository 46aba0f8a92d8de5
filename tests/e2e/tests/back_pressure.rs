//! A queue that is full: what comes beyond it is refused with the limit's name, and taken once there is room.

use anyhow::{Context, Result, ensure};
use weir_client::{
    Client, Error,
    api::{Code, RunRequest},
};
use weir_e2e::{
    Cluster, Options,
    guests::{self, CAT, SLEEP},
    until,
    wctl::field,
};

/// What may be open.
const LIMIT: &str = "10";

/// What the API says of another run of the job.
fn refused_by_the_api(cluster: &Cluster, job: &str) -> Result<Error> {
    let (addresses, token) = (vec![cluster.address()], Some(cluster.token().to_owned()));
    let client = Client::new(weir_client::Options { addresses, token, ca_pem: Some(cluster.ca_pem()?) })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let request = RunRequest { job: job.to_owned(), ..RunRequest::default() };
    runtime.block_on(client.start_run("default", &request, None)).err().context("a refusal")
}

fn it_is_full_and_drains(cluster: &Cluster) -> Result<()> {
    let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
    let cat = guests::write(cluster.dir(), "cat", CAT)?;
    cluster.wctl(["deploy", &cat, "--name", "one", "--input", "x"])?.expect(0)?;
    let too_many = cluster.wctl(["deploy", &sleep, "--name", "many", "--count", "11", "--detach"])?.expect(2)?;
    ensure!(too_many.stderr.contains("more than may be open in this cluster, which is 10"), "{}", too_many.stderr);
    let waiting = ["deploy", &sleep, "--name", "waiting", "--count", LIMIT, "--timeout", "10m", "--detach"];
    let waiting = cluster.wctl(waiting.into_iter().chain(["-o", "json"]))?.expect(0)?.json()?;
    let waiting = field(&waiting, "id")?.as_str().context("an id")?.to_owned();

    for command in [&["run", "one", "--input", "x"][..], &["run", &cat, "--input", "x"]] {
        let refused = cluster.wctl(command)?.expect(9)?;
        for part in
            ["10 tasks are open", "10 is the limit", "open_tasks_max", "stop some", "try again in", "nothing was"]
        {
            ensure!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
        }
    }
    let Error::Api(problem) = refused_by_the_api(cluster, "one")? else { anyhow::bail!("no problem document") };
    // What the client adds comes from the header `Retry-After`.
    ensure!(problem.status == 429 && problem.code == Code::BackPressure, "{problem:?}");
    ensure!(problem.detail.contains("try again in"), "{problem:?}");

    cluster.wctl(["stop", &waiting])?.expect(0)?;
    until("the queue has room", || {
        let answer = cluster.wctl(["run", "one", "--input", "again"])?;
        ensure!(answer.code == 0 || answer.code == 9, "{answer:?}");
        Ok((answer.code == 0).then_some(answer))
    })?;
    Ok(())
}

#[test]
fn a_full_queue_refuses_and_takes_again() {
    let control_args = ["--open-tasks-max", LIMIT].map(str::to_owned).to_vec();
    let options = Options { executors: 1, control_args, ..Options::default() };
    let cluster = Cluster::start(&options).expect("the cluster starts");
    if let Err(error) = it_is_full_and_drains(&cluster) {
        panic!("{error:?}\n{}", cluster.logs());
    }
}
