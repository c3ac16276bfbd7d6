//! Objectives in words: the limit, the figure, and which run came nearest to missing it.

use super::Objective;
use super::units::{self, Quantity};

/// The limit as it is said: `p99 < 100 ms`, `errors < 0.1 %`, `rate ≥ 95 % of what was due`.
pub(super) fn limit(objective: &Objective) -> String {
    let sign = match objective.name.as_str() {
        "rate" => "≥",
        "server_errors" => "≤",
        _ => "<",
    };
    let value = limit_value(objective);
    let of = if objective.name == "rate" {
        " of what was due"
    } else {
        ""
    };
    format!("{} {sign} {value}{of}", objective.name)
}

/// The limit without digits that say nothing: `10 ms`.
pub(super) fn limit_value(objective: &Objective) -> Quantity {
    let mut value = figure(objective, objective.limit);
    if value.number.contains('.') {
        let short = value.number.trim_end_matches('0').trim_end_matches('.');
        value.number = short.to_owned();
    }
    value
}

/// A value of the objective with its unit.
pub(super) fn figure(objective: &Objective, value: f64) -> Quantity {
    match objective.name.as_str() {
        "errors" | "rate" => units::percent(value),
        // A whole number of answers.
        "server_errors" => Quantity {
            number: format!("{value:.0}"),
            unit: "answers 5xx",
        },
        _ => units::duration(value),
    }
}

/// The value of the run that held it least; none without a run.
pub(super) fn worst(objective: &Objective) -> Option<f64> {
    let values = objective.values.iter().copied();
    if reaches_up(objective) {
        values.min_by(f64::total_cmp)
    } else {
        values.max_by(f64::total_cmp)
    }
}

fn reaches_up(objective: &Objective) -> bool {
    objective.name == "rate"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_said_as_it_was_set() {
        let said = [
            ("p99", 100.0),
            ("p50", 2.5),
            ("errors", 0.001),
            ("rate", 0.95),
            ("server_errors", 0.0),
        ];
        let said = said.map(|(name, value)| {
            limit(&Objective {
                name: name.to_owned(),
                limit: value,
                values: vec![],
                held: true,
            })
        });
        let expected = [
            "p99 < 100 ms",
            "p50 < 2.5 ms",
            "errors < 0.1 %",
            "rate ≥ 95 % of what was due",
            "server_errors ≤ 0 answers 5xx",
        ];
        assert_eq!(said, expected);
    }
}
