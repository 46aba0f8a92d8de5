//! Guests that connect to what their jobs name.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use anyhow::{Context, Result, ensure};
use weir_e2e::{Cluster, Options, binaries::guest, until::until, wctl::field};

/// Answers each connection with what it got, backwards.
fn server() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut question = Vec::new();
            let answered = stream.and_then(|mut stream| {
                stream.read_to_end(&mut question)?;
                question.reverse();
                stream.write_all(&question)
            });
            answered.expect("a client that waits for its answer");
        }
    });
    Ok(port)
}

#[test]
fn programs_talk_to_what_they_were_granted_where_a_node_offers_it() {
    let run = || -> Result<()> {
        let mut cluster = Cluster::start(&Options { executors: 1, spare: 1, ..Options::default() })?;
        let (port, other) = (server()?, server()?);
        let module = guest("wasm32-wasip2", "client")?;
        let module = module.to_str().context("a path")?;
        let (grant, address) = (format!("net:127.0.0.1:{port}"), format!("127.0.0.1:{port}"));
        let deploy =
            ["deploy", module, "--grant", &grant, "--arg", &address, "--input", "stressed", "--detach", "-o", "json"];
        let id = field(&cluster.wctl(deploy)?.expect(0)?.json()?, "id")?.as_str().context("an id")?.to_owned();
        until("the run says why it waits", || {
            let why = cluster.wctl(["job", "why", "client"])?.expect(0)?.text();
            Ok(why.contains("network exists").then_some(()))
        })?;
        cluster.set_executor_args(&["--network", "127.0.0.1"]);
        cluster.start_executor(1)?;
        cluster.wctl(["wait", &id, "--for", "succeeded"])?.expect(0)?;
        let result = cluster.wctl(["task", "result", &format!("{id}.0")])?.text();
        ensure!(result.trim_end() == "desserts", "{result}");
        let shown = cluster.wctl(["job", "inspect", "client", "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&shown, "spec.grants.net")?.to_string().contains("127.0.0.1"), "{shown}");
        for local in [&["--local"][..], &[]] {
            let common = ["run", module, "--input", "live", "--grant", &grant].into_iter().chain(local.iter().copied());
            let result = cluster.wctl(common.clone().chain(["--", &address]))?.expect(0)?.text();
            ensure!(result.trim_end() == "evil", "{local:?}: {result}");
            let elsewhere = format!("127.0.0.1:{other}");
            cluster.wctl(common.chain(["--", &elsewhere]))?.expect(11)?;
        }
        // A name is looked up, and what it leads to has to be allowed on the node as well; a developer's own machine allows all.
        let named = format!("net:localhost:{port}");
        let by_name = ["run", module, "--input", "live", "--grant", &named, "--", &address];
        let result = cluster.wctl(by_name)?.expect(0)?.text();
        ensure!(result.trim_end() == "evil", "{result}");
        let refused = ["run", module, "--input", "live", "--grant", "net:169.254.169.254:80", "--", &address];
        let refused = cluster.wctl(refused)?.expect(11)?;
        ensure!(refused.stderr.contains("lets no guest connect to \"169.254.169.254\""), "{}", refused.stderr);
        Ok(())
    };
    run().expect("the test passes");
}
