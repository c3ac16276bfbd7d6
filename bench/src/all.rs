//! Every program in a short form, one after the other, and one table of what came out.
//!
//! A program is a line of [`PROGRAMS`] and a variant of [`Measure`], and makes its own rows. Rows
//! of the design's table that no program makes yet stand here and say so.

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Args, Parser};

use crate::Measure;
use crate::figure::{Row, table};
use crate::output::{load, say};

/// A program that takes longer hangs.
const PROGRAM_MAX: Duration = Duration::from_secs(600);

/// What is run.
#[derive(Args, Clone, Debug)]
pub(crate) struct AllArgs {
    /// Only these programs.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Sizes that show that everything runs, and nothing else.
    #[arg(long)]
    smoke: bool,
}

/// A program and how it is called here; by hand it is called the same way.
struct Short {
    name: &'static str,
    arguments: &'static str,
    smoke: &'static str,
}

const PROGRAMS: [Short; 6] = [
    Short {
        name: "append",
        arguments: "--levels 512 --rounds 3 --seconds 3",
        smoke: "--levels 512 --rounds 1 --seconds 1",
    },
    Short {
        name: "command",
        arguments: "--rounds 3 --latency-rounds 3 --seconds 4",
        smoke: "--rounds 1 --latency-rounds 1 --seconds 1 --warm-up-seconds 1",
    },
    Short {
        name: "query",
        arguments: "--rounds 3 --latency-rounds 3 --seconds 4",
        smoke: "--rounds 1 --latency-rounds 1 --seconds 1 --warm-up-seconds 1 --users 1000 \
                --hot 100",
    },
    Short {
        name: "memory",
        arguments: "--seconds 60",
        smoke: "--hits 2000 --commands 500 --users 100 --seconds 3",
    },
    Short {
        name: "rebuild",
        arguments: "--rounds 3 --events 500000",
        smoke: "--rounds 1 --events 20000",
    },
    Short {
        name: "visibility",
        arguments: "--rounds 3 --seconds 8 --warm-up-seconds 3",
        smoke: "--rounds 1 --seconds 2 --warm-up-seconds 1 --rate 100",
    },
];

/// A program's command line.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    measure: Measure,
}

/// Runs them and prints the table.
///
/// # Errors
/// When a program fails; the others are run and shown all the same.
pub(crate) async fn run(args: AllArgs) -> anyhow::Result<()> {
    let is_known = |name: &String| PROGRAMS.iter().any(|short| short.name == name);
    if let Some(unknown) = args.only.iter().find(|name| !is_known(name)) {
        bail!("no program is called {unknown}");
    }
    let mut rows = Vec::new();
    let wanted =
        |short: &&Short| args.only.is_empty() || args.only.iter().any(|only| only == short.name);
    for short in PROGRAMS.iter().filter(wanted) {
        rows.extend(program(short, args.smoke).await?);
    }
    rows.push(Row::absent(
        "mixed social workload, p50, p95, p99, errors",
        "comes with feeds",
    ));
    say(&format!("\n{}", table(&rows)))?;
    let failed = rows.iter().filter(|row| row.is_failed()).count();
    if failed > 0 {
        bail!("{failed} programs failed");
    }
    Ok(())
}

/// Its rows; a row that says that it failed, if it did.
async fn program(short: &Short, smoke: bool) -> anyhow::Result<Vec<Row>> {
    let arguments = if smoke { short.smoke } else { short.arguments };
    say(&format!(
        "\n== bench {} {arguments}   (load average {})\n\n",
        short.name,
        load()
    ))?;
    let begun = Instant::now();
    let measure = short.parse(arguments)?;
    let rows = match tokio::time::timeout(PROGRAM_MAX, measure.run()).await {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) => vec![Row::failed(short.name, &format!("{error:#}"))],
        Err(_) => vec![Row::failed(
            short.name,
            &format!("it takes longer than {PROGRAM_MAX:?}"),
        )],
    };
    say(&format!("took {:.0} s\n", begun.elapsed().as_secs_f64()))?;
    Ok(rows)
}

impl Short {
    fn parse(&self, arguments: &str) -> anyhow::Result<Measure> {
        let words = ["bench", self.name]
            .into_iter()
            .chain(arguments.split_whitespace());
        Ok(Line::try_parse_from(words)?.measure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_short_form_is_a_command_line_that_the_program_takes() {
        for short in &PROGRAMS {
            for arguments in [short.arguments, short.smoke] {
                let parsed = short.parse(arguments);
                assert!(parsed.is_ok(), "{} {arguments}", short.name);
            }
        }
    }
}
