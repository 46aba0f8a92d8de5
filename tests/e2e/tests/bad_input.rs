//! Bad input: each gives a clear error with the right exit code, and loses nothing.

use std::{
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use weir_e2e::{
    Cluster, Options, Store,
    binaries::{self, guest},
    daemon::Daemon,
    etcd::{Access, Etcd, Tokens},
    skip,
    wctl::{Answer, field},
};
use weir_link::issue::{ClusterCa, Validity};

fn one_node() -> Result<Cluster> {
    Cluster::start(&Options { executors: 1, ..Options::default() })
}

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn modules_and_specs_that_cannot_run_are_refused() {
    let run = || -> Result<()> {
        let cluster = one_node()?;
        let dir = cluster.dir();
        let hello = std::fs::read(guest("wasm32-wasip2", "hello")?)?;
        std::fs::write(dir.join("text.wasm"), "this is not Wasm\n")?;
        std::fs::write(dir.join("cut.wasm"), &hello[..hello.len() / 2])?;
        std::fs::write(dir.join("hello.wasm"), &hello)?;
        let unknown =
            r#"(module (import "env" "launch_rocket" (func)) (memory (export "memory") 1) (func (export "_start")))"#;
        std::fs::write(dir.join("unknown.wasm"), wat::parse_str(unknown)?)?;
        std::fs::write(dir.join("job.toml"), "[job]\nname = \"x\"\nmodule = \"hello.wasm\"\ncuont = 3\n")?;
        let cases: [(&[&str], i32, &str); 9] = [
            (&["deploy", "text.wasm"], 3, "not"),
            (&["deploy", "cut.wasm"], 3, "truncated"),
            (&["deploy", "unknown.wasm"], 3, "env.launch_rocket"),
            (&["module", "validate", "unknown.wasm"], 3, "env.launch_rocket"),
            (&["deploy", "job.toml"], 3, "job.cuont"),
            (&["deploy", "hello.wasm", "--cpu", "7"], 3, "resources.cpu"),
            (&["deploy", "missing.wasm"], 4, "missing.wasm"),
            (&["run", "no-such-job"], 4, "no-such-job"),
            (&["status", "zzzz"], 4, "zzzz"),
        ];
        for (arguments, code, word) in cases {
            let answer = cluster.wctl(arguments)?;
            ensure!(
                answer.stderr.contains(word),
                "{arguments:?} does not name {word:?}: {}\n{}",
                answer.stderr,
                answer.text()
            );
            answer.expect(code).with_context(|| format!("{arguments:?}"))?;
        }
        let jobs = cluster.wctl(["job", "list", "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&jobs, "items")?.as_array().is_some_and(Vec::is_empty), "refused jobs exist: {jobs}");
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn a_damaged_store_is_named_with_what_to_do() {
    let run = || -> Result<()> {
        let mut cluster = Cluster::start(&Options::default())?;
        cluster.control_mut().kill9()?;
        let file = cluster.dir().join("store/weir.redb");
        let whole = std::fs::read(&file)?;
        let scrambled =
            whole.iter().enumerate().map(|(at, byte)| if at < 4096 { *byte } else { byte ^ 0x5a }).collect();
        for (case, bytes) in [("cut", whole[..300].to_vec()), ("other", vec![7; 9000]), ("scrambled", scrambled)] {
            std::fs::write(&file, bytes)?;
            let ended = cluster.spawn_control()?.wait_exit(LIMIT).context(case)?;
            let said = cluster.control_mut().tail(5);
            let told = said.contains("weir.redb") && said.contains("wctl cluster snapshot restore");
            ensure!(!ended.success() && told, "{case}: {said}");
        }
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn an_etcd_with_tls_behind_http_or_without_behind_https_is_told_with_the_setting() {
    let test = "an_etcd_with_tls_behind_http_or_without_behind_https_is_told_with_the_setting";
    if !Etcd::is_installed() {
        return skip::note(test, "etcd is not installed");
    }
    let run = || -> Result<()> {
        let mut cluster = Cluster::prepare(&Options::default())?;
        let plain = Etcd::start(cluster.dir())?;
        let access = Access {
            endpoints: vec![plain.url().replace("http://", "https://")],
            ca: Some(cluster.pki("ca.pem")),
            ..plain.access()
        };
        cluster.set_etcd(plain);
        cluster.set_etcd_access(access);
        cluster.spawn_control()?.wait_for_line(&["begin the endpoint with http://"], LIMIT)?;
        cluster.control_mut().kill9()?;

        let directory = cluster.dir().join("secure");
        std::fs::create_dir(&directory)?;
        let secure = Etcd::with_certificates(&directory, Tokens::Remembered)?;
        let plain = secure.access().endpoints.iter().map(|url| url.replace("https://", "http://")).collect();
        cluster.set_etcd(secure);
        cluster.set_etcd_access(Access { endpoints: plain, ..Access::default() });
        cluster.spawn_control()?.wait_for_line(&["begin the endpoint with https:// and set etcd_ca"], LIMIT).map(drop)
    };
    run().expect("the test passes");
}

#[test]
fn a_missing_or_wrong_token_is_exit_code_6_and_a_silent_address_7() {
    let run = || -> Result<()> {
        let cluster = Cluster::start(&Options::default())?;
        let mut missing = cluster.wctl_command(["cluster", "info"])?;
        missing.env_remove("WCTL_TOKEN");
        Answer::of(&mut missing, b"")?.expect(6)?;
        let mut wrong = cluster.wctl_command(["cluster", "info"])?;
        wrong.env("WCTL_TOKEN", "not-the-token");
        Answer::of(&mut wrong, b"")?.expect(6)?;
        let mut silent = cluster.wctl_command(["cluster", "info"])?;
        silent.env("WCTL_ADDR", "https://127.0.0.1:1");
        Answer::of(&mut silent, b"")?.expect(7)?;
        cluster.wctl(["no-such-command"])?.expect(2)?;
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn an_executor_of_another_cluster_is_refused() {
    let run = || -> Result<()> {
        let cluster = Cluster::start(&Options::default())?;
        let other = Cluster::prepare(&Options { executors: 1, ..Options::default() })?;
        let mut command = cluster.executor_command(0)?;
        let identity = other.pki("nodes/node-1");
        command.arg("--ca").arg(identity.join("ca.pem"));
        let mut arguments = Command::new(command.get_program());
        arguments.arg("--control").arg(cluster.link_address());
        arguments.arg("--ca").arg(identity.join("ca.pem")).arg("--cert").arg(identity.join("executor.pem"));
        arguments.arg("--key").arg(identity.join("executor.key")).arg("--data-dir").arg(other.dir().join("node"));
        let mut executor = Daemon::start("foreign executor", &mut arguments)?;
        let status = executor.wait_exit(LIMIT)?;
        ensure!(!status.success(), "an executor of another cluster was accepted:\n{}", executor.tail(20));
        let log = executor.tail(20);
        ensure!(log.contains("certificate") || log.contains("authority"), "the reason is not clear:\n{log}");
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn a_second_executor_with_the_same_identity_is_refused() {
    let run = || -> Result<()> {
        let mut cluster = one_node()?;
        let command = cluster.executor_command(0)?;
        let identity = cluster.pki("nodes/node-1");
        // Its count of starts passes the first one's, which must not help it.
        for start in 1..=3 {
            let mut twin = Command::new(command.get_program());
            twin.arg("--control").arg(cluster.link_address());
            twin.arg("--ca").arg(identity.join("ca.pem")).arg("--cert").arg(identity.join("executor.pem"));
            twin.arg("--key").arg(identity.join("executor.key")).arg("--data-dir").arg(cluster.dir().join("copy"));
            let mut twin = Daemon::start("second executor", &mut twin)?;
            let status = twin.wait_exit(LIMIT)?;
            ensure!(!status.success(), "start {start} of a second executor was accepted:\n{}", twin.tail(20));
            ensure!(twin.tail(20).contains("another executor"), "the reason is not clear:\n{}", twin.tail(20));
        }
        let nodes = cluster.wctl(["node", "inspect", "node-1", "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&nodes, "state")? == "ready", "the first executor suffered: {nodes}");
        ensure!(field(&nodes, "incarnation")? == 1, "the second executor has the name: {nodes}");
        ensure!(cluster.executor_mut(0).pid() > 0);
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn an_executor_with_an_expired_certificate_ends_and_says_so() {
    let run = || -> Result<()> {
        let cluster = Cluster::start(&Options::default())?;
        let read = |file: &str| std::fs::read_to_string(cluster.pki(file)).with_context(|| format!("read {file}"));
        let authority = ClusterCa::load(&read("ca.pem")?, &read("ca.key")?)?;
        let past = SystemTime::now() - Duration::from_secs(7200);
        let validity = Validity::starting(past, Duration::from_secs(3600));
        let expired = authority.issue_executor(&"node-1".parse()?, validity)?;
        let (cert, key) = (cluster.dir().join("expired.pem"), cluster.dir().join("expired.key"));
        std::fs::write(&cert, expired.certificate_pem)?;
        std::fs::write(&key, expired.key_pem)?;
        let mut command = Command::new(binaries::program("weir-executor")?);
        command.arg("--control").arg(cluster.link_address()).arg("--ca").arg(cluster.pki("ca.pem"));
        command.arg("--cert").arg(cert).arg("--key").arg(key).arg("--data-dir").arg(cluster.dir().join("node"));
        let mut executor = Daemon::start("expired executor", &mut command)?;
        let status = executor.wait_exit(LIMIT)?;
        ensure!(!status.success(), "an expired certificate was accepted:\n{}", executor.tail(20));
        ensure!(executor.tail(20).contains("expired"), "the reason is not clear:\n{}", executor.tail(20));
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn an_etcd_that_is_down_at_the_start_is_waited_for() {
    if !Etcd::is_installed() {
        return skip::note("an_etcd_that_is_down_at_the_start_is_waited_for", "etcd is not installed");
    }
    let run = || -> Result<()> {
        let mut cluster = Cluster::prepare(&Options { store: Store::Etcd, executors: 0, ..Options::default() })?;
        cluster.set_etcd(Etcd::stopped(cluster.dir())?);
        cluster.spawn_control()?.wait_for_line(&["the store does not work"], LIMIT)?;
        cluster.etcd_mut().restart()?;
        cluster.control_mut().wait_for_line(&["leading"], LIMIT)?;
        cluster.wctl(["cluster", "info"])?.expect(0)?;
        Ok(())
    };
    run().expect("the test passes");
}
