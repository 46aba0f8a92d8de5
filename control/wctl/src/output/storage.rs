//! How what is stored is shown to people.

use weir_api::GcReport;
#[cfg(feature = "dev")]
use weir_control::snapshot::Summary;

#[cfg(feature = "dev")]
use super::text::ago;
use super::{
    View,
    text::{bytes, of_things},
};

impl View for GcReport {
    const COLUMNS: &'static [&'static str] = &["DELETED", "YOUNG", "NEEDED"];
    const WIDE_FROM: usize = 3;

    fn name(&self) -> String {
        self.deleted_objects.to_string()
    }

    fn cells(&self) -> Vec<String> {
        vec![
            objects(self.deleted_objects, self.deleted_bytes),
            objects(self.young_objects, self.young_bytes),
            objects(self.needed_objects, self.needed_bytes),
        ]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let deleted = if self.dry_run { "would be deleted" } else { "deleted" };
        let partial = format!("{}, {}", of_things(self.partial_files, "partial upload"), bytes(self.partial_bytes));
        vec![
            (deleted, objects(self.deleted_objects, self.deleted_bytes)),
            ("and", partial),
            ("not needed, too young", objects(self.young_objects, self.young_bytes)),
            ("needed", objects(self.needed_objects, self.needed_bytes)),
        ]
    }
}

fn objects(number: u64, len_bytes: u64) -> String {
    format!("{}, {}", of_things(number, "object"), bytes(len_bytes))
}

#[cfg(feature = "dev")]
impl View for Summary {
    const COLUMNS: &'static [&'static str] = &["CLUSTER", "CREATED", "RECORDS", "OBJECTS", "DIGEST"];
    const WIDE_FROM: usize = 5;

    fn name(&self) -> String {
        self.digest.clone()
    }

    fn cells(&self) -> Vec<String> {
        let (records, objects) = (self.records.to_string(), self.objects.to_string());
        vec![self.header.cluster.clone(), ago(self.header.created_ms), records, objects, self.digest.clone()]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let held = if self.header.blobs {
            objects(self.objects, self.object_bytes)
        } else {
            "none: only the store was saved".to_owned()
        };
        vec![
            ("cluster", self.header.cluster.clone()),
            ("version", self.header.version.clone()),
            ("created", ago(self.header.created_ms)),
            ("job versions", self.job_versions.to_string()),
            ("submissions", self.submissions.to_string()),
            ("records", format!("{}, {}", of_things(self.records, "record"), bytes(self.record_bytes))),
            ("objects", held),
            ("digest", self.digest.clone()),
        ]
    }
}
