//! Which of a server's metrics are shown, and how a figure is made of them: one line a figure. A
//! metric that a server does not have is left out.

use std::collections::BTreeMap;

use super::Sample;
use super::exposition::Exposition;
use crate::report::{Figure, Series, Server};

/// How a figure comes of a metric.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// The growth a second of a counter, over all its labels.
    Rate,
    /// The growth of a counter whose label has a value that begins so.
    Count(&'static str, &'static str),
    /// The largest value of a gauge at any look.
    Largest,
    /// The mean of a histogram's observations.
    Mean,
    /// The quantile of a histogram's observations, by linear interpolation within the bucket, as
    /// Prometheus's `histogram_quantile` does it.
    Quantile(f64),
    /// The share of `result="hit"` among the requests of a cache's layer.
    Hits(&'static str),
}

/// Name, metric, how, unit, and by what the value is multiplied for it.
type Rule = (&'static str, &'static str, Made, &'static str, f64);

const RULES: [Rule; 16] = [
    (
        "processor",
        "process_cpu_seconds_total",
        Made::Rate,
        "cores",
        1.0,
    ),
    (
        "memory, largest",
        "process_resident_memory_bytes",
        Made::Largest,
        "bytes",
        1.0,
    ),
    ("requests", "http_requests_total", Made::Rate, "/s", 1.0),
    (
        "answers 5xx",
        "http_requests_total",
        Made::Count("status", "5"),
        "",
        1.0,
    ),
    (
        "answers 429",
        "http_requests_total",
        Made::Count("status", "429"),
        "",
        1.0,
    ),
    (
        "request p50",
        "http_request_duration_seconds",
        Made::Quantile(0.5),
        "ms",
        1e3,
    ),
    (
        "request p99",
        "http_request_duration_seconds",
        Made::Quantile(0.99),
        "ms",
        1e3,
    ),
    (
        "hits in process",
        "cache_requests_total",
        Made::Hits("l1"),
        "share",
        1.0,
    ),
    (
        "hits in Redis",
        "cache_requests_total",
        Made::Hits("redis"),
        "share",
        1.0,
    ),
    (
        "waits for a token, mean",
        "token_wait_seconds",
        Made::Mean,
        "ms",
        1e3,
    ),
    (
        "events an append, mean",
        "append_batch_events",
        Made::Mean,
        "",
        1.0,
    ),
    ("append, mean", "append_seconds", Made::Mean, "ms", 1e3),
    ("queue, longest", "queue_depth", Made::Largest, "", 1.0),
    (
        "append to row p50",
        "visibility_lag_seconds",
        Made::Quantile(0.5),
        "ms",
        1e3,
    ),
    (
        "append to row p99",
        "visibility_lag_seconds",
        Made::Quantile(0.99),
        "ms",
        1e3,
    ),
    (
        "projection lag, largest",
        "projection_lag_events",
        Made::Largest,
        "",
        1.0,
    ),
];

/// Those that are shown second by second, too; a second has no largest, so that word is left out.
const THROUGH_TIME: [&str; 5] = [
    "processor",
    "memory, largest",
    "requests",
    "queue, longest",
    "projection lag, largest",
];

/// Whether a figure is made of the metric, which may be a part of a histogram. The rest of an
/// answer is not kept: an hour of it would fill the memory.
pub(super) fn is_shown(metric: &str) -> bool {
    let parts = ["", "_bucket", "_sum", "_count"];
    let of = |rule: &Rule| {
        let part = metric.strip_prefix(rule.1);
        part.is_some_and(|part| parts.contains(&part))
    };
    metric == "build_info" || RULES.iter().any(of)
}

/// What one address came to.
pub(super) fn server(url: String, samples: &[Sample], error: Option<String>) -> Server {
    let last = samples.last().map(|sample| &sample.said);
    let info = last.and_then(|said| said.of("build_info").next());
    let service = info.and_then(|info| info.labels.get("service")).cloned();
    let figures = RULES.iter().filter_map(|rule| {
        let value = value(rule.2, rule.1, samples)? * rule.4;
        Some(Figure {
            name: rule.0.to_owned(),
            value,
            unit: rule.3.to_owned(),
        })
    });
    let through_time = RULES.iter().filter(|rule| THROUGH_TIME.contains(&rule.0));
    let series = through_time.filter_map(|rule| {
        let each = samples.windows(2).filter_map(|pair| {
            let value = value(rule.2, rule.1, pair)? * rule.4;
            Some((pair[1].at.as_secs_f64(), value))
        });
        let points: Vec<_> = each.collect();
        (!points.is_empty()).then(|| Series {
            name: rule.0.split(',').next().unwrap_or(rule.0).to_owned(),
            unit: rule.3.to_owned(),
            points,
        })
    });
    Server {
        service: service.unwrap_or_else(|| url.clone()),
        error: if samples.len() < 2 { error } else { None },
        figures: figures.collect(),
        series: series.collect(),
        url,
    }
}

/// The figure between the first and the last of these.
fn value(made: Made, metric: &str, samples: &[Sample]) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let seconds = (last.at - first.at).as_secs_f64();
    let grown = |name: &str| Some(last.said.sum(name)? - first.said.sum(name).unwrap_or(0.0));
    match made {
        Made::Rate => (seconds > 0.0).then_some(grown(metric)? / seconds),
        Made::Count(label, begins) => {
            let of = |said: &Exposition| matching(said, metric, label, begins);
            last.said.sum(metric)?;
            Some(of(&last.said) - of(&first.said))
        }
        Made::Largest => {
            let values = samples.iter().filter_map(|sample| sample.said.max(metric));
            values.reduce(f64::max)
        }
        Made::Mean => {
            let count = grown(&format!("{metric}_count"))?;
            (count > 0.0).then_some(grown(&format!("{metric}_sum"))? / count)
        }
        Made::Quantile(quantile) => {
            let name = format!("{metric}_bucket");
            let (before, after) = (buckets(&first.said, &name), buckets(&last.said, &name));
            let grown = after.iter().map(|(bound, count)| {
                let before = before.iter().find(|(same, _)| same == bound);
                (*bound, count - before.map_or(0.0, |(_, count)| *count))
            });
            interpolated(quantile, &grown.collect::<Vec<_>>())
        }
        Made::Hits(layer) => {
            let of = |said: &Exposition, hits: bool| {
                let samples = said.of(metric).filter(|sample| {
                    sample
                        .labels
                        .get("layer")
                        .is_some_and(|found| found == layer)
                        && (!hits
                            || sample
                                .labels
                                .get("result")
                                .is_some_and(|found| found == "hit"))
                });
                samples.map(|sample| sample.value).sum::<f64>()
            };
            let asked = of(&last.said, false) - of(&first.said, false);
            let hits = of(&last.said, true) - of(&first.said, true);
            (asked > 0.0).then_some(hits / asked)
        }
    }
}

