//! Reports to look at and to test with: a run that passes, one in which everything goes wrong,
//! three seeds, a search, one that ended at once, and a long one.

mod run;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::*;
use run::run;

/// What a hostile or broken server may answer with.
pub(in crate::report) const PLANTED: &str = "</script><img src=x onerror=alert(1)> & \"quoted\"";

/// Every kind with its name.
pub(in crate::report) fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("passing", passing()),
        ("failing", failing()),
        ("seeds", seeds(1.0)),
        ("search", search()),
        ("empty", empty()),
        ("long", long()),
    ]
}

pub(crate) fn passing() -> Report {
    report(vec![run(1, 60, 5_000.0, 2.1)])
}

/// Three runs; times are `factor` times those of `seeds(1.0)`.
pub(in crate::report) fn seeds(factor: f64) -> Report {
    let medians = [2.1, 2.3, 1.9].map(|median| median * factor);
    let runs = (1..).zip(medians);
    report(
        runs.map(|(seed, median)| run(seed, 60, 5_000.0, median))
            .collect(),
    )
}

pub(in crate::report) fn long() -> Report {
    let mut run = run(9, 3_600, 1_200.0, 1.4);
    for second in &mut run.timeline {
        // Every ten minutes something stalls for three seconds.
        if second.at % 600 > 596 {
            second.good /= 8;
            second.errors = 4;
            second.p99 *= 20.0;
            second.max *= 30.0;
        }
    }
    run.errors = run.timeline.iter().map(|second| second.errors).sum();
    run.good = run.attempted - run.errors;
    run.availability = run.good as f64 / run.attempted as f64;
    run.failures = vec![example(
        "timeout",
        run.errors,
        "GET /v1/users/0192a7: nothing for 5 s",
    )];
    report(vec![run])
}

pub(in crate::report) fn search() -> Report {
    let mut report = report(vec![run(1, 30, 4_200.0, 4.2)]);
    let tried = [
        (1_000.0, 8.2),
        (2_000.0, 11.4),
        (4_000.0, 36.0),
        (8_000.0, 1_840.0),
        (6_000.0, 412.0),
        (5_000.0, 131.0),
        (4_500.0, 104.0),
        (4_200.0, 61.0),
    ];
    report.search = tried
        .map(|(rate, p99)| SearchStep {
            rate,
            held: p99 < 100.0,
            proof: rate == 4_200.0,
            p99,
            achieved: if p99 < 1_000.0 { rate } else { 6_320.0 },
            missed: missed_in_search(p99),
        })
        .to_vec();
    report
}

fn missed_in_search(p99: f64) -> Vec<String> {
    match p99 {
        p99 if p99 < 100.0 => vec![],
        p99 if p99 < 1_000.0 => vec!["p99".to_owned()],
        _ => vec![
            "p50".to_owned(),
            "p95".to_owned(),
            "p99".to_owned(),
            "rate".to_owned(),
        ],
    }
}

pub(crate) fn empty() -> Report {
    let mut report = report(vec![]);
    for objective in &mut report.objectives {
        objective.held = false;
    }
    report.verdict = Verdict {
        passed: false,
        reasons: vec!["interrupted before the measured phase".to_owned()],
        interrupted: true,
    };
    report
}

