//! What the measurements came to, as tables and as rows.

use std::fmt::Write as _;

use super::CommandArgs;
use super::contender::{Contender, OURS, STOCK};
use crate::figure::{Mark, Row, Spread};
use crate::http::{Measured, report};

/// The mark of the design; a single connection has nobody to share a transaction with.
const STOCK_RATE: Mark = Mark::AtLeast(5.0);
const MARKED_FROM: usize = 64;

/// By contender and connections.
#[derive(Default)]
pub(super) struct Results {
    cells: Vec<Cell>,
    /// At the rate that stands beside it.
    pub(super) at_rates: Vec<(&'static str, f64, Measured)>,
}

struct Cell {
    name: &'static str,
    connections: usize,
    rounds: Vec<Measured>,
}

impl Results {
    /// Another round.
    pub(super) fn add(&mut self, name: &'static str, connections: usize, measured: Measured) {
        let known = |cell: &&mut Cell| cell.name == name && cell.connections == connections;
        match self.cells.iter_mut().find(known) {
            Some(cell) => cell.rounds.push(measured),
            None => self.cells.push(Cell {
                name,
                connections,
                rounds: vec![measured],
            }),
        }
    }

    /// A line a contender and level, and the ratios.
    pub(super) fn rates(&self, args: &CommandArgs) -> String {
        let mut text = format!(
            "\nregistrations, durable when they are answered, {} s a measurement, connections in \
             parentheses\n{}",
            args.seconds,
            report::head(),
        );
        for level in &args.levels {
            for cell in self.cells.iter().filter(|cell| cell.connections == *level) {
                let name = format!("{} ({level})", cell.name);
                text.push_str(&report::line(&name, &cell.rounds));
            }
        }
        let _ = writeln!(text, "\nours by stock, each within its round");
        for level in &args.levels {
            let (ours, stock) = (self.rates_of(OURS, *level), self.rates_of(STOCK, *level));
            let ratio = Spread::of_ratios(&ours, &stock);
            let mark = (*level >= MARKED_FROM).then(|| STOCK_RATE.judge(ratio.median));
            let _ = writeln!(
                text,
                "  {level:>4} connections: {:.2} ({:.2}–{:.2}){}",
                ratio.median,
                ratio.lowest,
                ratio.highest,
                mark.unwrap_or_default(),
            );
        }
        text
    }

    /// Half of what the contender's yardstick did at best over so many connections, of its own best
    /// where it has none; nothing when that was not measured.
    pub(super) fn half_of_best(&self, contender: &Contender, connections: usize) -> Option<f64> {
        let measure = contender.yardstick.unwrap_or(contender.name);
        let best = self.rates_of(measure, connections).into_iter();
        best.max_by(f64::total_cmp).map(|best| best / 2.0)
    }

    /// A line a measurement at a fixed rate.
    pub(super) fn latencies(&self) -> String {
        let lines = self.at_rates.iter();
        let lines = lines.map(|(name, rate, measured)| report::latency(name, *rate, measured));
        lines.fold(report::latency_head(), |text, line| text + &line)
    }

    /// The rows of the table.
    pub(super) fn rows(&self) -> Vec<Row> {
        let levels = self.cells.iter().filter(|cell| cell.name == OURS);
        let marked = levels.filter(|cell| cell.connections >= MARKED_FROM);
        let row = |cell: &Cell| {
            let what = format!(
                "command over HTTP, {} connections, by stock",
                cell.connections
            );
            let ours = self.rates_of(OURS, cell.connections);
            let stock = self.rates_of(STOCK, cell.connections);
            Row::ratio(what, "cmd/s", (&ours, &stock), STOCK_RATE)
        };
        marked.map(row).collect()
    }

    fn rates_of(&self, name: &str, connections: usize) -> Vec<f64> {
        let is_it = |cell: &&Cell| cell.name == name && cell.connections == connections;
        let rounds = self.cells.iter().find(is_it).map(|cell| &*cell.rounds);
        rounds
            .unwrap_or_default()
            .iter()
            .map(Measured::rate)
            .collect()
    }
}
