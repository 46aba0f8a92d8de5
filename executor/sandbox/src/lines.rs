//! Source lines of a module's code, as the compiler found them in its debug information: a table behind the artefact.
//!
//! Debug information is written by the guest's author. It is read once, where modules are compiled, within the limits of
//! that process; a trap looks up a few places in a sorted table, whatever the debug information was like.
//!
//! The table is texts, then rows (where in the module a text begins to hold, and where the text is), then a footer.

use std::{
    collections::HashMap,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
};

/// Ends every artefact that has a table, and tells it from other versions of this format.
pub(crate) const MAGIC: &[u8; 8] = b"weirlin1";
/// Bytes of one row: two numbers.
const ROW_BYTES: usize = 8;
/// Bytes of the footer: the length of the texts, the number of rows, and [`MAGIC`].
const FOOTER_BYTES: usize = 16;
/// Bytes of one text with the lines of all functions that were inlined at a place.
pub(crate) const TEXT_LEN_MAX: usize = 4096;
/// Bytes of all texts of a table.
pub(crate) const TEXTS_LEN_MAX: usize = 16 << 20;
/// Rows of a table.
pub(crate) const ROWS_MAX: usize = 2 << 20;

/// Where code has no source line.
const NO_TEXT: u32 = u32::MAX;

/// A table that is being made.
#[derive(Debug, Default)]
pub(crate) struct Table {
    texts: Vec<u8>,
    known: HashMap<String, u32>,
    rows: Vec<(u32, u32)>,
}

impl Table {
    /// Adds the text of a range of the module's bytes; whether it fitted. Of ranges that overlap the later one counts.
    pub(crate) fn add(&mut self, range: Range<u32>, text: &str) -> bool {
        if self.rows.len() + 2 > ROWS_MAX || text.len() > TEXT_LEN_MAX {
            return false;
        }
        let at = match self.known.get(text) {
            Some(at) => *at,
            None => {
                let (Ok(at), Ok(len)) = (u32::try_from(self.texts.len()), u16::try_from(text.len())) else {
                    return false;
                };
                if self.texts.len() + text.len() > TEXTS_LEN_MAX {
                    return false;
                }
                self.texts.extend_from_slice(&len.to_le_bytes());
                self.texts.extend_from_slice(text.as_bytes());
                self.known.insert(text.to_owned(), at);
                at
            }
        };
        if self.rows.last().is_some_and(|last| *last == (range.start, NO_TEXT)) {
            self.rows.pop();
        }
        if self.rows.last().is_none_or(|last| last.1 != at) {
            self.rows.push((range.start, at));
        }
        self.rows.push((range.end, NO_TEXT));
        true
    }

    /// The table as it follows an artefact; empty if nothing is known.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.texts.is_empty() {
            return Vec::new();
        }
        // Stable: of rows with one place the last that was added counts, except that an end gives way to a beginning.
        self.rows.sort_by_key(|(place, text)| (*place, *text != NO_TEXT));
        self.rows.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = later.1;
            }
            same
        });
        let (Ok(texts), Ok(rows)) = (u32::try_from(self.texts.len()), u32::try_from(self.rows.len())) else {
            return Vec::new();
        };
        let mut table = self.texts;
        for (place, text) in self.rows {
            table.extend_from_slice(&place.to_le_bytes());
            table.extend_from_slice(&text.to_le_bytes());
        }
        table.extend_from_slice(&texts.to_le_bytes());
        table.extend_from_slice(&rows.to_le_bytes());
        table.extend_from_slice(MAGIC);
        table
    }
}

/// The table of an artefact, read from its file where it is asked.
#[derive(Debug)]
pub(crate) struct Lines {
    file: File,
    texts_at: u64,
    rows_at: u64,
    rows: u64,
}

