//! What the command API counts beside the HTTP layer.

use std::sync::LazyLock;

use prometheus::{IntCounterVec, register_int_counter_vec};

/// How a command that was parsed and allowed can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its events are durable.
    Appended,
    /// It changed nothing.
    Unchanged,
    /// A rule forbade it.
    Refused,
    /// Its idempotency key was answered before.
    Replayed,
    /// Its idempotency key belongs to another request, or to one that is still running.
    KeyConflict,
    /// Nothing was done: the store or a queue had no room or no time.
    Unavailable,
    /// Whether it took effect is not known.
    Unknown,
    /// A bug: an event could not be read or written.
    Failed,
}

impl Ending {
    const ALL: [Self; 8] = [
        Self::Appended,
        Self::Unchanged,
        Self::Refused,
        Self::Replayed,
        Self::KeyConflict,
        Self::Unavailable,
        Self::Unknown,
        Self::Failed,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Appended => "appended",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Replayed => "replayed",
            Self::KeyConflict => "key_conflict",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

static COMMANDS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "commands_total",
        "Commands that were parsed and allowed, by how they ended",
        &["command", "outcome"]
    )
    .expect("each metric's name is registered in one place only")
});

/// Makes every counter of a command exist from 0.
pub(crate) fn register(command: &str) {
    for ending in Ending::ALL {
        COMMANDS
            .with_label_values(&[command, ending.label()])
            .inc_by(0);
    }
}

pub(crate) fn count(command: &str, ending: Ending) {
    COMMANDS.with_label_values(&[command, ending.label()]).inc();
}
