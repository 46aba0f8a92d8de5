use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_documented_line_parses() {
    for line in [
        "wctl deploy m.wasm",
        "wctl deploy - --name x --kind batch --count 10 --cpu 0.5 --memory 64MiB --fuel 10e9 --timeout 30s",
        "wctl deploy job.toml --env A=1 --env B=2 --arg --top --grant dir:corpus:/data:ro --retries 2 --priority 7",
        "wctl deploy job.toml --tier preemptible --constraint arch=x86_64 --max-running 4 --message why --dry-run",
        "wctl deploy job.toml --check-revision 3 --idempotency-key k --detach -o json",
        "wctl deploy m.wasm --wait --wait-timeout 1m --input {\"n\":1}",
        "wctl deploy m.wasm --items lines.txt --output-limit 2MiB --backoff 1s..2s",
        "wctl run m.wasm --input @f --output out --propagate-exit -- --flag value",
        "wctl run wordcount -n team",
        "wctl logs 3f8k.17 -f --tail 10 --stdout --stderr --timestamps",
        "wctl logs job --index 3",
        "wctl status",
        "wctl status 3f8k -o wide",
        "wctl wait a b c --for terminal --timeout 5s",
        "wctl stop a --wait --timeout 5s --message enough",
        "wctl module push m.wasm",
        "wctl module list -o name",
        "wctl module inspect sha256:ab",
        "wctl module validate m.wasm",
        "wctl job list",
        "wctl job inspect j --version 2",
        "wctl job why j",
        "wctl task list 3f8k --state failed --limit 0",
        "wctl task inspect 3f8k.0",
        "wctl task result 3f8k.0 --output f",
        "wctl node list",
        "wctl node inspect n1",
        "wctl cluster init d --name c --node n1 --node n2 --host 10.0.0.1",
        "wctl cluster info",
        "wctl completion bash",
        "wctl version",
        "wctl --addr https://a:1,https://b:2 --token t --ca c.pem -v status",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn mistakes_are_refused() {
    for line in [
        "wctl",
        "wctl deploy",
        "wctl deploy m.wasm --detach --wait",
        "wctl deploy m.wasm --input x --items f",
        "wctl wait",
        "wctl wait a --for healthy",
        "wctl stop a --timeout 5s",
        "wctl task list r --state sleeping",
        "wctl status -o xml",
        "wctl cluster init d --host h",
        "wctl cluster init d --node n --host h --days 0",
        "wctl scale",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn arguments_after_the_dashes_belong_to_the_program() {
    let Command::Run(run) = parse("wctl run m.wasm --cpu 1 -- --cpu 2").unwrap().command else {
        panic!("not a run");
    };
    assert_eq!(run.spec.cpu.as_deref(), Some("1"));
    assert_eq!(run.program_args, ["--cpu", "2"]);
}

#[test]
fn several_addresses_are_read() {
    let cli = parse("wctl --addr http://a:1 --addr http://b:2 status").unwrap();
    assert_eq!(cli.global.addr, ["http://a:1", "http://b:2"]);
}
