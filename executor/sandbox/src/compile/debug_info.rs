//! Reads a module's debug information into a table of lines. What its author wrote there may be anything: what cannot be
//! read is left out, and what takes too long or too much is not read to its end.

use std::{
    collections::HashMap,
    fmt::Write as _,
    panic::catch_unwind,
    time::{Duration, Instant},
};

use addr2line::{Context, Location, gimli};
use wasmparser::{Parser, Payload};

use crate::lines::{TEXT_LEN_MAX, Table};

/// How long reading may take; after that the rest of the code has no lines.
const TIME_MAX: Duration = Duration::from_secs(20);
/// Ranges between two looks at the clock.
const RANGES_PER_LOOK: usize = 256;
/// Bytes of a file's name that are kept, from its end.
const FILE_LEN_MAX: usize = 256;
/// Bytes of a function's name that are kept.
const NAME_LEN_MAX: usize = 256;
/// Inlined functions that are named at one place, innermost first.
const INLINED_MAX: usize = 8;

const _: () = assert!((INLINED_MAX + 1) * (FILE_LEN_MAX + NAME_LEN_MAX + 64) > TEXT_LEN_MAX, "clipping is needed");

type Slice<'a> = gimli::EndianSlice<'a, gimli::LittleEndian>;

/// One core module of a binary.
#[derive(Debug, Default)]
struct Module<'a> {
    /// Where its code is; what its debug information counts from.
    code_at: usize,
    /// Its debug information, by the names of the sections.
    sections: HashMap<&'a str, &'a [u8]>,
}

/// The table of lines of a binary that is valid; empty where it has none.
pub(super) fn table(wasm: &[u8]) -> Vec<u8> {
    let until = Instant::now() + TIME_MAX;
    let read = catch_unwind(|| {
        let mut table = Table::default();
        for module in modules(wasm) {
            // Half of the lines are better than none.
            let _partly = read(&module, until, &mut table);
        }
        table.finish()
    });
    // A library that panics on it does not make the module unfit to run.
    read.unwrap_or_default()
}

fn modules(wasm: &[u8]) -> Vec<Module<'_>> {
    let (mut open, mut modules) = (Vec::<Module<'_>>::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(Payload::Version { .. }) => open.push(Module::default()),
            Ok(Payload::CodeSectionStart { range, .. }) => {
                if let Some(module) = open.last_mut() {
                    module.code_at = range.start;
                }
            }
            Ok(Payload::CustomSection(section)) => {
                if let Some(module) = open.last_mut().filter(|_| section.name().starts_with(".debug_")) {
                    module.sections.insert(section.name(), section.data());
                }
            }
            Ok(Payload::End(_)) => modules.extend(open.pop().filter(|module| !module.sections.is_empty())),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    modules
}

fn read(module: &Module<'_>, until: Instant, table: &mut Table) -> Result<(), gimli::Error> {
    let section = |id: gimli::SectionId| module.sections.get(id.name()).copied().unwrap_or_default();
    let dwarf = gimli::Dwarf::load(|id| Ok::<_, gimli::Error>(Slice::new(section(id), gimli::LittleEndian)))?;
    let context = Context::from_dwarf(dwarf)?;
    let mut text = String::new();
    for (index, (start, len, location)) in context.find_location_range(0, u64::from(u32::MAX))?.enumerate() {
        if index % RANGES_PER_LOOK == 0 && Instant::now() >= until {
            break;
        }
        text.clear();
        describe(&context, start, &location, &mut text);
        let place = |at: u64| u32::try_from(at.saturating_add(module.code_at as u64));
        let (Ok(start), Ok(end)) = (place(start), place(start.saturating_add(len))) else { continue };
        if start < end && !text.is_empty() && !table.add(start..end, &text) {
            break;
        }
    }
    Ok(())
}

/// Writes the lines of one place: of each function inlined there its name and line, then the line alone.
fn describe(context: &Context<Slice<'_>>, at: u64, location: &Location<'_>, text: &mut String) {
    let Ok(mut frames) = context.find_frames(at).skip_all_loads() else { return push_place(location, text) };
    let (mut inlined, mut outermost) = (0, String::new());
    while let Ok(Some(frame)) = frames.next() {
        let Some(location) = &frame.location else { continue };
        if !outermost.is_empty() && inlined <= INLINED_MAX {
            text.push_str(&outermost);
            text.push('\n');
        }
        inlined += 1;
        outermost.clear();
        if let Some(Ok(name)) = frame.function.as_ref().map(|function| function.demangle()) {
            push_clean(&name[..name.floor_char_boundary(NAME_LEN_MAX)], &mut outermost);
        }
        outermost.push('\t');
        push_place(location, &mut outermost);
    }
    match outermost.split_once('\t') {
        Some((_, place)) => text.push_str(place),
        None => push_place(location, text),
    }
    if text.len() > TEXT_LEN_MAX {
        text.clear();
        push_place(location, text);
    }
}

fn push_place(location: &Location<'_>, text: &mut String) {
    let Some(file) = location.file else { return };
    let mut from = file.len().saturating_sub(FILE_LEN_MAX);
    while !file.is_char_boundary(from) {
        from += 1;
    }
    push_clean(&file[from..], text);
    for number in [location.line, location.column].into_iter().map_while(|number| number.filter(|n| *n > 0)) {
        // Writing to a string cannot fail.
        let _written = write!(text, ":{number}");
    }
}

/// Adds text of the guest's author without what would be taken for structure, here or on a terminal.
pub(crate) fn push_clean(from: &str, text: &mut String) {
    text.extend(from.chars().map(|char| if char.is_control() { '?' } else { char }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_debug_information_has_no_table() {
        let wasm = wat::parse_str(r#"(module (func (export "_start") unreachable))"#).unwrap();
        assert!(table(&wasm).is_empty());
    }

    #[test]
    fn nonsense_is_read_to_an_end() {
        let mut seed = 7_u64;
        for len in [0, 1, 40, 3000] {
            let mut noise = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                format!("\\{:02x}", seed.to_be_bytes()[0])
            };
            let sections: String = [".debug_info", ".debug_abbrev", ".debug_line", ".debug_str", ".debug_ranges"]
                .iter()
                .map(|name| format!("(@custom \"{name}\" \"{}\")", (0..len).map(|_| noise()).collect::<String>()))
                .collect();
            let wasm = wat::parse_str(format!(r#"(module (func (export "_start")) {sections})"#)).unwrap();
            let _whatever = table(&wasm);
        }
    }
}
