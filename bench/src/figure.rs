//! Figures that are compared: medians with their spread, ratios with their marks, and the rows of
//! the one table that `bench all` prints.

use std::fmt::Write as _;

/// Counts to 2^53 are exact.
#[expect(
    clippy::cast_precision_loss,
    reason = "no count of these programs comes near 2^53"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// Of several rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) lowest: f64,
    pub(crate) median: f64,
    pub(crate) highest: f64,
}

impl Spread {
    /// Of at least one value; of none it is not a number.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = ((values.len().max(1) - 1) / 2, values.len() / 2);
        Self {
            lowest: at(0),
            median: f64::midpoint(at(low), at(high)),
            highest: at(values.len().max(1) - 1),
        }
    }

    /// Of the ratios of each round; the n-th values of both are of the same round.
    pub(crate) fn of_ratios(ours: &[f64], yardstick: &[f64]) -> Self {
        let pairs = ours.iter().zip(yardstick);
        Self::of(pairs.map(|(ours, yardstick)| ours / yardstick))
    }
}

/// What the design asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    AtLeast(f64),
    AtMost(f64),
}

impl Mark {
    /// Whether a figure is good enough; what is not a number is not.
    pub(crate) fn is_reached(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(mark) => figure >= mark,
            Self::AtMost(mark) => figure <= mark,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtLeast(mark) => format!("at least {mark}"),
            Self::AtMost(mark) => format!("at most {mark}"),
        }
    }

    fn verdict(self, figure: f64) -> &'static str {
        if self.is_reached(figure) {
            "reached"
        } else {
            "MISSED"
        }
    }

    /// The mark and whether it is reached, for the end of a line.
    pub(crate) fn judge(self, figure: f64) -> String {
        format!("  mark: {}, {}", self.words(), self.verdict(figure))
    }
}

/// A row of the table: a figure of ours beside its yardstick's.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    what: String,
    found: Found,
}

#[derive(Clone, Debug)]
enum Found {
    /// Medians over the rounds, and the median of the rounds' ratios.
    Ratio {
        ours: f64,
        yardstick: f64,
        unit: &'static str,
        ratio: f64,
        mark: Mark,
    },
    /// A figure without a yardstick, with a mark of its own if there is one.
    Alone {
        ours: f64,
        unit: &'static str,
        mark: Option<Mark>,
    },
    /// Why there is no figure.
    Nothing { why: String, failed: bool },
}

impl Row {
    /// Ours by the yardstick, round by round.
    pub(crate) fn ratio(
        what: impl Into<String>,
        unit: &'static str,
        (ours, yardstick): (&[f64], &[f64]),
        mark: Mark,
    ) -> Self {
        let median = |values: &[f64]| Spread::of(values.iter().copied()).median;
        let found = Found::Ratio {
            ours: median(ours),
            yardstick: median(yardstick),
            unit,
            ratio: Spread::of_ratios(ours, yardstick).median,
            mark,
        };
        let what = what.into();
        Self { what, found }
    }

    /// A figure without a yardstick.
    pub(crate) fn alone(what: &str, unit: &'static str, ours: f64, mark: Mark) -> Self {
        let mark = Some(mark);
        let found = Found::Alone { ours, unit, mark };
        let what = what.to_owned();
        Self { what, found }
    }

    /// A figure that is reported and has no mark.
    pub(crate) fn reported(what: &str, unit: &'static str, ours: f64) -> Self {
        let mark = None;
        let found = Found::Alone { ours, unit, mark };
        let what = what.to_owned();
        Self { what, found }
    }

    /// A row that has no figure, and need not have one here.
    pub(crate) fn absent(what: &str, why: &str) -> Self {
        Self::nothing(what, why, false)
    }

    /// A program that failed.
    pub(crate) fn failed(what: &str, why: &str) -> Self {
        Self::nothing(what, why, true)
    }

