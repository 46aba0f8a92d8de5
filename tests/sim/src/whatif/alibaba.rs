//! The tables of Alibaba's cluster-trace-v2018 as a cluster and a workload.
//!
//! `machine_meta.csv` becomes nodes, `batch_task.csv` becomes a trace; both are told apart by their number of columns.
//! The trace gives memory as a part of the largest machine, so the size of that is an assumption of whoever converts.

mod job;

use core::fmt::Write as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, Read as _},
};

use weir_wire::units::MemBytes;

use super::{
    error::Error,
    limits::{ITEMS_MAX, LINE_BYTES_MAX, NODES_MAX},
    quantity::{self, scale},
};
use job::Row;

/// Columns of `machine_meta.csv`.
const MACHINE_COLUMNS: usize = 7;
/// Columns of `batch_task.csv`.
const TASK_COLUMNS: usize = 9;
/// What is assumed of the largest machine unless somebody knows better.
const LARGEST_MEMORY: MemBytes = MemBytes(512 << 30);

/// What was converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// `nodes.toml` or `trace.jsonl`.
    pub text: String,
    /// What the text describes, and what was left out, a sentence each.
    pub notes: Vec<String>,
}

/// Reads one table, from one or more parts of it.
#[derive(Debug)]
pub struct Converter {
    largest: MemBytes,
    columns: Option<usize>,
    rows: Vec<Row>,
    machines: BTreeMap<Machine, u32>,
    known: BTreeSet<String>,
    skipped: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Machine {
    domains: [String; 2],
    cores: u32,
    memory: MemBytes,
}

impl Converter {
    /// Nothing is read yet; `largest` is the memory of the largest machine, such as `512GiB`, which is also the default.
    ///
    /// # Errors
    /// When `largest` is not a size.
    pub fn new(largest: Option<&str>) -> Result<Self, String> {
        let largest = largest.map_or(Ok(LARGEST_MEMORY), quantity::memory)?;
        Ok(Self {
            largest,
            columns: None,
            rows: Vec::new(),
            machines: BTreeMap::new(),
            known: BTreeSet::new(),
            skipped: BTreeMap::new(),
        })
    }

    /// Reads one file.
    ///
    /// # Errors
    /// When it cannot be read or is no table of the trace, or another one than the file before.
    pub fn read(&mut self, path: &std::path::Path) -> Result<(), Error> {
        let name = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|error| Error::file(&name, error.to_string()))?;
        self.table(&name, std::io::BufReader::new(file))
    }

    /// Reads the lines of a file of this name.
    ///
    /// # Errors
    /// As [`Converter::read`].
    pub fn table(&mut self, file: &str, mut input: impl BufRead) -> Result<(), Error> {
        let mut text = String::new();
        for line in 1.. {
            text.clear();
            let limited = &mut input.by_ref().take(LINE_BYTES_MAX as u64 + 1);
            let read = limited.read_line(&mut text).map_err(|error| Error::line(file, line, error.to_string()))?;
            if read > LINE_BYTES_MAX {
                return Err(Error::line(file, line, format!("has more than {LINE_BYTES_MAX} bytes")));
            }
            if read == 0 {
                break;
            }
            if !text.trim().is_empty() {
                self.row(file, line, text.trim()).map_err(|what| Error::line(file, line, what))?;
            }
        }
        Ok(())
    }

    /// The result of all that was read.
    ///
    /// # Errors
    /// When nothing is left, or the tasks of a job depend on each other in a circle.
    pub fn finish(self) -> Result<Converted, Error> {
        let machines = self.columns == Some(MACHINE_COLUMNS);
        let mut notes: Vec<String> =
            self.skipped.iter().map(|(why, count)| format!("{count} lines were left out: {why}")).collect();
        let text = if machines { nodes(&self.machines) } else { job::trace(self.rows)? };
        if text.is_empty() {
            notes.insert(0, "nothing is left to convert".to_owned());
            return Err(Error::file("the trace", notes.join("; ")));
        }
        let assumed = self.largest.0 >> 30;
        notes.push(format!("the largest machine is taken to have {assumed} GiB: the trace gives only parts of it"));
        Ok(Converted { text, notes })
    }

