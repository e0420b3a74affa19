//! Tables for people.

use std::fmt;

/// Rows under headings, every column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// With one more row; it has as many cells as there are headings.
    #[must_use]
    pub(crate) fn row<const N: usize>(mut self, cells: [String; N]) -> Self {
        self.rows.push(cells.map(|cell| super::plain(&cell)).to_vec());
        self
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Names and values, one a line, the values aligned.
pub(crate) fn sheet<const N: usize>(lines: [(&str, String); N]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let line = |(name, value): &(&str, String)| format!("{name:<width$}{}\n", super::plain(value));
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_no_cell_steers_the_terminal() {
        let table = Table::new(["NAME", "STATE"])
            .row(["büro-pc".into(), "running".into()])
            .row(["a\x1b[2J".into(), "off".into()]);
        assert_eq!(table.to_string(), "NAME     STATE\nbüro-pc  running\na\u{fffd}[2J    off\n");
    }

    #[test]
    fn a_sheet_aligns_its_values() {
        assert_eq!(sheet([("id", "7".into()), ("state", "off".into())]), "id     7\nstate  off\n");
    }
}
