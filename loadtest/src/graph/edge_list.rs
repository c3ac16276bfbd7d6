//! Edge lists as public data sets have them: a pair a line, in plain text or as the coordinates of
//! a Matrix Market file (socfb-Reed98 comes as one).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Graph;

/// Edges that are read at most.
const EDGES_MAX: usize = 100_000_000;
const MATRIX_MARKET: &str = "%%MatrixMarket";

/// Why a file is no edge list.
#[derive(Debug, thiserror::Error)]
pub enum EdgeListError {
    /// It cannot be read.
    #[error("cannot read the edges in {}", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// A line is no pair.
    #[error("line {line}: {text:?} is not a pair `a b`")]
    NotAPair {
        /// From 1.
        line: usize,
        /// What stands there, shortened.
        text: String,
    },
    /// Too many.
    #[error("more than {EDGES_MAX} edges")]
    TooMany,
    /// None.
    #[error("there is no edge")]
    Empty,
}

/// Reads a file.
///
/// # Errors
/// [`EdgeListError`].
pub fn read(path: &Path) -> Result<Graph, EdgeListError> {
    let text = std::fs::read_to_string(path);
    parse(&text.map_err(|error| EdgeListError::Unreadable(path.to_owned(), error))?)
}

/// Each line `a b`: a follows b. Names are any words, between white space or commas; what stands
/// behind the second one (weights, times) is left out, as are lines that begin with `#` or `%`,
/// pairs of the same name, and pairs that came before. In a symmetric Matrix Market file each pair
/// stands for both directions.
///
/// # Errors
/// [`EdgeListError`].
pub fn parse(text: &str) -> Result<Graph, EdgeListError> {
    let header = text
        .lines()
        .next()
        .filter(|line| line.starts_with(MATRIX_MARKET));
    let symmetric =
        header.is_some_and(|line| line.split_whitespace().any(|word| word == "symmetric"));
    let comment = |line: &str| line.is_empty() || line.starts_with(['#', '%']);
    let lines = text.lines().map(str::trim).zip(1..);
    let lines = lines.filter(|(line, _)| !comment(line));
    let (mut names, mut seen) = (Names::default(), HashSet::new());
    let mut graph = Graph::default();
    // The first line of a Matrix Market file says its sizes.
    for (line, number) in lines.skip(usize::from(header.is_some())) {
        let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        let (Some(follower), Some(followed)) = (words.next(), words.next()) else {
            let text = line.chars().take(40).collect();
            return Err(EdgeListError::NotAPair { line: number, text });
        };
        let pair = (names.number(follower), names.number(followed));
        let back = symmetric.then_some((pair.1, pair.0));
        for pair in std::iter::once(pair).chain(back) {
            if pair.0 != pair.1 && seen.insert(pair) {
                graph.edges.push(pair);
            }
        }
        if graph.edges.len() > EDGES_MAX {
            return Err(EdgeListError::TooMany);
        }
    }
    graph.nodes = names.0.len();
    if graph.edges.is_empty() {
        return Err(EdgeListError::Empty);
    }
    Ok(graph)
}

/// Numbers by name, in the order of their appearance.
#[derive(Default)]
struct Names<'t>(HashMap<&'t str, u32>);

impl<'t> Names<'t> {
    fn number(&mut self, name: &'t str) -> u32 {
        let next = u32::try_from(self.0.len()).expect("fewer names than EDGES_MAX allows");
        *self.0.entry(name).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_a_line_with_comments_names_weights_and_commas() {
        let graph =
            parse("# who follows whom\nada grace\ngrace,alan,0.5\n\nada grace\nalan alan\n");
        let graph = graph.unwrap();
        assert_eq!((graph.nodes, graph.edges), (3, vec![(0, 1), (1, 2)]));
    }

    #[test]
    fn a_matrix_market_file_has_its_sizes_on_the_first_line_and_may_be_symmetric() {
        let text =
            "%%MatrixMarket matrix coordinate pattern symmetric\n% Reed98\n3 3 2\n2 1\n3 1\n";
        let graph = parse(text).unwrap();
        assert_eq!(graph.edges, [(0, 1), (1, 0), (2, 1), (1, 2)]);
        assert_eq!(graph.nodes, 3);
    }

    #[test]
    fn a_line_that_is_no_pair_is_named() {
        let error = parse("1 2\nhello\n").unwrap_err();
        assert!(
            matches!(error, EdgeListError::NotAPair { line: 2, .. }),
            "{error}"
        );
        assert!(matches!(parse("# nothing\n"), Err(EdgeListError::Empty)));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let graph = parse("0 1\n1 2\n2 0\n").unwrap();
        assert_eq!(parse(&graph.edge_list()).unwrap(), graph);
    }
}