pub(in crate::report) fn failing() -> Report {
    let mut first = run(1, 60, 5_000.0, 31.0);
    first.errors = 4_812;
    first.good = first.attempted - first.errors;
    first.availability = first.good as f64 / first.attempted as f64;
    for second in &mut first.timeline {
        if (30..41).contains(&second.at) {
            second.errors = 120 + u64::from(second.at * 37 % 300);
            second.good = second.good.saturating_sub(second.errors * 9);
            second.max = 5_000.0;
        }
        if second.at == 35 {
            *second = Second {
                at: 35,
                ..Second::default()
            };
        }
    }
    first.violations = vec![
        example(
            "stale read",
            17,
            "user 0192a7 was read at version 3 with a token for version 4",
        ),
        example(
            "duplicate in a list",
            2,
            &format!("a page held {PLANTED} twice"),
        ),
    ];
    first.failures = vec![
        example(
            "timeout",
            3_120,
            "GET /v1/users/0192a7: no answer within 5 s",
        ),
        example("503", 1_652, &format!("POST /v1/users: 503 {PLANTED}")),
        example("connect", 40, "connection refused"),
    ];
    let planted = BTreeMap::from([("200".to_owned(), 88_000), (PLANTED.to_owned(), 40)]);
    first.operations[0].statuses = planted;
    first.operations[0].errors = 1_652;
    first.visibility.not_seen = 31;
    first.servers[1].error = Some("connection refused".to_owned());
    first.servers[1].figures.clear();
    first.servers[1].series.clear();
    let mut second = run(2, 60, 5_000.0, 9.0);
    second.on_time = 0.871;
    second.void = Some("only 87.1 % of the operations began on time".to_owned());
    let [p50, p99] = [first.latency.p50, first.latency.p99].map(units::duration);
    let mut report = report(vec![first, second]);
    report.verdict = Verdict {
        passed: false,
        reasons: vec![
            format!("p50 was {p50}, the limit is 10 ms (seed 1)"),
            format!("p99 was {p99}, the limit is 100 ms (seed 1)"),
            "19 violations (seed 1): stale read, duplicate in a list".to_owned(),
            "the run with seed 2 is void: only 87.1 % of the operations began on time".to_owned(),
        ],
        interrupted: false,
    };
    report
}

fn example(kind: &str, count: u64, example: &str) -> Example {
    Example {
        kind: kind.to_owned(),
        count,
        example: example.to_owned(),
    }
}

fn began() -> DateTime<Utc> {
    DateTime::from_timestamp(1_796_048_712, 0).expect("a time that exists")
}

fn report(runs: Vec<Run>) -> Report {
    let objectives = [
        ("p50", 10.0),
        ("p95", 50.0),
        ("p99", 100.0),
        ("errors", 0.001),
    ];
    let objectives: Vec<_> = objectives
        .map(|(name, limit)| objective(name, limit, &runs))
        .into();
    Report {
        format: FORMAT,
        loadtest_version: "0.1.0".to_owned(),
        started_at: began(),
        command_line: ["loadtest", "run", "mixed", "--rate", "5000", "--seeds", "3"]
            .map(str::to_owned)
            .to_vec(),
        targets: ["8080", "8081"]
            .map(|port| format!("http://127.0.0.1:{port}"))
            .to_vec(),
        machine: Machine {
            cores: 8,
            processor: "AMD EPYC 7763".to_owned(),
            memory_bytes: 33_285_996_544,
            system: "Linux 6.8.0".to_owned(),
        },
        settings: settings(),
        scenario: "mixed".to_owned(),
        scenario_text: SCENARIO.to_owned(),
        verdict: Verdict {
            passed: objectives.iter().all(|objective| objective.held),
            reasons: vec![],
            interrupted: false,
        },
        objectives,
        runs,
        search: vec![],
    }
}

const SCENARIO: &str = "# Nine reads a write.\nname = \"mixed\"\n\n[[operation]]\nkind = \
    \"get_user\"\nweight = 70\nkeys = { zipf = 1.07 }\n\n[[operation]]\nkind = \"list_users\"\n\
    weight = 20\n\n[[operation]]\nkind = \"update_user\"\nweight = 10\n";

fn settings() -> Vec<Setting> {
    let settings = [
        ("rate", "5000/s"),
        ("arrivals", "exponential"),
        ("duration", "60s"),
        ("warm-up", "10s"),
        ("seeds", "1,2,3"),
        ("connections", "256"),
        ("timeout", "5s"),
        ("late-after", "5ms"),
        ("tokens", "tokens.txt (64)"),
        ("tenants", "8"),
    ];
    settings
        .map(|(name, value)| Setting {
            name: name.to_owned(),
            value: value.to_owned(),
        })
        .to_vec()
}

fn objective(name: &str, limit: f64, runs: &[Run]) -> Objective {
    let values: Vec<_> = runs
        .iter()
        .map(|run| match name {
            "p50" => run.latency.p50,
            "p95" => run.latency.p95,
            "p99" => run.latency.p99,
            _ => run.errors as f64 / run.attempted as f64,
        })
        .collect();
    Objective {
        name: name.to_owned(),
        limit,
        held: values.iter().all(|value| *value < limit),
        values,
    }
}
