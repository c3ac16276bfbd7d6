//! How far a rebuild is. Positions are dense, so what is left is known exactly.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What a rebuild is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Tables and leases.
    Prepare,
    /// Events are read and folded.
    Build,
    /// Keys and indexes are added.
    Keys,
    /// Rows are compared with what is shown.
    Verify,
    /// The live tail is read, up to proven heads.
    CatchUp,
    /// Another generation is about to be shown.
    Switch,
}

const PHASES: [Phase; 6] = [
    Phase::Prepare,
    Phase::Build,
    Phase::Keys,
    Phase::Verify,
    Phase::CatchUp,
    Phase::Switch,
];

impl Phase {
    /// A word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Build => "build",
            Self::Keys => "keys",
            Self::Verify => "verify",
            Self::CatchUp => "catch up",
            Self::Switch => "switch",
        }
    }
}

/// Counted by the run, looked at by whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    total: AtomicI64,
    done: AtomicI64,
    held_up: AtomicBool,
    entered: Mutex<Vec<(Phase, Instant)>>,
}

impl Progress {
    pub(super) fn begin(&self, total: i64) {
        self.total.store(total, Ordering::Relaxed);
        self.enter(Phase::Build);
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        entered.push((phase, Instant::now()));
    }

    /// The phases that it was in, and how long each took, in seconds.
    pub(super) fn times(&self) -> Vec<(&'static str, f64)> {
        let entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = entered.iter().skip(1).map(|&(_, at)| at);
        let ends = ends.chain([Instant::now()]);
        let times = entered.iter().zip(ends);
        times
            .map(|(&(phase, at), end)| (phase.as_str(), (end - at).as_secs_f64()))
            .collect()
    }

    pub(super) fn add(&self, events: usize) {
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        self.done.fetch_add(events, Ordering::Relaxed);
    }

    /// What was folded in vain is to be read again.
    pub(super) fn take_back(&self, events: i64) {
        self.done.fetch_sub(events, Ordering::Relaxed);
    }

    pub(super) fn set_held_up(&self, held_up: bool) {
        self.held_up.store(held_up, Ordering::Relaxed);
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Ordering::Relaxed))]
    }

    /// Events up to the cut that this run had to read when it began.
    #[must_use]
    pub fn total(&self) -> u64 {
        u64::try_from(self.total.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Events up to the cut that it has folded.
    #[must_use]
    pub fn done(&self) -> u64 {
        let done = u64::try_from(self.done.load(Ordering::Relaxed)).unwrap_or(0);
        done.min(self.total())
    }

    /// Whether it waits for the live projection to be less far behind.
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        self.held_up.load(Ordering::Relaxed)
    }
}
