//! Tables of text for a terminal.

use std::fmt::Write as _;

/// Where the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// At the start: words.
    Left,
    /// At the end: numbers.
    Right,
}

/// Rows below heads, every column as wide as its widest cell; empty columns are left out.
pub(super) fn aligned(heads: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let wide = |text: &str| text.chars().count();
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| wide(cell)).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, ((head, align), width)) in cells.zip(heads.iter().zip(&widths)) {
            if *width == 0 {
                continue;
            }
            let width = (*width).max(wide(head));
            let _ = match align {
                Align::Left => write!(line, "{cell:<width$}  "),
                Align::Right => write!(line, "{cell:>width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&mut heads.iter().map(|(head, _)| *head));
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let heads = [("name", Align::Left), ("none", Align::Left), ("n", Align::Right)];
        let rows = [["a", "", "1"], ["längerer", "", "23"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&heads, &rows), "name       n\na          1\nlängerer  23\n");
    }
}
