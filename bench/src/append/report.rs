//! Medians with their spread, and the ratios to the marks. Ratios are taken within a round, where
//! the contenders ran right after each other, and then their median.

use std::fmt::Write as _;

use super::cell::{Cell, Contender};
use crate::figure::{Mark, Row, Spread};

/// What is compared.
type Value = fn(&Cell) -> f64;

/// Marks of the design, at the highest level.
const STOCK_RATE: Mark = Mark::AtLeast(12.0);
const STOCK_P50: Mark = Mark::AtMost(0.1);
const BARE_RATE: Mark = Mark::AtLeast(0.5);
const BARE_CPU: Mark = Mark::AtMost(2.0);
const MARKED_LEVEL: u16 = 512;

const CONTENDERS: [Contender; 4] = [
    Contender::Stock,
    Contender::Bare,
    Contender::Events,
    Contender::Commands,
];

/// A line a level and contender.
pub(super) fn tables(cells: &[Cell]) -> String {
    let mut text = String::from(
        "medians over the rounds (lowest to highest); latency is a command's, and a whole batch's \
         for the bare insert;\nµs are processor time an event: of the server's sessions, the whole \
         server, this program, and of that the lanes; others is in cores\n\n",
    );
    for level in levels(cells) {
        let _ = writeln!(
            text,
            "{level} concurrent commands\n  {:<28} {:>26} {:>8} {:>8} {:>7} {:>8} {:>7} {:>8} {:>6} {:>6} {:>7}",
            "",
            "events/s",
            "p50 ms",
            "p99 ms",
            "batch",
            "sessions",
            "server",
            "program",
            "lanes",
            "WAL B",
            "others"
        );
        for contender in CONTENDERS {
            let of: Vec<&Cell> = select(cells, contender, level);
            if !of.is_empty() {
                text.push_str(&line(contender, &of));
            }
        }
        text.push('\n');
    }
    text
}

fn line(contender: Contender, cells: &[&Cell]) -> String {
    let of = |value: &dyn Fn(&Cell) -> f64| Spread::of(cells.iter().map(|cell| value(cell)));
    let rate = of(&Cell::rate);
    format!(
        "  {:<28} {:>9.0} ({:>6.0}–{:>6.0}) {:>8.2} {:>8.2} {:>7.1} {:>8.1} {:>7.1} {:>8.1} {:>6.1} {:>6.0} {:>7.2}\n",
        contender.name(),
        rate.median,
        rate.lowest,
        rate.highest,
        of(&|cell| cell.millis(0.5)).median,
        of(&|cell| cell.millis(0.99)).median,
        of(&|cell| cell.batch).median,
        of(&Cell::session_micros).median,
        of(&|cell| cell.micros_an_event(cell.cpu.server)).median,
        of(&|cell| cell.micros_an_event(cell.cpu.client)).median,
        of(&|cell| cell.micros_an_event(cell.cpu.lanes)).median,
        of(&Cell::wal_an_event).median,
        of(&Cell::others).median,
    )
}

/// A paragraph a level: ours by stock and by the bare insert, with the marks where there are any.
pub(super) fn ratios(cells: &[Cell]) -> String {
    let mut text = String::from("ratios, each within its round: median (lowest to highest)\n");
    for level in levels(cells) {
        for ours in CONTENDERS
            .into_iter()
            .filter(|contender| contender.is_ours())
        {
            let marked = level == MARKED_LEVEL;
            let pairs: [(&str, Contender, Value, Option<Mark>); 6] = [
                (
                    "throughput by stock",
                    Contender::Stock,
                    Cell::rate,
                    Some(STOCK_RATE),
                ),
                (
                    "p50 by stock",
                    Contender::Stock,
                    |cell| cell.millis(0.5),
                    Some(STOCK_P50),
                ),
                (
                    "events a CPU second by stock",
                    Contender::Stock,
                    Cell::events_a_cpu_second,
                    None,
                ),
                (
                    "throughput by bare",
                    Contender::Bare,
                    Cell::rate,
                    Some(BARE_RATE),
                ),
                (
                    "session CPU an event by bare",
                    Contender::Bare,
                    Cell::session_micros,
                    Some(BARE_CPU),
                ),
                (
                    "events a CPU second by bare",
                    Contender::Bare,
                    Cell::events_a_cpu_second,
                    None,
                ),
            ];
            for (what, yardstick, value, mark) in pairs {
                let ratio = ratio(cells, level, ours, yardstick, value);
                if let Some(ratio) = ratio {
                    let mark = mark.filter(|_| marked).map(|mark| mark.judge(ratio.median));
                    let mark = mark.unwrap_or_default();
                    let _ = writeln!(
                        text,
                        "  {level:>4}  {:<22} {what:<29} {:>7.3} ({:.3}–{:.3}){mark}",
                        ours.name(),
                        ratio.median,
                        ratio.lowest,
                        ratio.highest
                    );
                }
            }
        }
    }
    text
}

/// The rows of the table: those of the append alone, which is what the marks are about.
pub(super) fn rows(cells: &[Cell]) -> Vec<Row> {
    let marked: [(&str, &'static str, Contender, Value, Mark); 4] = [
        (
            "throughput, by stock",
            "ev/s",
            Contender::Stock,
            Cell::rate,
            STOCK_RATE,
        ),
        (
            "p50, by stock",
            "ms",
            Contender::Stock,
            |cell| cell.millis(0.5),
            STOCK_P50,
        ),
        (
            "throughput, by the bare insert",
            "ev/s",
            Contender::Bare,
            Cell::rate,
            BARE_RATE,
        ),
        (
            "PostgreSQL's CPU an event, by the bare insert",
            "µs",
            Contender::Bare,
            Cell::session_micros,
            BARE_CPU,
        ),
    ];
    let values = |contender, value: Value| -> Vec<f64> {
        let cells = select(cells, contender, MARKED_LEVEL);
        cells.into_iter().map(value).collect()
    };
    let row = |(what, unit, yardstick, value, mark)| {
        let what = format!("durable append, {MARKED_LEVEL} commands: {what}");
        let both = (
            &*values(Contender::Events, value),
            &*values(yardstick, value),
        );
        let measured = !both.0.is_empty() && !both.1.is_empty();
        measured.then(|| Row::ratio(what, unit, both, mark))
    };
    marked.into_iter().filter_map(row).collect()
}

/// The ratios of each round; the n-th measurement of both is of the same round.
fn ratio(
    cells: &[Cell],
    level: u16,
    ours: Contender,
    yardstick: Contender,
    value: Value,
) -> Option<Spread> {
    let (ours, yardstick) = (select(cells, ours, level), select(cells, yardstick, level));
    if ours.is_empty() || yardstick.is_empty() {
        return None;
    }
    let pairs = ours.into_iter().zip(yardstick);
    Some(Spread::of(
        pairs.map(|(ours, yardstick)| value(ours) / value(yardstick)),
    ))
}

fn levels(cells: &[Cell]) -> Vec<u16> {
    let mut levels: Vec<u16> = cells.iter().map(|cell| cell.level).collect();
    levels.sort_unstable();
    levels.dedup();
    levels
}

fn select(cells: &[Cell], contender: Contender, level: u16) -> Vec<&Cell> {
    let wanted = |cell: &&Cell| cell.contender == contender && cell.level == level;
    cells.iter().filter(wanted).collect()
}
