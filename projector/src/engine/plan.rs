//! What this engine has been told to do, as of its last look at leases, generations and control
//! rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{IncarnationLog, Partition};
use read_model::projection::Projection;

use super::EngineHealth;
use super::checkpoint::CheckpointKey;
use super::generation::Generations;
use super::lease::Held;

/// A checkpoint to move, and the epoch of the lease that allows it.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    pub(crate) projection: &'static dyn Projection,
    pub(crate) key: CheckpointKey,
    pub(crate) epoch: i64,
}

pub(crate) struct Plan {
    log: Arc<IncarnationLog>,
    held: BTreeMap<&'static str, Held>,
    generations: BTreeMap<&'static str, Generations>,
    paused: BTreeSet<String>,
    /// Where a projection would park too many keys; all of its partitions stop until that is over.
    suspect: BTreeMap<&'static str, BTreeSet<Partition>>,
    /// How many keys are parked at each checkpoint that is fed here.
    parked: BTreeMap<CheckpointKey, usize>,
    attended: Option<Instant>,
}

impl Plan {
    pub(crate) fn new(log: IncarnationLog) -> Self {
        Self {
            log: Arc::new(log),
            held: BTreeMap::new(),
            generations: BTreeMap::new(),
            paused: BTreeSet::new(),
            suspect: BTreeMap::new(),
            parked: BTreeMap::new(),
            attended: None,
        }
    }

    pub(crate) fn log(&self) -> Arc<IncarnationLog> {
        Arc::clone(&self.log)
    }

    pub(crate) fn set_log(&mut self, log: IncarnationLog) {
        self.log = Arc::new(log);
    }

    pub(crate) fn set_paused(&mut self, paused: BTreeSet<String>) {
        self.paused = paused;
    }

    /// Takes what one projection's leases and generations are now; whether anything is different.
    pub(crate) fn set(&mut self, name: &'static str, held: Held, generations: Generations) -> bool {
        let other_leases = self.held.get(name) != Some(&held);
        let other_generations = self.generations.get(name) != Some(&generations);
        if let Some(suspect) = self.suspect.get_mut(name) {
            suspect.retain(|partition| held.contains_key(partition));
        }
        self.parked
            .retain(|key, _| key.projection != name || held.contains_key(&key.partition));
        self.held.insert(name, held);
        self.generations.insert(name, generations);
        other_leases || other_generations
    }

    pub(crate) fn attended(&mut self) {
        self.attended = Some(Instant::now());
    }

    pub(crate) fn held(&self, name: &str) -> Held {
        self.held.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn forget_leases(&mut self) {
        self.held.clear();
    }

    pub(crate) fn holds(&self, name: &str) -> Vec<Partition> {
        self.held(name).into_keys().collect()
    }

    /// Every partition of which something is fed here.
    pub(crate) fn fed(&self) -> BTreeSet<Partition> {
        self.held.values().flat_map(Held::keys).copied().collect()
    }

    /// What is to be done at `partition`.
    pub(crate) fn tasks(
        &self,
        projections: &[&'static dyn Projection],
        partition: Partition,
    ) -> Vec<Task> {
        let mut tasks = Vec::new();
        for &projection in projections {
            let name = projection.name();
            let epoch = self.held.get(name).and_then(|held| held.get(&partition));
            let (Some(&epoch), Some(generations)) = (epoch, self.generations.get(name)) else {
                continue;
            };
            tasks.extend(
                generations
                    .fed_by(projection.revision())
                    .map(|generation| Task {
                        projection,
                        key: CheckpointKey {
                            projection: name,
                            generation: generation.number,
                            partition,
                        },
                        epoch,
                    }),
            );
        }
        tasks
    }

    /// Whether a cursor may work now. The partition that would park too many keys is tried again
    /// now and then: a repair, or its own backoff, may have changed things.
    pub(crate) fn allows(&self, key: CheckpointKey) -> bool {
        let suspect = self.suspect.get(key.projection);
        let stopped = suspect.is_some_and(|at| !at.is_empty() && !at.contains(&key.partition));
        !stopped && !self.paused.contains(key.projection)
    }

    /// Whether generation `key.generation` is the one that readers see.
    pub(crate) fn is_active(&self, key: CheckpointKey) -> bool {
        let generations = self.generations.get(key.projection);
        generations
            .and_then(Generations::active)
            .is_some_and(|active| active.number == key.generation)
    }

    /// Notes whether a cursor would park too many keys.
    pub(crate) fn suspect(&mut self, key: CheckpointKey, suspect: bool) {
        let at = self.suspect.entry(key.projection).or_default();
        if suspect {
            at.insert(key.partition);
        } else {
            at.remove(&key.partition);
        }
    }

    pub(crate) fn parked(&mut self, key: CheckpointKey, keys: usize) {
        self.parked.insert(key, keys);
    }

    /// How many keys of a projection are parked where it is fed here.
    pub(crate) fn parked_keys(&self, name: &str) -> usize {
        let of_name = self.parked.iter().filter(|(key, _)| key.projection == name);
        of_name.map(|(_, keys)| keys).sum()
    }

    pub(crate) fn is_filling(&self, projections: &[&'static dyn Projection]) -> bool {
        projections.iter().any(|projection| {
            let generations = self.generations.get(projection.name());
            generations.is_none_or(|known| {
                known.active().is_none() || known.filling(projection.revision()).is_some()
            })
        })
    }

    pub(crate) fn health(
        &self,
        projections: &[&'static dyn Projection],
        lease: Duration,
    ) -> EngineHealth {
        let names = || projections.iter().map(|projection| projection.name());
        let shown = |name: &&str| {
            let generations = self.generations.get(*name);
            generations.and_then(Generations::active).is_some()
        };
        EngineHealth {
            suspect: names()
                .filter(|name| self.suspect.get(name).is_some_and(|at| !at.is_empty()))
                .collect(),
            filling: names().filter(|name| !shown(name)).collect(),
            paused: names().filter(|name| self.paused.contains(*name)).collect(),
            attending: self.attended.is_some_and(|at| at.elapsed() < lease),
        }
    }
}