impl Lines {
    /// Finds the table behind an artefact, if it has one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of(file: &File) -> io::Result<Option<Self>> {
        let len = file.metadata()?.size();
        let Some(footer_at) = len.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
        let mut footer = [0; FOOTER_BYTES];
        file.read_exact_at(&mut footer, footer_at)?;
        let [texts, rows] = [0, 4].map(|at| u64::from(number(&footer, at)));
        if !footer.ends_with(MAGIC) {
            return Ok(None);
        }
        let rows_at = footer_at.checked_sub(rows * ROW_BYTES as u64);
        let texts_at = rows_at.and_then(|rows_at| rows_at.checked_sub(texts));
        let (Some(texts_at), Some(rows_at)) = (texts_at, rows_at) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the table of lines is longer than its file"));
        };
        Ok(Some(Self { file: file.try_clone()?, texts_at, rows_at, rows }))
    }

    /// What is known of a place in the module: a line for each function inlined there, innermost first, and last the
    /// place itself. Reads about twenty times from the file.
    pub(crate) fn at(&self, place: usize) -> Option<String> {
        let place = u32::try_from(place).ok()?;
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle)?.0 <= place { low = middle + 1 } else { high = middle }
        }
        let (_, text) = self.row(low.checked_sub(1)?)?;
        (text != NO_TEXT).then(|| self.text(text))?
    }

    fn row(&self, index: u64) -> Option<(u32, u32)> {
        let mut row = [0; ROW_BYTES];
        self.file.read_exact_at(&mut row, self.rows_at + index * ROW_BYTES as u64).ok()?;
        Some((number(&row, 0), number(&row, 4)))
    }

    fn text(&self, at: u32) -> Option<String> {
        let at = self.texts_at + u64::from(at);
        let mut len = [0; 2];
        self.file.read_exact_at(&mut len, at).ok()?;
        let mut text = vec![0; usize::from(u16::from_le_bytes(len)).min(TEXT_LEN_MAX)];
        self.file.read_exact_at(&mut text, at + 2).ok()?;
        String::from_utf8(text).ok()
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(table: &[u8]) -> io::Result<Option<Lines>> {
        let mut file = tempfile::tempfile()?;
        file.write_all(b"an artefact")?;
        file.write_all(table)?;
        Lines::of(&file)
    }

    #[test]
    fn places_are_found_and_gaps_are_not() {
        let mut table = Table::default();
        for (range, text) in [(10..20, "a:1"), (20..30, "a:2"), (30..40, "a:2"), (50..60, "a:1"), (4..5, "b:7")] {
            assert!(table.add(range, text));
        }
        let lines = lines(&table.finish()).unwrap().unwrap();
        let cases = [(3, None), (4, Some("b:7")), (5, None), (9, None), (10, Some("a:1")), (19, Some("a:1"))];
        let more = [(20, Some("a:2")), (39, Some("a:2")), (40, None), (50, Some("a:1")), (60, None), (1 << 40, None)];
        for (place, expected) in cases.into_iter().chain(more) {
            assert_eq!(lines.at(place).as_deref(), expected, "{place}");
        }
    }

    #[test]
    fn what_is_no_table_is_none_and_a_damaged_one_knows_nothing() {
        assert!(lines(b"").unwrap().is_none());
        assert!(lines(&Table::default().finish()).unwrap().is_none());
        let mut table = Table::default();
        assert!(table.add(10..20, "a:1"));
        let mut whole = table.finish();
        let end = whole.len();
        whole[end - 16..end - 12].fill(0xff);
        assert!(lines(&whole).is_err(), "texts that are longer than the file");
        whole[end - 16..end - 12].copy_from_slice(&5_u32.to_le_bytes());
        assert_eq!(lines(&whole).unwrap().unwrap().at(10).as_deref(), Some("a:1"));
        whole[..2].fill(0xff);
        assert_eq!(lines(&whole).unwrap().unwrap().at(10), None, "a text that is longer than the file");
    }

    #[test]
    fn a_table_has_an_end() {
        let mut table = Table::default();
        assert!(!table.add(0..1, &"x".repeat(TEXT_LEN_MAX + 1)));
        let added = (0..u32::try_from(ROWS_MAX).unwrap()).filter(|at| table.add(at * 4..at * 4 + 1, "a:1")).count();
        assert_eq!(added, ROWS_MAX / 2);
    }
}
