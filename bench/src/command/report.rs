//! What the measurements came to, as tables and as rows.

use std::fmt::Write as _;

use super::CommandArgs;
use super::contender::{GO, OURS, STOCK};
use crate::figure::{Mark, Row, Spread};
use crate::go::Go;
use crate::http::{Measured, report};

/// The marks of the design, by yardstick: requests/s, and p99 at half of its best rate.
const YARDSTICKS: [Yardstick; 2] = [
    Yardstick {
        name: STOCK,
        short: "stock",
        rate: Mark::AtLeast(5.0),
        p99: None,
    },
    Yardstick {
        name: GO,
        short: "Go",
        rate: Mark::AtLeast(4.0),
        p99: Some(Mark::AtMost(0.5)),
    },
];

/// A single connection has nobody to share a transaction with.
const MARKED_FROM: usize = 64;

struct Yardstick {
    name: &'static str,
    short: &'static str,
    rate: Mark,
    p99: Option<Mark>,
}

impl Yardstick {
    fn what(&self, connections: usize) -> String {
        let short = self.short;
        format!("command over HTTP, {connections} connections, by {short}")
    }
}

/// By contender and connections.
#[derive(Default)]
pub(super) struct Results {
    cells: Vec<Cell>,
    /// Measured at fixed rates.
    pub(super) latencies: Vec<Pair>,
}

/// Ours and a yardstick at half of its best rate.
pub(super) struct Pair {
    pub(super) names: [&'static str; 2],
    pub(super) rate: f64,
    /// By the same places.
    pub(super) rounds: [Vec<Measured>; 2],
    /// Who did not hold the rate, and why.
    pub(super) failed: Option<String>,
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
        let _ = writeln!(text, "\nours by the yardstick, each within its round");
        for yardstick in self.measured_yardsticks() {
            for level in &args.levels {
                let (ours, theirs) = (
                    self.rates_of(OURS, *level),
                    self.rates_of(yardstick.name, *level),
                );
                let ratio = Spread::of_ratios(&ours, &theirs);
                let mark = (*level >= MARKED_FROM).then(|| yardstick.rate.judge(ratio.median));
                let _ = writeln!(
                    text,
                    "  {:<6} {level:>4} connections: {:.2} ({:.2}–{:.2}){}",
                    yardstick.short,
                    ratio.median,
                    ratio.lowest,
                    ratio.highest,
                    mark.unwrap_or_default(),
                );
            }
        }
        text
    }

    /// Whose latency is measured over so many connections; nobody's when no rate of theirs is
    /// known.
    pub(super) fn pairs(&self, connections: usize) -> Vec<Pair> {
        let pair = |yardstick: &Yardstick| {
            let best = self.rates_of(yardstick.name, connections).into_iter();
            Some(Pair {
                names: [OURS, yardstick.name],
                rate: best.max_by(f64::total_cmp)? / 2.0,
                rounds: Default::default(),
                failed: None,
            })
        };
        YARDSTICKS.iter().filter_map(pair).collect()
    }

    /// A line a contender of each pair.
    pub(super) fn latency_lines(&self) -> String {
        let mut text = report::latency_head();
        for pair in &self.latencies {
            let measured = pair.names.iter().zip(&pair.rounds);
            for (name, rounds) in measured.filter(|(_, rounds)| !rounds.is_empty()) {
                text.push_str(&report::latency(name, pair.rate, rounds));
            }
            if let Some(why) = &pair.failed {
                let _ = writeln!(text, "NOT HELD {why}");
            }
        }
        text
    }

    /// The rows of the table.
    pub(super) fn rows(&self, args: &CommandArgs, go: &Go) -> Vec<Row> {
        let mut rows = Vec::new();
        for yardstick in &YARDSTICKS {
            for level in args.levels.iter().filter(|level| **level >= MARKED_FROM) {
                let what = yardstick.what(*level);
                let theirs = self.rates_of(yardstick.name, *level);
                if theirs.is_empty() {
                    rows.extend(go.missing(&what));
                    continue;
                }
                let ours = self.rates_of(OURS, *level);
                rows.push(Row::ratio(what, "cmd/s", (&ours, &theirs), yardstick.rate));
            }
            let what = yardstick.what(args.connections);
            rows.extend(self.p99(yardstick, &what));
        }
        rows
    }

    fn p99(&self, yardstick: &Yardstick, what: &str) -> Option<Row> {
        let is_it = |pair: &&Pair| pair.names[1] == yardstick.name;
        let pair = self.latencies.iter().find(is_it)?;
        let what = format!("{what}, p99 at half of its best");
        if let Some(why) = &pair.failed {
            return Some(Row::failed(&what, why));
        }
        let [ours, theirs] = [0, 1].map(|place| -> Vec<f64> {
            let rounds = pair.rounds[place].iter();
            rounds.map(|measured| measured.millis(0.99)).collect()
        });
        Some(Row::ratio(what, "ms", (&ours, &theirs), yardstick.p99?))
    }

    fn measured_yardsticks(&self) -> impl Iterator<Item = &'static Yardstick> {
        YARDSTICKS
            .iter()
            .filter(|yardstick| self.cells.iter().any(|cell| cell.name == yardstick.name))
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
