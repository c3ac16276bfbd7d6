//! Scenarios: what virtual users do, as TOML. A scenario is a number of weighted flows; a flow is
//! a few operations of one virtual user, one after the other.

use std::path::Path;
use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::keys::Keys;
use crate::operations::{self, Operation};

/// Virtual users that a scenario can have.
const USERS_MAX: usize = 1_000_000;
/// Operations of one flow.
const STEPS_MAX: usize = 100;

/// The scenarios that come with the program.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("commands", include_str!("../scenarios/commands.toml")),
    ("reads", include_str!("../scenarios/reads.toml")),
    ("mixed", include_str!("../scenarios/mixed.toml")),
    ("session", include_str!("../scenarios/session.toml")),
];

/// What virtual users do.
#[derive(Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Its TOML.
    pub text: String,
    /// Who there is.
    pub population: Population,
    /// Of the commands, the share that carries an `Idempotency-Key`.
    pub idempotency_keys: f64,
    /// What they do.
    pub flows: Vec<Flow>,
}

/// Who there is before the load begins.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// Virtual users, spread evenly over the tenants of the tokens.
    pub users: usize,
    /// Tenants that the tokens have to cover at least.
    #[serde(default = "one")]
    pub tenants: usize,
    /// Who of them acts next, and whom they read.
    pub keys: Keys,
}

/// Operations of one virtual user, one after the other.
#[derive(Debug)]
pub struct Flow {
    /// How often it is chosen, beside the others' weights.
    pub weight: f64,
    /// What is done.
    pub steps: Vec<&'static dyn Operation>,
    /// The mean pause between two steps; pauses are exponential.
    pub think_time: Duration,
}

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// No such file, and no such name.
    #[error("no scenario {name}: it is neither a file nor one of {}", names())]
    Unknown {
        /// What was asked for.
        name: String,
        /// What reading it as a file came to.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or not these fields.
    #[error("scenario {name}")]
    Toml {
        /// Of which scenario.
        name: String,
        /// Where and what.
        source: toml::de::Error,
    },
    /// A value that cannot be.
    #[error("scenario {name}: {what}")]
    Invalid {
        /// Of which scenario.
        name: String,
        /// What.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Said in the file, for its readers.
    #[serde(rename = "about")]
    _about: String,
    population: Population,
    #[serde(default)]
    idempotency_keys: f64,
    flow: Vec<FlowFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowFile {
    weight: f64,
    steps: Vec<String>,
    #[serde(default)]
    think_time: Option<String>,
}

impl Scenario {
    /// The scenario of that name, or in that file.
    ///
    /// # Errors
    /// [`ScenarioError`].
    pub fn load(name: &str) -> Result<Self, ScenarioError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, text);
        }
        let path = Path::new(name);
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Unknown {
            name: name.to_owned(),
            source,
        })?;
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        Self::parse(&stem.to_string_lossy(), &text)
    }

    /// The scenario that the text describes.
    ///
    /// # Errors
    /// [`ScenarioError`].
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let file: File = toml::from_str(text).map_err(|source| ScenarioError::Toml {
            name: name.to_owned(),
            source,
        })?;
        check(&file)
            .and_then(|()| {
                let flows: Result<_, _> = file.flow.into_iter().map(flow).collect();
                Ok(Self {
                    name: name.to_owned(),
                    text: text.to_owned(),
                    population: file.population,
                    idempotency_keys: file.idempotency_keys,
                    flows: flows?,
                })
            })
            .map_err(|what| ScenarioError::Invalid {
                name: name.to_owned(),
                what,
            })
    }

    /// A flow, by its weight.
    pub fn draw(&self, random: &mut ChaCha8Rng) -> usize {
        let total: f64 = self.flows.iter().map(|flow| flow.weight).sum();
        let mut at = random.random::<f64>() * total;
        for (index, flow) in self.flows.iter().enumerate() {
            at -= flow.weight;
            if at < 0.0 {
                return index;
            }
        }
        self.flows.len() - 1
    }

    /// Requests of a flow, on average.
    #[must_use]
    pub fn requests_mean(&self) -> f64 {
        let total: f64 = self.flows.iter().map(|flow| flow.weight).sum();
        let requests = self.flows.iter().map(|flow| {
            #[expect(clippy::cast_precision_loss, reason = "at most STEPS_MAX")]
            let steps = flow.steps.len() as f64;
            steps * flow.weight
        });
        requests.sum::<f64>() / total
    }

    /// Its operations, each once, in the order of the file.
    #[must_use]
    pub fn operations(&self) -> Vec<&'static dyn Operation> {
        let mut found: Vec<&'static dyn Operation> = Vec::new();
        for step in self.flows.iter().flat_map(|flow| &flow.steps) {
            if found.iter().all(|known| known.name() != step.name()) {
                found.push(*step);
            }
        }
        found
    }
}