fn matching(said: &Exposition, metric: &str, label: &str, begins: &str) -> f64 {
    let samples = said.of(metric);
    let matching = samples.filter(|sample| {
        let value = sample.labels.get(label);
        value.is_some_and(|value| value.starts_with(begins))
    });
    matching.map(|sample| sample.value).sum()
}

/// Upper bounds and cumulative counts, rising, over all labels.
fn buckets(said: &Exposition, name: &str) -> Vec<(f64, f64)> {
    let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for sample in said.of(name) {
        let bound = sample.labels.get("le").map(|le| le.parse::<f64>());
        // Bits of positive floats sort as the floats do.
        if let Some(Ok(bound)) = bound.filter(|bound| bound.as_ref().is_ok_and(|le| *le >= 0.0)) {
            sums.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += sample.value;
        }
    }
    sums.into_values().collect()
}

fn interpolated(quantile: f64, buckets: &[(f64, f64)]) -> Option<f64> {
    let total = buckets.last()?.1;
    if total <= 0.0 {
        return None;
    }
    let (wanted, mut below) = (quantile * total, (0.0, 0.0));
    for (bound, count) in buckets {
        if *count >= wanted {
            // Past the last finite bound nothing is known but that bound.
            if bound.is_infinite() || *count <= below.1 {
                return Some(below.0);
            }
            let within = (wanted - below.1) / (count - below.1);
            return Some(below.0 + (bound - below.0) * within);
        }
        below = (*bound, *count);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample(at: u64, text: &str) -> Sample {
        Sample {
            at: Duration::from_secs(at),
            said: Exposition::parse(text, is_shown),
        }
    }

    fn figure(server: &Server, name: &str) -> f64 {
        let figure = server.figures.iter().find(|figure| figure.name == name);
        figure
            .unwrap_or_else(|| panic!("{name} of {server:?}"))
            .value
    }

    #[test]
    fn figures_are_what_grew_between_the_looks() {
        let before = "build_info{service=\"query-api\"} 1\nprocess_cpu_seconds_total 10\n\
            http_requests_total{status=\"200\"} 100\n\
            cache_requests_total{layer=\"l1\",result=\"hit\"} 10\n\
            cache_requests_total{layer=\"l1\",result=\"miss\"} 10\n";
        let after = "build_info{service=\"query-api\"} 1\nprocess_cpu_seconds_total 11\n\
            http_requests_total{status=\"200\"} 300\nhttp_requests_total{status=\"503\"} 4\n\
            cache_requests_total{layer=\"l1\",result=\"hit\"} 40\n\
            cache_requests_total{layer=\"l1\",result=\"miss\"} 20\n";
        let samples = [sample(0, before), sample(2, after)];
        let server = server("http://h/metrics".to_owned(), &samples, None);
        assert_eq!(server.service, "query-api");
        assert!((figure(&server, "processor") - 0.5).abs() < 1e-9);
        let series: Vec<_> = server.series.iter().map(|series| &*series.name).collect();
        assert_eq!(series, ["processor", "requests"]);
        assert!((figure(&server, "requests") - 102.0).abs() < 1e-9);
        assert!((figure(&server, "answers 5xx") - 4.0).abs() < 1e-9);
        assert!((figure(&server, "hits in process") - 0.75).abs() < 1e-9);
        assert!(
            server
                .figures
                .iter()
                .all(|figure| figure.name != "append, mean")
        );
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let buckets = [
            (0.001, 50.0),
            (0.005, 90.0),
            (0.01, 100.0),
            (f64::INFINITY, 100.0),
        ];
        let p50 = interpolated(0.5, &buckets).unwrap();
        let p70 = interpolated(0.7, &buckets).unwrap();
        assert!(
            (p50 - 0.001).abs() < 1e-9 && (p70 - 0.003).abs() < 1e-9,
            "{p50} {p70}"
        );
        assert_eq!(interpolated(0.5, &[(1.0, 0.0), (f64::INFINITY, 0.0)]), None);
        let beyond = [(1.0, 1.0), (f64::INFINITY, 10.0)];
        assert_eq!(interpolated(0.99, &beyond), Some(1.0));
    }

    #[test]
    fn a_server_that_said_nothing_says_why() {
        let server = server(
            "http://h/metrics".to_owned(),
            &[],
            Some("refused".to_owned()),
        );
        assert_eq!(server.error.as_deref(), Some("refused"));
        assert!(server.figures.is_empty());
    }
}
