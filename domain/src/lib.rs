//! Aggregates and commands: pure decisions. What happens here depends on the arguments alone; `now`
//! and fresh ids come from the caller and are stored, so a decision can be repeated and tested
//! without a clock, a network or a database.
//!
//! A new command is one file `domain/src/<aggregate>/<verb_noun>.rs` and one line in the
//! aggregate's `commands!` list.

pub mod command;
pub mod user;

pub use command::{Command, Decision, Refusal};
pub use user::{User, UserCommand};
