use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

const DOCUMENTED: &[&str] = &[
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
    "wctl deploy s.toml --kind service --count 3 --healthy-after 2s --tier production --spread zone --pool gpu",
    "wctl deploy b.wasm --after extract --after check:any --input-from extract --max-failed 3 --start-deadline 5m",
    "wctl deploy c.wasm --schedule @hourly --tz Europe/Berlin --overlap replace --meta owner=me",
    "wctl run j --meta a=1 --meta b=2",
    "wctl job init",
    "wctl job init web.toml --kind service --name web --module web.wasm",
    "wctl job validate job.toml --count 3",
    "wctl job plan job.toml --exit-code --count 3 -o json",
    "wctl job diff j --from 1 --to 3 --exit-code",
    "wctl job diff job.toml",
    "wctl job history j",
    "wctl job revert j 2 --check-revision 4 --message back --wait --timeout 1m",
    "wctl job scale j 0 --wait",
    "wctl job pause j --message stop",
    "wctl job resume j",
    "wctl job restart j --wait --timeout 5m",
    "wctl job dispatch f --input @f --meta a=1 --idempotency-key k --timeout 5s --output o -- --flag",
    "wctl job dispatch f --detach",
    "wctl job trigger c --idempotency-key k --wait",
    "wctl job why j",
    "wctl job graph",
    "wctl cron list",
    "wctl cron suspend c",
    "wctl cron resume c --message go",
    "wctl cron trigger c",
    "wctl task why 3f8k.0",
    "wctl node cordon n1 --message disk",
    "wctl node uncordon n1",
    "wctl node drain n1 --deadline 5m --ignore-system --message upgrade --wait --timeout 10m",
    "wctl node drain n1 --force",
    "wctl node drain n1 --cancel",
    "wctl node label n1 zone=a disk-",
    "wctl node remove n1",
    "wctl namespace list",
    "wctl quota list",
    "wctl quota set team --cpu 4 --memory 8GiB --running 100 --weight 200",
    "wctl quota rm team",
    "wctl cluster release-brake --message known",
    "wctl wait s --for healthy",
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
];

#[test]
fn every_documented_line_parses() {
    for line in DOCUMENTED {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[cfg(feature = "sim")]
#[test]
fn lines_of_the_simulator_parse() {
    for line in [
        "wctl sim --nodes nodes.toml --workload trace.jsonl --placement pack --seed 7 -o json",
        "wctl sim --nodes n --workload w --commit-delay 5ms --until 1h --compare",
        "wctl sim convert --format alibaba-2018 a.csv b.csv --largest-memory 256GiB",
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
        "wctl sim --nodes n",
        "wctl sim convert a.csv",
        "wctl deploy",
        "wctl deploy m.wasm --detach --wait",
        "wctl deploy m.wasm --input x --items f",
        "wctl wait",
        "wctl wait a --for happy",
        "wctl job init --kind btach",
        "wctl job scale s",
        "wctl job scale s -1",
        "wctl job dispatch f --detach --timeout 5s",
        "wctl job restart j --timeout 5s",
        "wctl node drain n --force --deadline 5s",
        "wctl node drain n --cancel --wait",
        "wctl node label n",
        "wctl quota set n --weight 0",
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
