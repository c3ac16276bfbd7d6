//! What repeated runs came to together: their median, and how far they lie apart. The spread is
//! the noise that a comparison has to exceed.

use super::{Operation, Report, Run};

/// A figure over the runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many runs have the figure.
    pub runs: usize,
}

impl Spread {
    /// None when there is no run.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self {
            median,
            min,
            max,
            runs: values.len(),
        })
    }

    /// Whether the two ranges have no value in common.
    pub(super) fn is_apart_from(&self, other: &Self) -> bool {
        self.max < other.min || other.max < self.min
    }
}

/// A figure over all runs of a report.
pub(super) fn over(report: &Report, figure: impl Fn(&Run) -> f64) -> Option<Spread> {
    Spread::of(report.runs.iter().map(figure))
}

/// The operations of all runs by name, in the order of their first occurrence.
pub(super) fn operations(report: &Report) -> Vec<(&str, Vec<&Operation>)> {
    let mut all: Vec<(&str, Vec<&Operation>)> = vec![];
    for operation in report.runs.iter().flat_map(|run| &run.operations) {
        match all.iter_mut().find(|(name, _)| *name == operation.name) {
            Some((_, same)) => same.push(operation),
            None => all.push((&operation.name, vec![operation])),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ranges_that_touch_are_not_apart() {
        let low = Spread::of([1.0, 2.0]).unwrap();
        let high = Spread::of([2.0, 3.0]).unwrap();
        let higher = Spread::of([2.1, 3.0]).unwrap();
        assert!(!low.is_apart_from(&high));
        assert!(low.is_apart_from(&higher) && higher.is_apart_from(&low));
    }
}
