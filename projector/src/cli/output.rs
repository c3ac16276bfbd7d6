//! How the verbs speak: tables for people, JSON for programs. Colour only on a terminal, and never
//! with NO_COLOR.

use std::io::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use platform::output::OutputError;
use serde::Serialize;

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// A table
    Table,
    /// JSON
    Json,
}

/// Writes a line to standard output.
pub(super) fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(anstream::stdout(), "{line}").map_err(OutputError::from)?;
    Ok(())
}

/// Writes a value as indented JSON.
pub(super) fn say_json(value: &impl Serialize) -> anyhow::Result<()> {
    say(serde_json::to_string_pretty(value)?)
}

/// A table with a header and without borders; columns whose index is in `numbers` stand to the
/// right.
pub(super) fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for &index in numbers {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table's text without trailing space.
pub(super) fn text(table: &Table) -> String {
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}
