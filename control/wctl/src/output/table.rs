//! Columns of text, aligned.

/// A table that is rendered once all its rows are known.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| super::text::one_line(cell)).collect());
    }

    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|i| self.rows.iter().filter_map(|row| row.get(i)).map(|c| width(c)).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, column_width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', column_width.saturating_sub(width(cell)) + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The fields of one object, a line each; values of several lines are indented under their name.
pub(crate) fn fields(fields: &[(&str, String)]) -> String {
    let widest = fields.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in fields {
        let mut lines = value.lines();
        let first = super::text::printable(lines.next().unwrap_or_default());
        let pad = " ".repeat(widest - width(name) + 2);
        text.push_str(format!("{name}{pad}{first}").trim_end());
        text.push('\n');
        for line in lines {
            text.push_str(format!("{}{}", " ".repeat(widest + 2), super::text::printable(line)).trim_end());
            text.push('\n');
        }
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_without_trailing_spaces() {
        let mut table = Table::new(&["ID", "STATE"]);
        table.row(vec!["a".to_owned(), "running".to_owned()]);
        table.row(vec!["längere".to_owned(), String::new()]);
        table.row(vec!["x".to_owned(), "two\nlines\u{1b}[31m".to_owned()]);
        assert_eq!(table.render(), "ID       STATE\na        running\nlängere\nx        two lines?[31m\n");
    }

    #[test]
    fn fields_are_aligned_and_indented() {
        let text = fields(&[("id", "x".to_owned()), ("trap", "boom\n  at f".to_owned())]);
        assert_eq!(text, "id    x\ntrap  boom\n        at f\n");
    }
}