    fn nothing(what: &str, why: &str, failed: bool) -> Self {
        let why = why.to_owned();
        let found = Found::Nothing { why, failed };
        let what = what.to_owned();
        Self { what, found }
    }

    /// Whether its program failed.
    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.found, Found::Nothing { failed: true, .. })
    }

    fn cells(&self) -> [String; 6] {
        let what = self.what.clone();
        match &self.found {
            Found::Ratio {
                ours,
                yardstick,
                unit,
                ratio,
                mark,
            } => [
                what,
                number(*ours, unit),
                number(*yardstick, unit),
                format!("{ratio:.2}"),
                mark.words(),
                mark.verdict(*ratio).to_owned(),
            ],
            Found::Alone { ours, unit, mark } => [
                what,
                number(*ours, unit),
                "–".to_owned(),
                "–".to_owned(),
                mark.map_or_else(|| "–".to_owned(), |mark| format!("{} {unit}", mark.words())),
                mark.map_or_else(String::new, |mark| mark.verdict(*ours).to_owned()),
            ],
            Found::Nothing { why, failed } => {
                let dash = || "–".to_owned();
                let verdict = if *failed { "FAILED" } else { why.as_str() };
                [what, dash(), dash(), dash(), dash(), verdict.to_owned()]
            }
        }
    }
}

/// Whole when it is large.
fn number(value: f64, unit: &str) -> String {
    if value >= 100.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.2} {unit}")
    }
}

/// The table, a line a row; under it why programs failed.
pub(crate) fn table(rows: &[Row]) -> String {
    let heads = ["what", "ours", "yardstick", "ratio", "mark", ""].map(str::to_owned);
    let mut lines = vec![heads];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let [what, ours, yardstick, ratio, mark, verdict] = line;
        let line = format!(
            "{what:<0$}  {ours:>1$}  {yardstick:>2$}  {ratio:>3$}  {mark:<4$}  {verdict}",
            widths[0], widths[1], widths[2], widths[3], widths[4],
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for row in rows.iter().filter(|row| row.is_failed()) {
        if let Found::Nothing { why, .. } = &row.found {
            let _ = writeln!(text, "\n{} failed: {why}", row.what);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_between_the_middle_two_of_an_even_number() {
        let odd = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((odd.lowest, odd.median, odd.highest), (1.0, 2.0, 3.0));
        assert!((Spread::of([1.0, 2.0, 4.0, 9.0]).median - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        let spread = Spread::of_ratios(&[8.0, 30.0, 4.0], &[2.0, 3.0, 2.0]);
        assert_eq!(
            (spread.lowest, spread.median, spread.highest),
            (2.0, 4.0, 10.0)
        );
    }

    #[test]
    fn a_mark_says_when_it_is_missed() {
        assert!(Mark::AtLeast(12.0).judge(11.9).ends_with("MISSED"));
        assert!(Mark::AtMost(0.1).judge(0.1).ends_with("reached"));
        assert!(!Mark::AtMost(0.1).is_reached(f64::NAN));
    }

    #[test]
    fn the_table_has_a_line_a_row_and_says_why_a_program_failed() {
        let rows = [
            Row::ratio("hit", "req/s", (&[900.0], &[1000.0]), Mark::AtLeast(0.8)),
            Row::alone("visible, p50", "ms", 12.5, Mark::AtMost(10.0)),
            Row::reported("a command", "B", 20480.0),
            Row::absent("social", "comes with feeds"),
            Row::failed("rebuild", "no disk"),
        ];
        let expected = "\
what               ours   yardstick  ratio  mark
hit           900 req/s  1000 req/s   0.90  at least 0.8   reached
visible, p50   12.50 ms           –      –  at most 10 ms  MISSED
a command       20480 B           –      –  –
social                –           –      –  –              comes with feeds
rebuild               –           –      –  –              FAILED

rebuild failed: no disk
";
        assert_eq!(table(&rows), expected);
        assert_eq!(rows.iter().filter(|row| row.is_failed()).count(), 1);
    }
}
