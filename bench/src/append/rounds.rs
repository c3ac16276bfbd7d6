//! The order of the measurements. Machines drift: they warm up, and neighbours come and go. So
//! every contender is measured at every level in every round, and each round begins with another
//! one.

use super::cell::{Cell, Contender};
use super::{AppendArgs, bare, ours, statements, stock};
use crate::output::say;
use testkit::Cluster;

const ORDER: [Contender; 4] = [
    Contender::Events,
    Contender::Bare,
    Contender::Stock,
    Contender::Commands,
];

/// Measures everything; round 0 is shorter and thrown away but for the batch sizes that it finds.
///
/// # Errors
/// Of the first measurement that fails.
pub(super) async fn run(cluster: &Cluster, args: &AppendArgs) -> anyhow::Result<Vec<Cell>> {
    let rehearsal = AppendArgs {
        seconds: 1,
        warm_up_seconds: 1,
        ..args.clone()
    };
    let mut cells = Vec::new();
    for level in &args.levels {
        for contender in contenders(args, 0) {
            let batch = batch_of_ours(&cells, *level);
            cells.push(measure(cluster, &rehearsal, contender, *level, batch).await?);
        }
    }
    let mut rehearsed = std::mem::take(&mut cells);
    for round in 0..args.rounds {
        for level in &args.levels {
            for contender in contenders(args, round) {
                let batch = batch_of_ours(&rehearsed, *level);
                let cell = measure(cluster, args, contender, *level, batch).await?;
                say(&progress(round, &cell))?;
                statements::show(cluster, args).await?;
                if contender == Contender::Events {
                    rehearsed.push(cell.clone());
                }
                cells.push(cell);
            }
        }
    }
    say("\n")?;
    Ok(cells)
}

fn contenders(args: &AppendArgs, round: u32) -> Vec<Contender> {
    let wanted = |contender: &Contender| args.only.is_empty() || args.only.contains(contender);
    let mut order: Vec<Contender> = ORDER.into_iter().filter(wanted).collect();
    let turn = usize::try_from(round).unwrap_or(0) % order.len().max(1);
    order.rotate_left(turn);
    order
}

/// The batch size that ours had last at this level; the bare insert does as many rows at once.
fn batch_of_ours(cells: &[Cell], level: u16) -> f64 {
    let ours = |cell: &&Cell| cell.contender == Contender::Events && cell.level == level;
    let typical = (f64::from(level) / 2.0).max(1.0);
    cells
        .iter()
        .rev()
        .find(ours)
        .map_or(typical, |cell| cell.batch)
}

async fn measure(
    cluster: &Cluster,
    args: &AppendArgs,
    contender: Contender,
    level: u16,
    batch: f64,
) -> anyhow::Result<Cell> {
    statements::reset(cluster, args).await?;
    match contender {
        Contender::Stock => stock::run(cluster, args, level).await,
        Contender::Bare => bare::run(cluster, args, level, rows(batch)).await,
        ours => ours::run(cluster, args, ours, level).await,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a batch has between one and a few thousand rows"
)]
fn rows(batch: f64) -> usize {
    batch.round().clamp(1.0, 100_000.0) as usize
}

fn progress(round: u32, cell: &Cell) -> String {
    format!(
        "round {} level {:>4} {:<28} {:>8.0} events/s  p50 {:>8.2} ms  others {:>4.2} cores\n",
        round + 1,
        cell.level,
        cell.contender.name(),
        cell.rate(),
        cell.millis(0.5),
        cell.others(),
    )
}
