//! When the next one comes: times that are drawn before anything is sent, so that a slow server
//! cannot slow them down.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1};
use serde::{Deserialize, Serialize};

/// The distribution of the times between arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Spacing {
    /// Exponential: independent clients, a Poisson process.
    #[default]
    Exponential,
    /// All alike.
    Constant,
}

/// The intended starts, as times since the first moment. It never ends.
#[derive(Debug)]
pub struct Arrivals {
    spacing: Spacing,
    mean_seconds: f64,
    /// Of constant spacing a multiple, so that no rounding adds up.
    count: u64,
    seconds: f64,
}

impl Arrivals {
    /// So many a second.
    #[must_use]
    pub fn new(rate: f64, spacing: Spacing) -> Self {
        Self {
            spacing,
            mean_seconds: 1.0 / rate,
            count: 0,
            seconds: 0.0,
        }
    }

    /// The next one.
    pub fn next(&mut self, random: &mut ChaCha8Rng) -> Duration {
        match self.spacing {
            Spacing::Exponential => {
                let gap: f64 = Exp1.sample(random);
                self.seconds += gap * self.mean_seconds;
            }
            Spacing::Constant => {
                self.count += 1;
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                let count = self.count as f64;
                self.seconds = count * self.mean_seconds;
            }
        }
        Duration::from_secs_f64(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn drawn(spacing: Spacing, seed: u64) -> Vec<Duration> {
        let (mut arrivals, mut random) = (
            Arrivals::new(1000.0, spacing),
            ChaCha8Rng::seed_from_u64(seed),
        );
        (0..100_000).map(|_| arrivals.next(&mut random)).collect()
    }

    #[test]
    fn constant_arrivals_are_a_clock() {
        let times = drawn(Spacing::Constant, 1);
        assert_eq!(times[0], Duration::from_millis(1));
        assert_eq!(times[99_999], Duration::from_secs(100));
    }

    #[test]
    fn exponential_arrivals_have_the_rate_and_as_much_spread_as_mean() {
        let times = drawn(Spacing::Exponential, 1);
        let gaps: Vec<f64> = std::iter::once(times[0])
            .chain(times.windows(2).map(|pair| pair[1] - pair[0]))
            .map(|gap| gap.as_secs_f64() * 1e3)
            .collect();
        let mean = gaps.iter().sum::<f64>() / 1e5;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() - 1.0).abs() < 0.03, "{variance}");
    }

    #[test]
    fn a_seed_is_the_same_load_again() {
        assert_eq!(
            drawn(Spacing::Exponential, 7),
            drawn(Spacing::Exponential, 7)
        );
        assert_ne!(
            drawn(Spacing::Exponential, 7),
            drawn(Spacing::Exponential, 8)
        );
    }
}
