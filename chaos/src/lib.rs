//! Proof by damage: [`history`] is what clients and dumps write down, [`check`] judges it.
//! The program `chaos` adds the runner, which starts everything, damages it and records.

#![forbid(unsafe_code)]

pub mod check;
pub mod history;
