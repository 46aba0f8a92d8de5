//! An etcd that lets in only those who have a certificate and a password.

use std::{
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use weir_e2e::{
    Cluster, Options,
    daemon::Daemon,
    etcd::{Access, Etcd, PASSWORD, Tokens},
    guests::{self, CAT},
    skip, until,
    wctl::field,
};

const LIMIT: Duration = Duration::from_secs(120);
/// So short that tokens expire while a test runs, and so long that they do not.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

/// Runs a test on a cluster of one executor whose etcd asks for certificates; nothing but etcd is started.
fn on_etcd_with_certificates(test: &str, tokens: Tokens, run: impl FnOnce(&mut Cluster) -> Result<()>) {
    if !Etcd::is_installed() {
        return skip::note(test, "etcd is not installed");
    }
    let mut cluster =
        Cluster::prepare(&Options { executors: 1, ..Options::default() }).expect("the cluster is prepared");
    cluster.set_etcd(Etcd::with_certificates(cluster.dir(), tokens).expect("etcd starts"));
    if let Err(error) = run(&mut cluster) {
        panic!("{test}: {error:?}\n{}", cluster.logs());
    }
}

/// The same, and etcd lets in only its users.
fn on_protected_etcd(test: &str, tokens: Tokens, run: impl FnOnce(&mut Cluster) -> Result<()>) {
    on_etcd_with_certificates(test, tokens, |cluster| {
        cluster.etcd_mut().enable_users()?;
        run(cluster)
    });
}

/// Starts control plane and executor; gives the path of a guest.
fn start(cluster: &mut Cluster) -> Result<String> {
    cluster.start_control()?;
    cluster.start_executor(0)?;
    guests::write(cluster.dir(), "cat", CAT)
}

/// Runs a job to its end.
fn run_job(cluster: &Cluster, guest: &str) -> Result<()> {
    let answer = cluster.wctl(["deploy", guest, "--count", "20", "--input", "\"once\"", "-o", "json"])?.expect(0)?;
    let succeeded = field(&answer.json()?, "tasks.succeeded")?.as_u64();
    ensure!(succeeded == Some(20), "not all tasks succeeded: {}", answer.text());
    Ok(())
}

/// The error of the store that the cluster shows, once it shows one with this text.
fn shown_error(cluster: &Cluster, text: &str) -> Result<String> {
    until("the store's error is shown", || {
        let info = cluster.wctl(["cluster", "info", "-o", "json"])?.expect(0)?.json()?;
        let error = field(&info, "store.error").ok().and_then(|error| error.as_str()).map(str::to_owned);
        Ok(error.filter(|error| error.contains(text)))
    })
}

#[test]
fn jobs_run_while_certificates_are_asked_for_and_tokens_expire() {
    let test = "jobs_run_while_certificates_are_asked_for_and_tokens_expire";
    on_protected_etcd(test, Tokens::Signed(SHORT), |cluster| {
        let guest = start(cluster)?;
        let begun = Instant::now();
        while begun.elapsed() < 4 * SHORT {
            run_job(cluster, &guest)?;
        }
        ensure!(!cluster.control_mut().has_said("leadership was lost"), "a token that expired was not renewed");
        ensure!(!cluster.control_mut().has_said(PASSWORD), "the password is in the log");
        Ok(())
    });
}

#[test]
fn tokens_from_before_a_change_of_users_are_replaced() {
    on_protected_etcd("tokens_from_before_a_change_of_users_are_replaced", Tokens::Signed(LONG), |cluster| {
        let guest = start(cluster)?;
        run_job(cluster, &guest)?;
        // The same password again: any change of a user makes the signed tokens of all of them old.
        cluster.etcd_mut().set_password(PASSWORD)?;
        run_job(cluster, &guest)?;
        ensure!(!cluster.control_mut().has_said("leadership was lost"), "an old token was kept");
        Ok(())
    });
}

#[test]
fn a_token_that_etcd_has_forgotten_and_a_password_that_changes_are_survived() {
    let test = "a_token_that_etcd_has_forgotten_and_a_password_that_changes_are_survived";
    on_protected_etcd(test, Tokens::Remembered, |cluster| {
        let guest = start(cluster)?;
        run_job(cluster, &guest)?;
        cluster.etcd_mut().kill9()?;
        cluster.etcd_mut().restart()?;
        run_job(cluster, &guest)?;
        cluster.etcd_mut().set_password("another one")?;
        // The lease is renewed without a token; nothing is noticed before something has to be written.
        let mut deploy = Daemon::start("wctl", &mut cluster.wctl_command(["deploy", &guest, "--input", "\"once\""])?)?;
        cluster.control_mut().wait_for_line(&["do not accept each other"], LIMIT)?;
        let error = shown_error(cluster, "authentication failed")?;
        ensure!(error.contains("etcd_password_file"), "what to do is not said: {error}");
        cluster.etcd_mut().set_password(PASSWORD)?;
        ensure!(deploy.wait_exit(LIMIT)?.success(), "the deploy failed: {}", deploy.tail(20));
        run_job(cluster, &guest)
    });
}

#[test]
fn users_can_be_enabled_under_a_running_control_plane() {
    let test = "users_can_be_enabled_under_a_running_control_plane";
    on_etcd_with_certificates(test, Tokens::Remembered, |cluster| {
        let guest = start(cluster)?;
        run_job(cluster, &guest)?;
        ensure!(cluster.control_mut().has_said("authentication is not enabled"), "an open etcd is not warned of");
        cluster.etcd_mut().enable_users()?;
        run_job(cluster, &guest)
    });
}

#[test]
fn who_is_not_let_in_is_told_why() {
    on_protected_etcd("who_is_not_let_in_is_told_why", Tokens::Remembered, |cluster| {
        let right = cluster.etcd_mut().access();
        let wrong_password = cluster.etcd_mut().wrong_password()?;
        let cases: [(&str, &str, Access); 5] = [
            ("authentication failed", "etcd_password_file", with_password(&right, wrong_password)),
            // etcd then takes the common name of the certificate for the user.
            ("permission denied", "etcd_user", Access { login: None, ..right.clone() }),
            ("received fatal alert", "etcd_cert", Access { client: None, ..right.clone() }),
            ("invalid peer certificate", "etcd_ca", Access { ca: Some(cluster.pki("ca.pem")), ..right.clone() }),
            ("corrupt message", "http://", Access { endpoints: vec![plain_endpoint()?], ..right.clone() }),
        ];
        for (reason, advice, access) in cases {
            cluster.set_etcd_access(access);
            let line = cluster.spawn_control()?.wait_for_line(&["do not accept each other"], LIMIT)?;
            ensure!(line.contains(reason) && line.contains(advice), "{reason:?} and {advice:?} are not in {line}");
            shown_error(cluster, reason)?;
            ensure!(!cluster.control_mut().has_said("battery staple"), "the password is in the log");
            cluster.control_mut().kill9()?;
        }
        cluster.set_etcd_access(with_password(&right, "/does/not/exist".into()));
        let status = cluster.spawn_control()?.wait_exit(LIMIT)?;
        let said = cluster.control_mut().tail(5);
        ensure!(
            !status.success() && said.contains("setting etcd_password_file"),
            "a missing file is not named: {said}"
        );
        Ok(())
    });
}

fn with_password(access: &Access, file: PathBuf) -> Access {
    let login = access.login.clone().map(|(user, _)| (user, file));
    Access { login, ..access.clone() }
}

/// An endpoint that answers, but not with TLS. It lives as long as the test.
fn plain_endpoint() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("open a port")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that is gone already does not matter.
            let _unsent = std::io::Write::write_all(&mut &connection, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    Ok(format!("https://{address}"))
}

#[test]
fn a_first_endpoint_that_is_dead_or_silent_delays_only_the_start() {
    let test = "a_first_endpoint_that_is_dead_or_silent_delays_only_the_start";
    on_protected_etcd(test, Tokens::Remembered, |cluster| {
        let right = cluster.etcd_mut().access();
        // Connections to it are opened and never answered.
        let silent = TcpListener::bind("127.0.0.1:0").context("open a port")?;
        let dead = "https://127.0.0.1:1".to_owned();
        for first in [dead, format!("https://{}", silent.local_addr()?)] {
            let endpoints = [vec![first], right.endpoints.clone()].concat();
            cluster.set_etcd_access(Access { endpoints, ..right.clone() });
            let guest = start(cluster)?;
            run_job(cluster, &guest)?;
            ensure!(!cluster.control_mut().has_said("leadership was lost"), "the endpoint is asked again and again");
            cluster.control_mut().kill9()?;
            cluster.executor_mut(0).kill9()?;
        }
        Ok(())
    });
}
