//! Text tables for a terminal: columns as wide as their cells, and the least important left out
//! when the terminal is too narrow.

/// ANSI styles; nothing is written when colours are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
}

impl Ink {
    /// The text in this ink.
    pub(super) fn on(self, text: &str, colour: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "1;31",
        };
        if colour && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A cell and its ink.
pub(super) type Cell = (String, Ink);

/// A heading and how much its column is needed: the lowest goes first, 9 stays.
pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) need: u8,
}

/// Rows below headings; the first column and those without a heading are set left, the others
/// right.
pub(super) struct Columns {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

const GAP: usize = 3;
const INDENT: usize = 2;

impl Columns {
    pub(super) fn new(columns: &[(&'static str, u8)]) -> Self {
        let columns = columns
            .iter()
            .map(|&(heading, need)| Column { heading, need })
            .collect();
        Self {
            columns,
            rows: vec![],
        }
    }

    /// A row has as many cells as there are columns; an empty one is a blank line.
    pub(super) fn push(&mut self, row: Vec<Cell>) {
        debug_assert!(row.is_empty() || row.len() == self.columns.len());
        self.rows.push(row);
    }

    pub(super) fn text(&self, colour: bool, width: usize) -> String {
        let widths = self.widths();
        let shown = self.shown(&widths, width);
        let mut text = String::new();
        let headings: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| (column.heading.to_owned(), Ink::Dim))
            .collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let cells = line(row, &self.columns, &widths, &shown);
            let inked: String = cells
                .iter()
                .map(|(text, ink)| ink.on(text, colour))
                .collect();
            text.push_str(inked.trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let cells = |index: usize| {
            let rows = self.rows.iter().filter_map(move |row| row.get(index));
            rows.map(|(text, _)| text.chars().count())
        };
        self.columns
            .iter()
            .enumerate()
            .map(|(index, column)| cells(index).max().max(Some(column.heading.len())))
            .map(Option::unwrap_or_default)
            .collect()
    }

    fn shown(&self, widths: &[usize], width: usize) -> Vec<usize> {
        let mut shown: Vec<usize> = (0..widths.len()).collect();
        let total = |shown: &[usize]| {
            INDENT
                + shown
                    .iter()
                    .map(|&index| widths[index] + GAP)
                    .sum::<usize>()
                - GAP
        };
        while total(&shown) > width {
            let least = (0..shown.len())
                .rev()
                .min_by_key(|&place| self.columns[shown[place]].need)
                .filter(|&place| self.columns[shown[place]].need < 9);
            match least {
                Some(place) => shown.remove(place),
                None => break,
            };
        }
        shown
    }
}

fn line(row: &[Cell], columns: &[Column], widths: &[usize], shown: &[usize]) -> Vec<Cell> {
    let mut cells = vec![];
    for &index in shown {
        let Some((text, ink)) = row.get(index) else {
            continue;
        };
        let before = if index == 0 { INDENT } else { GAP };
        let pad = widths[index].saturating_sub(text.chars().count());
        let left = index == 0 || columns[index].heading.is_empty();
        let (pad_before, pad_after) = if left { (0, pad) } else { (pad, 0) };
        cells.push((" ".repeat(before + pad_before), Ink::Plain));
        cells.push((text.clone(), *ink));
        cells.push((" ".repeat(pad_after), Ink::Plain));
    }
    cells
}

/// The text in lines of at most `width`, each after `indent` spaces; long words are left whole.
pub(super) fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let room = width.saturating_sub(indent).max(20);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= room {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    let indent = " ".repeat(indent);
    lines
        .iter()
        .fold(String::new(), |text, line| text + &indent + line + "\n")
}

/// Text of a server without its control characters, which a terminal would obey.
pub(super) fn harmless(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_loses_the_least_needed_columns_first() {
        let mut table = Columns::new(&[("name", 9), ("p50", 5), ("p95", 1), ("p99", 9)]);
        table.push(
            ["get", "1.1", "2.2", "3.3"]
                .map(|text| (text.to_owned(), Ink::Plain))
                .into(),
        );
        assert_eq!(
            table.text(false, 80),
            "  name   p50   p95   p99\n  get    1.1   2.2   3.3\n"
        );
        assert_eq!(
            table.text(false, 20),
            "  name   p50   p99\n  get    1.1   3.3\n"
        );
        assert_eq!(table.text(false, 1), "  name   p99\n  get    3.3\n");
    }

    #[test]
    fn a_server_cannot_paint_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31mb\nc"), "a [31mb c");
    }
}
