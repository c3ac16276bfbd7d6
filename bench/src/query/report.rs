//! What the measurements came to, as tables and as rows.

use std::fmt::Write as _;

use super::contender::{BARE, Contender, HIT};
use super::{QueryArgs, find, rates};
use crate::figure::{Mark, Row, Spread};
use crate::http::{Measured, report};

/// The mark of the design.
const BARE_RATE: Mark = Mark::AtLeast(0.8);

/// By contender.
pub(super) struct Results {
    names: Vec<&'static str>,
    /// As fast as it goes, a round each.
    pub(super) rounds: Vec<Vec<Measured>>,
    /// At the rate that stands beside it.
    pub(super) at_rates: Vec<Vec<(f64, Measured)>>,
}

impl Results {
    pub(super) fn new(contenders: &[Contender]) -> Self {
        let count = contenders.len();
        Self {
            names: contenders.iter().map(|contender| contender.name).collect(),
            rounds: vec![Vec::new(); count],
            at_rates: vec![Vec::new(); count],
        }
    }

    /// A line a contender, and the ratio.
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
        if let Some((hit, bare)) = self.hit_and_bare() {
            let rate = Spread::of_ratios(&rates(hit), &rates(bare));
            let cpu = Spread::of_ratios(&micros(bare), &micros(hit));
            let _ = writeln!(
                text,
                "\nours by bare actix-web, each within its round: requests/s {:.3} ({:.3}–{:.3}){}\n\
                 by the server's processor time alone, without the client's: {:.3} ({:.3}–{:.3})",
                rate.median,
                rate.lowest,
                rate.highest,
                BARE_RATE.judge(rate.median),
                cpu.median,
                cpu.lowest,
                cpu.highest,
            );
        }
        text
    }

    /// Half of what the contender's yardstick did at best; of its own best where it has none.
    pub(super) fn half_of_best(&self, contender: &Contender, all: &[Contender]) -> f64 {
        let measure = contender.yardstick.or(Some(contender.name));
        let rounds = find(all, measure).map_or(&[][..], |number| &self.rounds[number]);
        let best = rates(rounds).into_iter().fold(0.0, f64::max);
        best / 2.0
    }

    /// A line a measurement at a fixed rate.
    pub(super) fn latencies(&self) -> String {
        let mut text = report::latency_head();
        for (name, measured) in self.names.iter().zip(&self.at_rates) {
            for (rate, measured) in measured {
                text.push_str(&report::latency(name, *rate, measured));
            }
        }
        text
    }

    /// The rows of the table.
    pub(super) fn rows(&self) -> Vec<Row> {
        let of = |(hit, bare): (&[Measured], &[Measured])| {
            let rates = (&*rates(hit), &*rates(bare));
            Row::ratio(
                "query hit over HTTP, by bare actix-web",
                "req/s",
                rates,
                BARE_RATE,
            )
        };
        self.hit_and_bare().map(of).into_iter().collect()
    }

    fn hit_and_bare(&self) -> Option<(&[Measured], &[Measured])> {
        let of = |wanted| {
            let number = self.names.iter().position(|name| *name == wanted)?;
            Some(&*self.rounds[number])
        };
        Some((of(HIT)?, of(BARE)?))
    }
}

/// Processor time of the server a request, by rounds.
fn micros(rounds: &[Measured]) -> Vec<f64> {
    rounds.iter().map(Measured::server_micros).collect()
}
