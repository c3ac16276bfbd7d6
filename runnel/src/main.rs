//! The all-in-one binary; see the library's `//!` for its parts.

use std::process::ExitCode;

use runnel::cli::{self, Verb};
use runnel::{completions, demo, keys, migrate, token, up};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = match cli::parse_or_exit() {
        Verb::Up(args) => up::run(*args),
        Verb::Migrate(args) => cli::block_on(migrate::run(&args)),
        Verb::Keys(args) => keys::run(&args),
        Verb::Token(args) => token::run(&args),
        Verb::Demo(args) => cli::block_on(demo::run(&args)),
        Verb::Completions(args) => completions::run(&args),
    };
    cli::report(result)
}