fn check(file: &File) -> Result<(), String> {
    let population = &file.population;
    if !(1..=USERS_MAX).contains(&population.users) {
        return Err(format!("population.users is not between 1 and {USERS_MAX}"));
    }
    if !(1..=population.users).contains(&population.tenants) {
        return Err("population.tenants is not between 1 and population.users".to_owned());
    }
    if let Keys::Zipf { exponent } = population.keys
        && !(0.0..=10.0).contains(&exponent)
    {
        return Err("population.keys: exponent is not between 0 and 10".to_owned());
    }
    if !(0.0..=1.0).contains(&file.idempotency_keys) {
        return Err("idempotency_keys is not between 0 and 1".to_owned());
    }
    if file.flow.is_empty() {
        return Err("there is no [[flow]]".to_owned());
    }
    Ok(())
}

fn flow(file: FlowFile) -> Result<Flow, String> {
    if !file.weight.is_finite() || file.weight <= 0.0 {
        return Err(format!("a weight of {} is not above 0", file.weight));
    }
    if !(1..=STEPS_MAX).contains(&file.steps.len()) {
        return Err(format!("a flow has not between 1 and {STEPS_MAX} steps"));
    }
    let steps: Result<_, _> = file.steps.iter().map(|name| step(name)).collect();
    let think_time = file.think_time.as_deref().unwrap_or("0s");
    let think_time = humantime::parse_duration(think_time)
        .map_err(|error| format!("think_time {think_time}: {error}"))?;
    Ok(Flow {
        weight: file.weight,
        steps: steps?,
        think_time,
    })
}

fn step(name: &str) -> Result<&'static dyn Operation, String> {
    operations::named(name).ok_or_else(|| {
        let known: Vec<_> = operations::ALL.iter().map(|known| known.name()).collect();
        format!("no operation {name}; there are {}", known.join(", "))
    })
}

fn names() -> String {
    BUILT_IN.map(|(name, _)| name).join(", ")
}

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    const TEXT: &str = r#"
        about = "two flows"
        [population]
        users = 10
        keys = { distribution = "zipf", exponent = 1.0 }
        [[flow]]
        weight = 3
        steps = ["read"]
        [[flow]]
        weight = 1
        steps = ["update", "read_own"]
        think_time = "20ms"
    "#;

    #[test]
    fn the_built_in_ones_are_scenarios() {
        for (name, text) in BUILT_IN {
            let scenario = Scenario::parse(name, text).unwrap();
            assert!(!scenario.operations().is_empty(), "{name}");
        }
    }

    #[test]
    fn flows_are_drawn_by_their_weights() {
        let scenario = Scenario::parse("two", TEXT).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let first = (0..10_000).filter(|_| scenario.draw(&mut random) == 0);
        let first = first.count();
        assert!((7300..7700).contains(&first), "{first}");
        assert!((scenario.requests_mean() - 1.25).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let cases = [
            (
                "\"read\"",
                "\"reed\"",
                "no operation reed; there are register",
            ),
            ("users = 10", "users = 0", "population.users is not between"),
            ("weight = 3", "weight = -1", "is not above 0"),
            ("\"20ms\"", "\"20\"", "think_time 20"),
            (
                "exponent = 1.0",
                "exponent = -1.0",
                "exponent is not between",
            ),
            ("weight = 3", "wait = 3", "unknown field `wait`"),
        ];
        for (from, to, expected) in cases {
            let error = Scenario::parse("two", &TEXT.replace(from, to)).unwrap_err();
            let said = format!("{:#}", anyhow::Error::from(error));
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_name_that_is_neither_file_nor_built_in_lists_those_that_are() {
        let error = Scenario::load("no/such/file").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("commands, reads, mixed, session"),
            "{error}"
        );
    }
}
