//! A load generator for Runnel, and for whatever answers like it. It is a black box: it knows HTTP
//! and the public API, and no crate of ours.
//!
//! | module | its part |
//! |---|---|
//! | [`scenario`], [`operations`] | what virtual users do, and how answers are judged |
//! | [`crowd`], [`tokens`], [`keys`] | who they are, what they were told, who comes next |
//! | [`graph`] | who follows whom, from a file or a seed |
//! | [`run`], [`arrivals`] | a run: the generator's thread decides when, and nothing else does |
//! | [`recorder`], [`figures`] | what was measured, and the figures of it |
//! | [`search`] | the highest rate that holds |
//! | [`report`] | what people look at |

#![forbid(unsafe_code)]

pub mod arrivals;
pub mod cli;
pub mod client;
pub mod crowd;
pub mod figures;
mod flow;
mod generator;
pub mod graph;
mod invocation;
pub mod keys;
mod machine;
pub mod measured_second;
pub mod micros;
pub mod objectives;
pub mod operations;
pub mod program;
pub mod progress;
pub mod recorder;
pub mod report;
pub mod run;
pub mod scenario;
pub mod search;
mod servers;
pub mod setup;
pub mod tokens;
mod watcher;
