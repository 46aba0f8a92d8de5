//! Data on stdout, in the format that was asked for.

pub(crate) mod live;
mod module;
mod storage;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod text;
mod views;
mod yaml;

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use weir_api::{Versioned, spec::Document};

use crate::{
    exit::Exit,
    failure::{Failure, Result},
    output::table::Table,
};

/// How data is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// More columns
    Wide,
    /// The API's JSON
    Json,
    /// One JSON object a line
    Jsonl,
    /// The API's JSON as YAML
    Yaml,
    /// Names or ids only, one a line
    Name,
}

/// An object that every format can show.
pub(crate) trait View: Serialize {
    /// The titles of its columns; those from `WIDE_FROM` on belong to the wide format.
    const COLUMNS: &'static [&'static str];
    /// The first column of the wide format.
    const WIDE_FROM: usize;
    /// Its id or name.
    fn name(&self) -> String;
    /// Its cells, one for each column.
    fn cells(&self) -> Vec<String>;
    /// Its fields, for a table of one object.
    fn fields(&self, wide: bool) -> Vec<(&'static str, String)>;
}

/// Writes data to stdout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    format: Format,
}

impl Out {
    pub(crate) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Writes a list.
    pub(crate) fn list<T: View>(self, items: &[T]) -> Result<()> {
        self.write(&render_list(self.format, items)?)
    }

    /// Writes one object.
    pub(crate) fn object<T: View>(self, object: &T) -> Result<()> {
        self.write(&render_object(self.format, object)?)
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<()> {
        write_stdout(bytes)
    }

    /// Whether people read it.
    pub(crate) const fn is_for_people(self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Writes a spec; people get TOML.
    pub(crate) fn spec(self, document: &Document) -> Result<()> {
        if !self.is_for_people() {
            return self.value(document, &document.job.name);
        }
        let text = toml::to_string(document)
            .map_err(|error| Failure::new(Exit::Failed, "failed to write the spec").because(error))?;
        write_stdout(text.as_bytes())
    }

    /// Writes any JSON; people get YAML.
    pub(crate) fn value(self, value: &impl Serialize, name: &str) -> Result<()> {
        let value = json_of(value)?;
        self.write(&match self.format {
            Format::Json => pretty(&value),
            Format::Jsonl => format!("{value}\n"),
            Format::Table | Format::Wide | Format::Yaml => yaml::render(&value),
            Format::Name => format!("{name}\n"),
        })
    }

    fn write(self, text: &str) -> Result<()> {
        write_stdout(text.as_bytes())
    }
}

/// Writes to stdout and flushes it.
pub(crate) fn write_stdout(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::new(Exit::Failed, "failed to write to stdout").because(error))
}

fn render_list<T: View>(format: Format, items: &[T]) -> Result<String> {
    Ok(match format {
        Format::Table | Format::Wide => {
            let columns = if format == Format::Wide { T::COLUMNS.len() } else { T::WIDE_FROM };
            let mut table = Table::new(&T::COLUMNS[..columns]);
            for item in items {
                let mut cells = item.cells();
                cells.truncate(columns);
                table.row(cells);
            }
            table.render()
        }
        Format::Json => pretty(&json!({ "api": "v1", "items": json_of(&items)? })),
        Format::Yaml => yaml::render(&json!({ "api": "v1", "items": json_of(&items)? })),
        Format::Jsonl => {
            let lines: Result<Vec<String>> = items.iter().map(|item| Ok(format!("{}\n", versioned(item)?))).collect();
            lines?.concat()
        }
        Format::Name => items.iter().map(|item| format!("{}\n", item.name())).collect(),
    })
}

fn render_object<T: View>(format: Format, object: &T) -> Result<String> {
    Ok(match format {
        Format::Table | Format::Wide => table::fields(&object.fields(format == Format::Wide)),
        Format::Json => pretty(&versioned(object)?),
        Format::Yaml => yaml::render(&versioned(object)?),
        Format::Jsonl => format!("{}\n", versioned(object)?),
        Format::Name => format!("{}\n", object.name()),
    })
}

fn versioned<T: Serialize>(object: &T) -> Result<Value> {
    json_of(&Versioned::from(object))
}

fn json_of(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|error| Failure::new(Exit::Failed, "failed to encode the output").because(error))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use weir_api::Module;

    use super::*;

    fn module() -> Module {
        let json = r#"{"digest":"sha256:ab","size":1536,"kind":"task"}"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_format_shows_a_list() {
        for (format, expected) in [
            (Format::Table, "DIGEST     KIND  SIZE\nsha256:ab  task  1.5 KiB\n"),
            (Format::Wide, "DIGEST     KIND  SIZE     IMPORTS  EXPORTS\nsha256:ab  task  1.5 KiB  0        0\n"),
            (Format::Name, "sha256:ab\n"),
            (
                Format::Jsonl,
                "{\"api\":\"v1\",\"digest\":\"sha256:ab\",\"exports\":[],\"imports\":[],\"kind\":\"task\",\"size\":1536}\n",
            ),
            (
                Format::Yaml,
                "api: v1\nitems:\n- digest: sha256:ab\n  exports: []\n  imports: []\n  kind: task\n  size: 1536\n",
            ),
        ] {
            assert_eq!(render_list(format, &[module()]).unwrap(), expected, "{format:?}");
        }
        let json = render_list(Format::Json, &[module()]).unwrap();
        assert!(json.starts_with("{\n  \"api\": \"v1\",\n  \"items\": [\n"), "{json}");
    }

    #[test]
    fn one_object_carries_the_version() {
        let json = render_object(Format::Json, &module()).unwrap();
        assert!(json.contains("\"api\": \"v1\""), "{json}");
        assert_eq!(render_object(Format::Name, &module()).unwrap(), "sha256:ab\n");
    }

    #[test]
    fn what_was_stopped_has_not_failed() {
        let run = serde_json::json!({ "id": "r", "namespace": "default", "job": "j", "version": 1, "state": "failed",
            "count": 10, "tasks": { "failed": 1, "lost": 1, "killed": 7, "succeeded": 1 }, "created_ms": 1,
            "module": "sha256:ab", "failed_too_often": 1 });
        let run: weir_api::Run = serde_json::from_value(run).unwrap();
        let failed = weir_api::Run::COLUMNS.iter().position(|column| *column == "FAILED").unwrap();
        assert_eq!(run.cells()[failed], "2");
        assert!(run.fields(false).contains(&("stopped", "more than 1 task failed (max_failed)".to_owned())));
    }
}
