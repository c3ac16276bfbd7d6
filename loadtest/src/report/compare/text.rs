//! The comparison as text for a terminal.

use super::super::columns::{Cell, Columns, Ink, harmless, wrapped};
use super::super::spread::Spread;
use super::super::units::{self, NONE, Quantity};
use super::{Comparison, Judgement, Row, Unit};

impl Comparison {
    /// Side by side, with ANSI colours when asked for, in lines of about `width` letters.
    #[must_use]
    pub fn text(&self, colour: bool, width: usize) -> String {
        let (a, b) = self.runs;
        let scenario = Ink::Bold.on(&harmless(&self.scenario), colour);
        let mut text = format!("{scenario}: a has {}, b has {}\n", runs(a), runs(b));
        for warning in &self.warnings {
            let warning = wrapped(&format!("! {}", harmless(warning)), 2, width);
            text += &Ink::Bad.on(warning.trim_end(), colour);
            text.push('\n');
        }
        text += &self.settings(colour, width);
        text.push('\n');
        text += &self.table().text(colour, width);
        text.push('\n');
        text + &wrapped(self.noise(), 2, width)
    }

    fn settings(&self, colour: bool, width: usize) -> String {
        if self.differences.is_empty() {
            return String::new();
        }
        let mut table = Columns::new(&[("setting that differs", 9), ("a", 9), ("b", 9)]);
        for difference in &self.differences {
            let value = |value: &Option<String>| {
                let value = value.as_deref().filter(|value| !value.is_empty());
                (harmless(value.unwrap_or(NONE)), Ink::Plain)
            };
            let name = (harmless(&difference.name), Ink::Plain);
            table.push(vec![name, value(&difference.a), value(&difference.b)]);
        }
        format!("\n{}", table.text(colour, width))
    }

    fn table(&self) -> Columns {
        let mut table = Columns::new(&[
            ("", 9),
            ("a", 9),
            ("a min–max", 2),
            ("b", 9),
            ("b min–max", 3),
            ("change", 9),
            ("", 9),
        ]);
        for row in &self.rows {
            table.push(cells(row, row.name.to_owned()));
        }
        for (operation, rows) in &self.operations {
            for row in rows {
                table.push(cells(row, format!("{} {}", harmless(operation), row.name)));
            }
        }
        table
    }

    /// What the last column rests on.
    fn noise(&self) -> &'static str {
        match self.runs {
            (1, 1) => {
                "One run each: no noise known. Only repeated runs (several seeds) can tell a \
                 change from chance."
            }
            (a, b) if a < 2 || b < 2 => {
                "A side has fewer than two runs: no noise known. Only repeated runs (several \
                 seeds) can tell a change from chance."
            }
            _ => {
                "Medians over the runs. A change is called better or worse when the ranges of the \
                 runs do not overlap; otherwise it is within the noise."
            }
        }
    }
}

fn runs(number: usize) -> String {
    match number {
        1 => "1 run".to_owned(),
        number => format!("{number} runs"),
    }
}

fn cells(row: &Row, name: String) -> Vec<Cell> {
    let (word, ink) = match row.judgement {
        Judgement::Better => ("better", Ink::Good),
        Judgement::Worse => ("WORSE", Ink::Bad),
        Judgement::WithinNoise => ("within noise", Ink::Dim),
        Judgement::Same => ("same", Ink::Dim),
        Judgement::NoNoiseKnown => ("no noise known", Ink::Dim),
    };
    vec![
        (name, Ink::Plain),
        (median(row.unit, row.a), Ink::Plain),
        (range(row.unit, row.a), Ink::Dim),
        (median(row.unit, row.b), Ink::Plain),
        (range(row.unit, row.b), Ink::Dim),
        (change(row), ink),
        (word.to_owned(), ink),
    ]
}

fn show(unit: Unit, value: f64) -> Quantity {
    match unit {
        Unit::Rate => units::rate(value),
        Unit::Duration => units::duration(value),
        Unit::Errors => units::percent(value),
        Unit::Availability => units::availability(value),
    }
}

fn median(unit: Unit, spread: Option<Spread>) -> String {
    spread.map_or(NONE.to_owned(), |spread| {
        show(unit, spread.median).to_string()
    })
}

fn range(unit: Unit, spread: Option<Spread>) -> String {
    let Some(spread) = spread.filter(|spread| spread.runs > 1) else {
        return String::new();
    };
    let (min, max) = (show(unit, spread.min), show(unit, spread.max));
    if min == max {
        return String::new();
    }
    if min.unit == max.unit {
        format!("{}–{max}", min.number)
    } else {
        format!("{min}–{max}")
    }
}

fn change(row: &Row) -> String {
    match (row.change, row.a.zip(row.b)) {
        (Some(change), _) if change.abs() < 0.000_05 => "0 %".to_owned(),
        (Some(change), _) => format!("{:+.1} %", change * 100.0),
        (None, Some((a, b))) if a.median == b.median => "0 %".to_owned(),
        (None, Some(_)) => "from 0".to_owned(),
        (None, None) => NONE.to_owned(),
    }
}
