//! Job specs to start from.

use std::{fs, io::Write as _};

use weir_api::{JobSpec, spec::Kind};

use crate::{
    args::JobInitArgs,
    exit::Exit,
    failure::{Failure, Result},
    output::{terminal, write_stdout},
    spec,
};

/// `wctl job init`.
pub(crate) fn init(args: &JobInitArgs) -> Result<Exit> {
    let from_file = args.file.as_ref().and_then(|file| file.to_str()).and_then(spec::name_from);
    let name = args.name.clone().or(from_file).unwrap_or_else(|| args.kind.to_string());
    let text = template(args.kind, &name, &args.module);
    // A name or path that cannot be in a spec is said here, and not when the spec is used.
    JobSpec::from_toml(&text)?;
    let Some(file) = &args.file else {
        write_stdout(text.as_bytes())?;
        return Ok(Exit::Ok);
    };
    let failed = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::AlreadyExists { Exit::Conflict } else { Exit::Failed };
        Failure::new(exit, format!("failed to make {}", file.display())).because(error)
    };
    let mut made = fs::OpenOptions::new().write(true).create_new(true).open(file).map_err(failed)?;
    made.write_all(text.as_bytes()).map_err(failed)?;
    terminal::note(&format!("`wctl job validate {0}` checks it, `wctl deploy {0}` starts it", file.display()));
    Ok(Exit::Ok)
}

/// What a batch usually sets.
const BATCH: &str = "count = 1                   # tasks\n\
    # max_running = 10          # most of them at once\n\
    # max_failed = 0            # give up when more have failed for good\n\
    # after = [\"extract\"]       # jobs that have to succeed first\n\
    # input_from = \"extract\"    # the one of them whose results are the input\n\
    \n\
    [resources]\n\
    cpu = 0.1                   # cores\n\
    memory = \"64MiB\"\n\
    fuel = 10_000_000_000\n\
    timeout = \"30s\"\n\
    \n\
    [retry]\n\
    attempts = 3\n\
    backoff = \"1s..30s\"\n";

/// A spec with what its kind usually sets; defaults that are rarely changed are left out.
fn template(kind: Kind, name: &str, module: &str) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let (name, module) = (quoted(name), quoted(module));
    let job = format!("[job]\nname = {name}\nkind = \"{kind}\"\nmodule = {module}\n");
    let rest = match kind {
        Kind::Batch => BATCH,
        Kind::Service => {
            "count = 2                   # tasks that are kept running\n\
             tier = \"production\"         # makes room for itself; counts against the quota\n\
             \n\
             [resources]\n\
             cpu = 0.1                   # cores\n\
             memory = \"64MiB\"\n\
             \n\
             [update]\n\
             healthy_after = \"5s\"        # a new task that has run this long lets the next one be replaced\n\
             \n\
             [retry]\n\
             backoff = \"1s..30s\"         # between starts of a task that ends\n\
             \n\
             # [placement]\n\
             # spread = \"zone\"           # over the values of this label\n"
        }
        Kind::Cron => {
            "count = 1                   # tasks of each firing\n\
             \n\
             [cron]\n\
             schedule = \"0 3 * * *\"      # minute, hour, day, month, weekday; with six fields, seconds first\n\
             time_zone = \"UTC\"\n\
             overlap = \"forbid\"          # or allow, or replace\n\
             start_deadline = \"1h\"       # how late a missed firing may start\n\
             \n\
             [resources]\n\
             cpu = 0.1                   # cores\n\
             memory = \"64MiB\"\n\
             timeout = \"30s\"\n"
        }
        Kind::System => {
            "\n\
             [resources]\n\
             cpu = 0.05                  # cores, on every node\n\
             memory = \"32MiB\"\n\
             \n\
             # [placement]\n\
             # constraints = [\"os == linux\"]\n"
        }
        Kind::Function => {
            "\n\
             [resources]\n\
             cpu = 0.1                   # cores\n\
             memory = \"64MiB\"\n\
             fuel = 10_000_000_000\n\
             \n\
             [retry]\n\
             attempts = 3\n"
        }
    };
    job + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_a_valid_spec_of_its_kind() {
        for kind in Kind::ALL {
            let text = template(*kind, "my-job", "dir/a \"b\".wasm");
            let spec = JobSpec::from_toml(&text).unwrap_or_else(|invalid| panic!("{kind}: {invalid}\n{text}"));
            assert_eq!((spec.kind, spec.name.as_str()), (*kind, "my-job"));
            let uncommented: String =
                text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n").collect();
            JobSpec::from_toml(&uncommented).unwrap_or_else(|invalid| panic!("{kind}: {invalid}\n{uncommented}"));
        }
    }
}
