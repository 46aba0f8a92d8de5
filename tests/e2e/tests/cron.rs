//! Cron jobs: every instant once, whatever happens to the control plane.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::{
    Cluster, Options,
    cluster::on_etcd,
    guests::{self, CAT, SLEEP},
    until,
    wctl::field,
};

/// The runs of a job that were seen: the overview shows the newest ones only, so it is asked often.
#[derive(Debug, Default)]
struct Seen {
    runs: BTreeMap<String, Value>,
}

impl Seen {
    /// Looks again.
    fn look(&mut self, cluster: &Cluster, job: &str) -> Result<()> {
        let list = cluster.wctl(["status", "-o", "json"])?.expect(0)?.json()?;
        for run in field(&list, "items")?.as_array().context("a list")? {
            if run.get("job").is_some_and(|name| name == job) {
                self.runs.insert(field(run, "id")?.as_str().context("an id")?.to_owned(), run.clone());
            }
        }
        Ok(())
    }

    /// The instants for which it fired, in order.
    fn instants(&self) -> Vec<u64> {
        let mut instants: Vec<u64> =
            self.runs.values().filter_map(|run| run.get("scheduled_ms").and_then(Value::as_u64)).collect();
        instants.sort_unstable();
        instants
    }

    /// Looks until it has fired so often.
    fn fired(&mut self, cluster: &Cluster, job: &str, times: usize) -> Result<Vec<u64>> {
        until(&format!("{job} has fired {times} times"), || {
            self.look(cluster, job)?;
            let instants = self.instants();
            Ok((instants.len() >= times).then_some(instants))
        })
    }

    fn in_state(&self, state: &str) -> usize {
        self.runs.values().filter(|run| run.get("state").is_some_and(|found| found == state)).count()
    }
}

#[test]
fn every_second_fires_once_through_a_restart_of_the_control_plane() {
    let options = Options { executors: 1, ..Options::default() };
    on_etcd("every_second_fires_once_through_a_restart_of_the_control_plane", options, |cluster| {
        let cat = guests::write(cluster.dir(), "cat", CAT)?;
        let cron = ["deploy", &cat, "--name", "tick", "--schedule", "* * * * * *", "--overlap", "allow"];
        cluster.wctl(cron.into_iter().chain(["-o", "json"]))?.expect(0)?;
        let mut seen = Seen::default();
        let before = seen.fired(cluster, "tick", 2)?.len();
        cluster.control_mut().kill9()?;
        cluster.start_control()?;
        let after = seen.fired(cluster, "tick", before + 3)?;
        ensure!(after.windows(2).all(|pair| pair[0] != pair[1]), "an instant fired twice: {after:?}");
        ensure!(after.iter().all(|instant| instant % 1000 == 0), "{after:?}");
        // While nobody led, instants passed; of those only the newest is made up for.
        let gaps = after.windows(2).filter(|pair| pair[1] - pair[0] != 1000).count();
        ensure!(gaps <= 1, "instants are missing besides those of the restart: {after:?}");

        let trigger = ["cron", "trigger", "tick", "--wait", "--timeout", "60s", "-o", "json"];
        let run = cluster.wctl(trigger)?.expect(0)?.json()?;
        ensure!(field(&run, "state")? == "succeeded" && run.get("scheduled_ms").is_none(), "{run}");

        cluster.wctl(["cron", "suspend", "tick"])?.expect(0)?;
        seen.look(cluster, "tick")?;
        let suspended = seen.instants().len();
        let list = cluster.wctl(["cron", "list"])?.expect(0)?.text();
        ensure!(list.contains("tick") && list.contains("suspended"), "{list}");
        // More than two instants pass while another job fires twice.
        let other = ["deploy", &cat, "--name", "tock", "--schedule", "* * * * * *", "--overlap", "allow"];
        cluster.wctl(other)?.expect(0)?;
        Seen::default().fired(cluster, "tock", 2)?;
        seen.look(cluster, "tick")?;
        ensure!(seen.instants().len() == suspended, "a suspended job fires: {:?}", seen.instants());
        cluster.wctl(["cron", "resume", "tick"])?.expect(0)?;
        let resumed = seen.fired(cluster, "tick", suspended + 1)?;
        cluster.wctl(["deploy", &cat, "--name", "once", "--input", "x"])?.expect(0)?;
        let refused = cluster.wctl(["cron", "suspend", "once"])?.expect(5)?;
        ensure!(refused.stderr.contains("wctl job pause once"), "{}", refused.stderr);
        ensure!(resumed.windows(2).all(|pair| pair[0] != pair[1]), "an instant fired twice: {resumed:?}");
        Ok(())
    });
}

#[test]
fn a_firing_that_overlaps_is_skipped_or_takes_over() {
    let options = Options { executors: 1, ..Options::default() };
    on_etcd("a_firing_that_overlaps_is_skipped_or_takes_over", options, |cluster| {
        let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
        for (name, overlap) in [("patient", "forbid"), ("hasty", "replace")] {
            let cron = ["deploy", &sleep, "--name", name, "--schedule", "* * * * * *", "--overlap", overlap];
            cluster.wctl(cron.into_iter().chain(["--timeout", "10m"]))?.expect(0)?;
        }
        let (mut hasty, mut patient) = (Seen::default(), Seen::default());
        until("the hasty one took over twice", || {
            hasty.look(cluster, "hasty")?;
            patient.look(cluster, "patient")?;
            Ok((hasty.in_state("killed") >= 2).then_some(()))
        })?;
        ensure!(patient.runs.len() == 1, "a firing was not skipped: {patient:?}");
        Ok(())
    });
}
