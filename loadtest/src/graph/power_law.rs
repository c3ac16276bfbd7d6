//! A graph of a seed: the numbers of followers are drawn from a power law, as those of social
//! networks are; who follows is drawn evenly.

use std::collections::HashSet;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Graph, index};

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerLaw {
    /// How many nodes.
    pub nodes: u32,
    /// The density of followers falls with this power: `p(k) ~ k^-exponent`; above 1.
    pub exponent: f64,
    /// Followers of a node, on average.
    pub mean: f64,
    /// The same seed is the same graph.
    pub seed: u64,
}

impl PowerLaw {
    /// Draws the graph.
    #[must_use]
    pub fn draw(&self) -> Graph {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let lowest = self.lowest();
        let mut edges = Vec::new();
        for followed in 0..self.nodes {
            let count = self.followers(lowest, random.random());
            let mut chosen = HashSet::with_capacity(index(count));
            while chosen.len() < index(count) {
                let follower = random.random_range(0..self.nodes);
                if follower != followed && chosen.insert(follower) {
                    edges.push((follower, followed));
                }
            }
        }
        Graph {
            nodes: index(self.nodes),
            edges,
        }
    }

    /// Nobody has more followers than there are others.
    fn highest(&self) -> f64 {
        f64::from(self.nodes.saturating_sub(1))
    }

    /// The bound below which nobody is, so that the mean comes out: by halving, because the mean
    /// rises with it.
    fn lowest(&self) -> f64 {
        let (mut low, mut high) = (f64::MIN_POSITIVE, self.highest());
        for _ in 0..100 {
            let middle = f64::midpoint(low, high);
            if self.mean_from(middle) < self.mean {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// The mean of a Pareto distribution that is cut off at both ends. Its density is `x^-exponent`
    /// between them, over its integral.
    fn mean_from(&self, lowest: f64) -> f64 {
        let integral = |power: f64| {
            if power.abs() < 1e-9 {
                (self.highest() / lowest).ln()
            } else {
                (self.highest().powf(power) - lowest.powf(power)) / power
            }
        };
        integral(2.0 - self.exponent) / integral(1.0 - self.exponent)
    }

    /// The inverse of the distribution function, rounded to whole followers.
    fn followers(&self, lowest: f64, uniform: f64) -> u32 {
        let power = 1.0 - self.exponent;
        let (low, high) = (lowest.powf(power), self.highest().powf(power));
        let count = (low - uniform * (low - high)).powf(1.0 / power).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the number of nodes"
        )]
        let count = count as u32;
        count.min(self.nodes.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: PowerLaw = PowerLaw {
        nodes: 20_000,
        exponent: 2.2,
        mean: 40.0,
        seed: 1,
    };

    #[test]
    fn the_mean_is_the_one_that_was_asked_for() {
        let graph = LAW.draw();
        let mean = graph.edges.len() as f64 / graph.nodes as f64;
        assert!((mean / LAW.mean - 1.0).abs() < 0.15, "{mean}");
    }

    #[test]
    fn the_tail_falls_with_the_exponent() {
        // Hill's estimator over those with at least 50 followers.
        let followers = LAW.draw().followers();
        let tail: Vec<f64> = followers
            .into_iter()
            .map(f64::from)
            .filter(|k| *k >= 50.0)
            .collect();
        let sum: f64 = tail.iter().map(|k| (k / 49.5).ln()).sum();
        let exponent = 1.0 + tail.len() as f64 / sum;
        assert!(
            (exponent - LAW.exponent).abs() < 0.15,
            "{exponent} of {}",
            tail.len()
        );
    }

    #[test]
    fn nobody_follows_twice_or_oneself_and_a_seed_is_the_same_graph_again() {
        let graph = PowerLaw { nodes: 500, ..LAW }.draw();
        let distinct: HashSet<_> = graph.edges.iter().collect();
        assert_eq!(distinct.len(), graph.edges.len());
        assert!(
            graph
                .edges
                .iter()
                .all(|(follower, followed)| follower != followed)
        );
        assert_eq!(graph, PowerLaw { nodes: 500, ..LAW }.draw());
        assert_ne!(
            graph,
            PowerLaw {
                nodes: 500,
                seed: 2,
                ..LAW
            }
            .draw()
        );
    }
}