    fn row(&mut self, file: &str, line: usize, text: &str) -> Result<(), String> {
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        let columns = *self.columns.get_or_insert(cells.len());
        if cells.len() != columns || ![MACHINE_COLUMNS, TASK_COLUMNS].contains(&columns) {
            return Err(format!(
                "has {} columns, and is to have {MACHINE_COLUMNS} (machine_meta.csv) or {TASK_COLUMNS} \
                 (batch_task.csv), all lines the same",
                cells.len()
            ));
        }
        let skip = if columns == MACHINE_COLUMNS { self.machine(&cells)? } else { self.task(file, line, &cells)? };
        if let Some(why) = skip {
            *self.skipped.entry(why).or_default() += 1;
        }
        Ok(())
    }

    /// A machine has a line for each event: its first one counts.
    fn machine(&mut self, cells: &[&str]) -> Result<Option<&'static str>, String> {
        let [id, _, domain_1, domain_2, cores, memory, _] = cells[..] else { return Ok(None) };
        if cores.is_empty() || memory.is_empty() {
            return Ok(Some("a machine without CPU or memory"));
        }
        if !self.known.insert(id.to_owned()) {
            return Ok(Some("a further event of a machine"));
        }
        if self.known.len() > NODES_MAX as usize {
            return Err(format!("a cluster has at most {NODES_MAX} nodes"));
        }
        let cores: u32 = number("cpu_num", cores)?;
        let memory = self.memory("mem_size", memory)?;
        if cores == 0 || memory.0 == 0 {
            return Ok(Some("a machine without CPU or memory"));
        }
        let machine = Machine { domains: [domain_1, domain_2].map(str::to_owned), cores, memory };
        *self.machines.entry(machine).or_default() += 1;
        Ok(None)
    }

    fn task(&mut self, file: &str, line: usize, cells: &[&str]) -> Result<Option<&'static str>, String> {
        let [task, count, job, _, status, start, end, cpu, memory] = cells[..] else { return Ok(None) };
        if status != "Terminated" {
            return Ok(Some("a task that did not end well"));
        }
        if cpu.is_empty() || memory.is_empty() {
            return Ok(Some("a task without CPU or memory"));
        }
        let (start, end): (u64, u64) = (number("start_time", start)?, number("end_time", end)?);
        // Zero stands for an instant outside of the time that was recorded.
        if start == 0 || end < start {
            return Ok(Some("a task that did not start and end in the recorded time"));
        }
        let count: u32 = number("instance_num", count)?;
        let cpu: f64 = number("plan_cpu", cpu)?;
        let memory = self.memory("plan_mem", memory)?;
        let cores = cpu / 100.0;
        if count == 0 || cores < 0.001 || memory.0 == 0 {
            return Ok(Some("a task without CPU or memory"));
        }
        quantity::cpu(cores)?;
        if self.rows.len() >= ITEMS_MAX {
            return Err(format!("a workload has at most {ITEMS_MAX} tasks; convert a part of the table"));
        }
        let seconds = end - start;
        let (file, job, task) = (file.to_owned(), job.to_owned(), task.to_owned());
        self.rows.push(Row { file, line, job, task, count, start, seconds, cores, memory });
        Ok(None)
    }

    /// A part of the largest machine, in hundredths of it.
    fn memory(&self, name: &str, cell: &str) -> Result<MemBytes, String> {
        let part: f64 = number(name, cell)?;
        let bytes = scale(self.largest.0) * part / 100.0;
        let found = quantity::whole(bytes, scale(self.largest.0))
            .ok_or_else(|| format!("{name} is {part}, and is to be from 0 to 100"))?;
        Ok(MemBytes(found))
    }
}

fn number<T: core::str::FromStr>(name: &str, cell: &str) -> Result<T, String> {
    cell.parse().map_err(|_| format!("{name} is {cell:?}, and is to be a number"))
}

/// Whole mebibytes, at least one.
fn mebibytes(memory: MemBytes) -> String {
    format!("{}MiB", memory.0.div_ceil(1 << 20).max(1))
}

fn nodes(machines: &BTreeMap<Machine, u32>) -> String {
    let mut text = String::new();
    for (at, (Machine { domains: [first, second], cores, memory }, count)) in machines.iter().enumerate() {
        let memory = mebibytes(*memory);
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            "[[node]]\nname = \"m{at}\"\ncount = {count}\ncpu = {cores}\nmemory = \"{memory}\"\n\
             attributes = {{ failure_domain_1 = {first:?}, failure_domain_2 = {second:?} }}\n\n"
        );
    }
    text
}
