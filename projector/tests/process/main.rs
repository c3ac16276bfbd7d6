//! The built binary as a process of the operating system.

mod command_line;
mod kill;
mod world;
