//! Which of n things the next one is about: each alike, or few of them most of the time.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Zipf};
use serde::{Deserialize, Serialize};

/// The distribution, as a scenario names it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "distribution", rename_all = "lowercase", deny_unknown_fields)]
pub enum Keys {
    /// Each alike.
    Uniform,
    /// The k-th is drawn in proportion to `k^-exponent`.
    Zipf {
        /// 0 is uniform; about 1 is what caches usually meet.
        exponent: f64,
    },
}

impl Keys {
    /// An index below `count`, which is not 0.
    pub fn draw(self, count: usize, random: &mut ChaCha8Rng) -> usize {
        match self {
            Self::Uniform => random.random_range(0..count),
            Self::Zipf { exponent } => {
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                let zipf = Zipf::new(count as f64, exponent);
                let rank = zipf.map_or(1.0, |zipf| zipf.sample(random));
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "1 to count"
                )]
                let rank = rank as usize;
                rank.clamp(1, count) - 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn counts(keys: Keys) -> Vec<u32> {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut counts = vec![0; 100];
        for _ in 0..100_000 {
            counts[keys.draw(100, &mut random)] += 1;
        }
        counts
    }

    #[test]
    fn uniform_keys_come_alike() {
        let counts = counts(Keys::Uniform);
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn the_k_th_of_zipf_keys_comes_a_k_th_as_often_as_the_first() {
        let counts = counts(Keys::Zipf { exponent: 1.0 });
        // The sum of 1/k to 100 is 5.187.
        for rank in [1, 2, 10, 100] {
            let expected = 100_000.0 / 5.187 / f64::from(rank);
            let found = f64::from(counts[rank as usize - 1]);
            assert!(
                (found / expected - 1.0).abs() < 0.25,
                "{rank}: {found} of {expected}"
            );
        }
    }
}
