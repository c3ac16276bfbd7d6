//! Why a rebuild ended without a switch, and what to do next.

use event_store::ReadError;
use event_store::digest::Digest;
use events::Partition;
use read_model::projection::ApplyError;

use super::report::Difference;

/// Why a run failed. There was no switch, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another process rebuilds the projection.
    #[error("{projection} is being rebuilt by another process; its lease lasts until {until}")]
    Busy {
        /// The projection.
        projection: &'static str,
        /// As long as that process does not renew it.
        until: String,
    },
    /// A comparison would take up what a rebuild left.
    #[error(
        "generation {generation} is an unfinished rebuild: finish it with `projector rebuild`, \
         or drop it with `projector gc`"
    )]
    Unfinished {
        /// The generation.
        generation: i32,
    },
    /// The lease ran out before it could be renewed; somebody else may have it.
    #[error("the lease of the rebuild was lost; run it again: what is finished is kept")]
    LeaseLost,
    /// A checkpoint of the new generation was moved or changed by somebody else.
    #[error("partition {partition} of the new generation was moved by somebody else; run it again")]
    Moved {
        /// The partition.
        partition: Partition,
    },
    /// Fewer events came than there are.
    #[error("partition {partition} could be read up to position {position} only; run it again")]
    Truncated {
        /// The partition.
        partition: Partition,
        /// The last position that was read.
        position: i64,
    },
    /// The store began another incarnation meanwhile.
    #[error("the store began another incarnation meanwhile; run it again: it begins anew")]
    Forked,
    /// Something does not add up.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The live checkpoints could not be met, or no moment for the switch was found.
    #[error("gave up after {seconds} s: {what}; run it again: what is finished is kept")]
    Impatient {
        /// How long was tried.
        seconds: u64,
        /// What did not happen.
        what: String,
    },
    /// Another generation is shown than the one that was compared with.
    #[error(
        "another generation of {projection} was shown meanwhile, and what was built was compared \
         with the former one; run it again: what is finished is kept"
    )]
    Overtaken {
        /// The projection.
        projection: &'static str,
    },
    /// The switch was made, and something failed after it.
    #[error("generation {generation} is shown: the switch was made, and something failed after it")]
    Switched {
        /// The generation.
        generation: i32,
        /// What failed.
        source: Box<RebuildError>,
    },
    /// The answer to the switch was lost, and the database could not be asked again.
    #[error(
        "whether generation {generation} is shown is not known: the answer was lost, and the \
         database cannot be asked; `projector status` says it"
    )]
    Unanswered {
        /// The generation.
        generation: i32,
        /// Why it cannot be asked.
        source: sqlx::Error,
    },
    /// The log cannot be read.
    #[error("the event store cannot be read; run it again: what is finished is kept")]
    Read(#[from] ReadError),
    /// The rows could not be written.
    #[error("the rows could not be written; run it again: what is finished is kept")]
    Apply(#[from] ApplyError),
    /// The database failed.
    #[error("the database failed; run it again: what is finished is kept")]
    Database(#[from] sqlx::Error),
}

/// What does not add up.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The events that were read are not those that were appended.
    #[error(
        "partition {partition}: the digest of the events 1 to {position} is {computed}, the append \
         kept {kept}: an event was changed, lost or read twice. `projector store info --check` \
         looks at the log itself; `projector rebuild --restart` reads it anew"
    )]
    Digest {
        /// The partition.
        partition: Partition,
        /// Up to where.
        position: i64,
        /// Of what was read.
        computed: Digest,
        /// In the head.
        kept: Digest,
    },
    /// Applied and parked events are not as many as positions.
    #[error(
        "partition {partition}: {applied} applied and {parked} parked events are not the \
         {position} that it has; `projector rebuild --restart` begins anew"
    )]
    Count {
        /// The partition.
        partition: Partition,
        /// Up to where.
        position: i64,
        /// Applied.
        applied: i64,
        /// Parked.
        parked: i64,
    },
    /// Rows differ from what is shown.
    #[error(
        "rows differ from generation {live}: {}. When the shown rows are wrong, or the fold is \
         new, say so with --allow-differences; generation {generation} is kept until \
         `projector gc`",
        told(differences)
    )]
    Differences {
        /// The generation that is shown.
        live: i32,
        /// The one that was built.
        generation: i32,
        /// What differs and was not allowed to.
        differences: Vec<Difference>,
    },
    /// Keys are parked.
    #[error(
        "{count} events are parked, the first of them at {first} ({reason}): correct the fold and \
         use --restart, or say --allow-parked"
    )]
    Parked {
        /// Events.
        count: i64,
        /// The address of the first.
        first: String,
        /// Why that one is.
        reason: String,
    },
    /// So many keys would be parked that the binary is the suspect.
    #[error(
        "more than {max} keys of partition {partition} would be parked: is this the right binary?"
    )]
    Suspect {
        /// The partition.
        partition: Partition,
        /// The limit.
        max: usize,
    },
}

fn told(differences: &[Difference]) -> String {
    let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
    told.join("; ")
}
