//! How a module is shown to people.

use weir_api::{Module, ModuleKind, ModuleMemory, ModuleParts, ModuleTable};

use super::{
    View,
    text::{bytes, of_things},
};

impl View for Module {
    const COLUMNS: &'static [&'static str] = &["DIGEST", "KIND", "SIZE", "IMPORTS", "EXPORTS"];
    const WIDE_FROM: usize = 3;

    fn name(&self) -> String {
        self.digest.clone()
    }

    fn cells(&self) -> Vec<String> {
        let (imports, exports) = (self.imports.len().to_string(), self.exports.len().to_string());
        vec![self.digest.clone(), kind(self.kind).to_owned(), bytes(self.size), imports, exports]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let imports = self.imports.iter().map(|import| match &import.name {
            Some(name) => format!("{}.{name}", import.module),
            None => import.module.clone(),
        });
        let mut fields = vec![
            ("digest", self.digest.clone()),
            ("kind", kind(self.kind).to_owned()),
            ("size", bytes(self.size)),
            ("imports", imports.collect::<Vec<_>>().join("\n")),
            ("exports", self.exports.join("\n")),
        ];
        fields.extend(self.sdk.iter().map(|version| ("SDK", version.clone())));
        fields.push(("made with", self.made_with.join("\n")));
        fields.extend(self.parts.iter().flat_map(parts));
        fields
    }
}

/// What is in a module; with how the estimate was made, since it is one.
fn parts(parts: &ModuleParts) -> Vec<(&'static str, String)> {
    let memory = |memory: &ModuleMemory| match memory.maximum_bytes {
        Some(most) => format!("{}, grows to {}", bytes(memory.initial_bytes), bytes(most)),
        None => format!("{}, declares no maximum", bytes(memory.initial_bytes)),
    };
    let table = |table: &ModuleTable| match table.maximum {
        Some(most) => format!("{} elements, grows to {most}", table.initial),
        None => format!("{} elements, declares no maximum", table.initial),
    };
    let most = match parts.memory_max_bytes {
        Some(most) => format!("at most {} (declared maxima)", bytes(most)),
        None => "as much as its job allows (a maximum is not declared)".to_owned(),
    };
    let least = bytes(parts.memory_min_bytes);
    vec![
        ("memories", parts.memories.iter().map(memory).collect::<Vec<_>>().join("\n")),
        ("tables", parts.tables.iter().map(table).collect::<Vec<_>>().join("\n")),
        ("code", format!("{} in {}", bytes(parts.code_bytes), of_things(parts.functions, "function"))),
        ("data", bytes(parts.data_bytes)),
        ("memory of a task", format!("at least {least} (initial memories and tables)\n{most}")),
    ]
}

const fn kind(kind: ModuleKind) -> &'static str {
    match kind {
        ModuleKind::WasiP1Command => "wasi-p1-command",
        ModuleKind::WasiP2Command => "wasi-p2-command",
        ModuleKind::Task => "task",
        ModuleKind::Unknown => "unknown",
    }
}
