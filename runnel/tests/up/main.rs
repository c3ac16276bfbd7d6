//! `runnel up` as its users meet it: an OS process of the built binary, signals, files and HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod database_url;
mod life;
mod process;
mod refusals;
