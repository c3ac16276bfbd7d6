//! The event store: append with gapless positions, reading by stream and by cursor, claims, command
//! outcomes, incarnations.

pub mod entry;
