//! The contract between projector and query-api: each view's rows, projection, reads, cache keys
//! and policy, one file a view.

pub mod applied;
pub mod cache;
pub mod checkpoint;
pub mod projection;
pub mod user_view;

pub use applied::Applied;
pub use projection::{ApplyError, BulkFold, Effects, Projection, Target, Touched, Written};

/// Every projection: one line each.
pub const PROJECTIONS: &[&'static dyn Projection] = &[&user_view::UserView];

/// The projection of that name.
#[must_use]
pub fn projection(name: &str) -> Option<&'static dyn Projection> {
    PROJECTIONS.iter().copied().find(|one| one.name() == name)
}
