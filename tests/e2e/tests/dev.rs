//! `wctl dev`: a whole cluster in one process, as the README's first command starts it.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use weir_e2e::{
    Answer,
    binaries::{guest, program},
    daemon::{Daemon, free_port},
    wctl::field,
};

struct Dev {
    daemon: Daemon,
    address: String,
    home: tempfile::TempDir,
}

impl Dev {
    fn start(data_dir: &Path, corpus: &Path) -> Result<Self> {
        let (http, link) = (free_port()?, free_port()?);
        let mut command = Command::new(program("wctl")?);
        command.args(["dev", "--listen", &format!("127.0.0.1:{http}"), "--link", &format!("127.0.0.1:{link}")]);
        command.arg("--data-dir").arg(data_dir).arg("--publish").arg(format!("corpus={}", corpus.display()));
        let mut daemon = Daemon::start("wctl dev", &mut command)?;
        daemon.wait_for_line(&["ready"], Duration::from_secs(120))?;
        let home = tempfile::tempdir().context("make a home directory")?;
        Ok(Self { daemon, address: format!("http://127.0.0.1:{http}"), home })
    }

    fn wctl(&self, arguments: &[&str]) -> Result<Answer> {
        let mut command = Command::new(program("wctl")?);
        command.env("WCTL_ADDR", &self.address).env("HOME", self.home.path()).env_remove("WCTL_TOKEN");
        command.env_remove("WCTL_CA").env_remove("WCTL_NAMESPACE").args(arguments);
        Answer::of(&mut command, b"")
    }
}

#[test]
fn word_count_over_a_published_directory_survives_a_restart_of_the_cluster() {
    let run = || -> Result<()> {
        let (data, corpus) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for (file, text) in [("a.txt", "the weir holds the river\n"), ("b.txt", "the river runs\n")] {
            std::fs::write(corpus.path().join(file), text)?;
        }
        let module = guest("wasm32-wasip2", "wordcount")?;
        let module = module.to_str().context("a path")?;
        let mut dev = Dev::start(data.path(), corpus.path())?;
        let input = r#"{"path":"/data","top":3}"#;
        let deploy =
            ["deploy", module, "--count", "2", "--grant", "dir:corpus:/data:ro", "--input", input, "-o", "json"];
        let answer = dev.wctl(&deploy)?.expect(0)?.json()?;
        let id = field(&answer, "id")?.as_str().context("an id")?.to_owned();
        let words = |dev: &Dev| -> Result<u64> {
            let mut words = 0;
            for index in 0..2 {
                let result = dev.wctl(&["task", "result", &format!("{id}.{index}")])?.expect(0)?.json()?;
                words += field(&result, "words")?.as_u64().context("a number")?;
            }
            Ok(words)
        };
        ensure!(words(&dev)? == 8);
        let task = dev.wctl(&["task", "inspect", &format!("{id}.0"), "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&task, "usage.fuel")?.as_u64().is_some_and(|fuel| fuel > 0), "no usage: {task}");
        dev.daemon.signal("TERM")?;
        let status = dev.daemon.wait_exit(Duration::from_secs(60))?;
        ensure!(status.success(), "wctl dev ended with {status}:\n{}", dev.daemon.tail(20));

        let dev = Dev::start(data.path(), corpus.path())?;
        let run = dev.wctl(&["status", &id, "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&run, "state")? == "succeeded", "{run}");
        ensure!(words(&dev)? == 8);
        Ok(())
    };
    run().expect("the test passes");
}
