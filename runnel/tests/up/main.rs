//! `runnel up` as its users meet it: an OS process of the built binary, signals, files and HTTP.

mod database_url;
mod life;
mod process;
mod refusals;
