//! Who follows whom: read from an edge list, or made of a seed. Scenarios of the social domain
//! will follow along it; `loadtest graph` shows and writes one.

pub mod edge_list;
pub mod power_law;

use std::fmt::Write as _;

/// Nodes and who follows whom among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// How many nodes; they are 0, 1, 2 …
    pub nodes: usize,
    /// Follower and followed, each pair once, never oneself.
    pub edges: Vec<(u32, u32)>,
}

impl Graph {
    /// By node: how many follow it.
    #[must_use]
    pub fn followers(&self) -> Vec<u32> {
        let mut counts = vec![0; self.nodes];
        for (_, followed) in &self.edges {
            counts[index(*followed)] += 1;
        }
        counts
    }

    /// Its sizes, a line each.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut followers = self.followers();
        followers.sort_unstable();
        let at = |percent: usize| {
            followers.get((followers.len() * percent / 100).min(followers.len().saturating_sub(1)))
        };
        let number = |found: Option<&u32>| found.copied().unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let mean = self.edges.len() as f64 / self.nodes.max(1) as f64;
        format!(
            "nodes      {}\nedges      {}\nfollowers  mean {mean:.1}, median {}, p99 {}, most {}\n",
            self.nodes,
            self.edges.len(),
            number(at(50)),
            number(at(99)),
            number(followers.last()),
        )
    }

    /// The edges as a list that [`edge_list::parse`] reads.
    #[must_use]
    pub fn edge_list(&self) -> String {
        let mut text = String::with_capacity(self.edges.len() * 12);
        for (follower, followed) in &self.edges {
            writeln!(text, "{follower} {followed}").expect("a string takes everything");
        }
        text
    }
}

fn index(node: u32) -> usize {
    usize::try_from(node).expect("a u32 fits a usize")
}
