//! A run with every part: latencies, operations, seconds and servers that look like real ones.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, LogNormal};

use super::super::*;
use super::began;

/// A run whose requests take `median` milliseconds in the middle.
pub(in crate::report) fn run(seed: u64, seconds: u32, rate: f64, median: f64) -> Run {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let timeline = timeline(&mut random, seconds, rate, median);
    let attempted: u64 = timeline
        .iter()
        .map(|second| second.good + second.errors)
        .sum();
    let errors = timeline.iter().map(|second| second.errors).sum();
    let good = attempted - errors;
    let kinds = [
        ("get_user", 0.7, 0.9),
        ("list_users", 0.2, 1.6),
        ("update_user", 0.1, 3.1),
    ];
    Run {
        seed,
        started_at: began() + TimeDelta::seconds(10),
        seconds: f64::from(seconds),
        target_rate: Some(rate),
        due: attempted,
        server_errors: 0,
        attempted,
        good,
        errors,
        achieved_rate: good as f64 / f64::from(seconds),
        availability: good as f64 / attempted as f64,
        on_time: 0.9994,
        void: None,
        waited_for_connection: 0.0021,
        latency: latency(&mut random, attempted, median),
        operations: kinds
            .map(|(name, share, slower)| {
                let requests = (attempted as f64 * share) as u64;
                operation(
                    name,
                    requests,
                    latency(&mut random, requests, median * slower),
                )
            })
            .to_vec(),
        violations: vec![],
        failures: vec![],
        visibility: Visibility {
            lag: latency(&mut random, attempted / 100, 3.0),
            not_seen: 0,
            looks: attempted / 20,
        },
        timeline,
        servers: servers(seconds, rate),
    }
}

fn operation(name: &str, requests: u64, latency: Latency) -> Operation {
    let status = if name == "update_user" { "204" } else { "200" };
    Operation {
        name: name.to_owned(),
        attempted: requests,
        errors: 0,
        statuses: BTreeMap::from([
            (status.to_owned(), requests - requests / 9),
            ("304".to_owned(), requests / 9),
        ]),
        latency,
    }
}

fn timeline(random: &mut ChaCha8Rng, seconds: u32, rate: f64, median: f64) -> Vec<Second> {
    let wobble = LogNormal::<f64>::new(0.0, 0.1).expect("a spread that exists");
    let tail = LogNormal::<f64>::new(0.0, 0.35).expect("a spread that exists");
    (0..seconds)
        .map(|at| {
            let p99 = median * 9.0 * tail.sample(random);
            Second {
                at,
                good: (rate * wobble.sample(random).powf(0.15)) as u64,
                errors: 0,
                p50: median * wobble.sample(random),
                p99,
                max: p99 * (1.5 + tail.sample(random)),
            }
        })
        .collect()
}

/// Log-logistic, because its quantiles have a closed form.
fn latency(random: &mut ChaCha8Rng, count: u64, median: f64) -> Latency {
    let wobble = LogNormal::<f64>::new(0.0, 0.05).expect("a spread that exists");
    let tail = 0.4 * wobble.sample(random);
    let last = 1.0 - 1.0 / (count.max(2) as f64);
    let at = |quantile: f64| {
        let quantile = quantile.clamp(0.001, last);
        let value = median * (quantile / (1.0 - quantile)).powf(tail);
        (value * 1_000.0).round() / 1_000.0
    };
    // Ten points for each halving of what is left, as an HDR histogram iterates.
    let steps = (0..170).map(|step| 1.0 - 0.5_f64.powf(f64::from(step) / 10.0));
    let mut curve: Vec<_> = steps
        .filter(|quantile| *quantile < last)
        .map(|quantile| (quantile * 100.0, at(quantile)))
        .collect();
    curve.push((100.0, at(1.0)));
    Latency {
        count,
        mean: median * 1.4,
        p50: at(0.5),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        curve,
    }
}

fn servers(seconds: u32, rate: f64) -> Vec<Server> {
    [("query-api", 8081, 0.9), ("command-api", 8080, 0.1)]
        .map(|(service, port, share)| Server {
            url: format!("http://127.0.0.1:{port}/metrics"),
            service: service.to_owned(),
            error: None,
            figures: [
                ("requests", rate * share, "/s"),
                ("processor", 1.42 * share, "cores"),
                ("memory, at most", 2.1e8, "bytes"),
                ("answers from memory", 0.931, "share"),
                ("p99 as the server saw it", 4.2, "ms"),
                ("garbage swept", 1_204.0, ""),
            ]
            .map(|(name, value, unit)| Figure {
                name: name.to_owned(),
                value,
                unit: unit.to_owned(),
            })
            .to_vec(),
            series: [("processor", "cores", 1.4), ("memory", "bytes", 2e8)]
                .map(|(name, unit, level)| Series {
                    name: name.to_owned(),
                    unit: unit.to_owned(),
                    points: (0..seconds)
                        .map(|at| (f64::from(at), level * (1.0 + f64::from(at * 7 % 13) / 40.0)))
                        .collect(),
                })
                .to_vec(),
        })
        .to_vec()
}
