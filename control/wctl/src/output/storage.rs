//! How what is stored is shown to people.

use weir_api::GcReport;

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
        vec![
            (deleted, objects(self.deleted_objects, self.deleted_bytes)),
            ("not needed, too young", objects(self.young_objects, self.young_bytes)),
            ("needed", objects(self.needed_objects, self.needed_bytes)),
        ]
    }
}

fn objects(number: u64, len_bytes: u64) -> String {
    format!("{}, {}", of_things(number, "object"), bytes(len_bytes))
}
