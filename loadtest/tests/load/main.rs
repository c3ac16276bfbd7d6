//! The program, run as users run it, against a server that is right or wrong in one known way.

mod bugs;
mod open_loop;
mod program;
mod server;
