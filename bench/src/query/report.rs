//! What the measurements came to, as tables and as rows.

use std::fmt::Write as _;

use super::comparison::{COMPARISONS, Comparison};
use super::contender::Contender;
use super::{QueryArgs, rates};
use crate::figure::{Row, Spread};
use crate::go::Go;
use crate::http::{Measured, report};

/// By contender.
pub(super) struct Results {
    names: Vec<&'static str>,
    /// As fast as it goes, a round each.
    pub(super) rounds: Vec<Vec<Measured>>,
}

/// Two whose latency is measured at one rate, or one that is compared with nobody.
pub(super) struct Pair {
    comparison: Option<Comparison>,
    /// Ours, and the yardstick.
    pub(super) numbers: Vec<usize>,
    pub(super) rate: f64,
    /// By the same places.
    pub(super) rounds: Vec<Vec<Measured>>,
    /// Who did not hold the rate, and why.
    pub(super) failed: Option<String>,
}

impl Pair {
    /// The places, in the order of this round: who goes first changes.
    pub(super) fn turns(&self, round: usize) -> Vec<usize> {
        let count = self.numbers.len();
        (0..count).map(|turn| (round + turn) % count).collect()
    }
}

impl Results {
    pub(super) fn new(contenders: &[Contender]) -> Self {
        Self {
            names: contenders.iter().map(|contender| contender.name).collect(),
            rounds: vec![Vec::new(); contenders.len()],
        }
    }

    /// A line a contender, and the ratios.
    pub(super) fn rates(&self, args: &QueryArgs) -> String {
        let mut text = format!(
            "\n{} connections, {} users ({} hot), {} s a measurement\n{}",
            args.connections,
            args.users,
            args.hot,
            args.seconds,
            report::head(),
        );
        for (name, rounds) in self.names.iter().zip(&self.rounds) {
            text.push_str(&report::line(name, rounds));
        }
        let _ = writeln!(
            text,
            "\nours by the yardstick, each within its round; µs: the yardstick's processor time by \
             ours, of the process alone\n\n{:<40} {:>22} {:>22}",
            "", "requests/s", "µs",
        );
        for comparison in &COMPARISONS {
            let Some((ours, yardstick)) = self.compared(comparison) else {
                continue;
            };
            let rate = Spread::of_ratios(&rates(ours), &rates(yardstick));
            let cpu = Spread::of_ratios(&micros(yardstick), &micros(ours));
            let _ = writeln!(
                text,
                "{:<40} {} {}{}",
                comparison.what,
                spread(rate),
                spread(cpu),
                comparison.rate.judge(rate.median),
            );
        }
        text
    }

    /// Whose latency is measured, and at which rate: half of what the yardstick did at best, half
    /// of its own best for one of ours that has none here.
    pub(super) fn pairs(&self) -> Vec<Pair> {
        let pair = |comparison: Option<&Comparison>, numbers: Vec<usize>| {
            let best = numbers.last().map(|number| rates(&self.rounds[*number]));
            let best = best.into_iter().flatten().fold(0.0, f64::max);
            Pair {
                comparison: comparison.copied(),
                rounds: vec![Vec::new(); numbers.len()],
                numbers,
                rate: best / 2.0,
                failed: None,
            }
        };
        let compared = COMPARISONS.iter().filter_map(|comparison| {
            let numbers = [comparison.ours, comparison.yardstick].map(|name| self.find(name));
            let [Some(ours), Some(yardstick)] = numbers else {
                return None;
            };
            Some(pair(Some(comparison), vec![ours, yardstick]))
        });
        let mut pairs: Vec<_> = compared.collect();
        for number in 0..self.names.len() {
            if !pairs.iter().any(|pair| pair.numbers.contains(&number)) {
                pairs.push(pair(None, vec![number]));
            }
        }
        pairs
    }

    /// A line a contender of each pair.
    pub(super) fn latencies(&self, pairs: &[Pair]) -> String {
        let mut text = report::latency_head();
        for pair in pairs {
            let measured = pair.numbers.iter().zip(&pair.rounds);
            for (number, rounds) in measured.filter(|(_, rounds)| !rounds.is_empty()) {
                text.push_str(&report::latency(self.names[*number], pair.rate, rounds));
            }
            if let Some(why) = &pair.failed {
                let _ = writeln!(text, "NOT HELD {why}");
            }
        }
        text
    }

    /// The rows of the table.
    pub(super) fn rows(&self, pairs: &[Pair], go: &Go) -> Vec<Row> {
        let of = |comparison: &Comparison| match self.compared(comparison) {
            Some((ours, yardstick)) => {
                let (ours, yardstick) = (rates(ours), rates(yardstick));
                let rate = (&*ours, &*yardstick);
                let rate = Row::ratio(comparison.what, "req/s", rate, comparison.rate);
                let latency = pairs.iter().find_map(|pair| p99(pair, comparison));
                [Some(rate), latency]
            }
            None if comparison.is_with_go() => [go.missing(comparison.what), None],
            None => [None, None],
        };
        COMPARISONS.iter().flat_map(of).flatten().collect()
    }

    fn compared(&self, comparison: &Comparison) -> Option<(&[Measured], &[Measured])> {
        let of = |name| self.find(name).map(|number| &*self.rounds[number]);
        Some((of(comparison.ours)?, of(comparison.yardstick)?))
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }
}

fn p99(pair: &Pair, comparison: &Comparison) -> Option<Row> {
    if pair.comparison?.what != comparison.what {
        return None;
    }
    if let Some(why) = &pair.failed {
        return Some(Row::failed(&comparison.p99_row(), why));
    }
    let (mark, [ours, yardstick]) = (comparison.p99?, &*pair.rounds) else {
        return None;
    };
    let of = |rounds: &[Measured]| -> Vec<f64> {
        let p99s = rounds.iter().map(|measured| measured.millis(0.99));
        p99s.collect()
    };
    let p99s = (&*of(ours), &*of(yardstick));
    Some(Row::ratio(comparison.p99_row(), "ms", p99s, mark))
}

fn spread(of: Spread) -> String {
    let (median, lowest, highest) = (of.median, of.lowest, of.highest);
    format!("{median:>8.3} ({lowest:.3}–{highest:.3})")
}

/// Processor time of the server a request, by rounds.
fn micros(rounds: &[Measured]) -> Vec<f64> {
    rounds.iter().map(Measured::server_micros).collect()
}
