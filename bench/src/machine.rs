//! What the figures were measured on. A figure without it says nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use sqlx::PgConnection;

/// Settings of the server that decide what an append costs.
const SETTINGS: [&str; 11] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "wal_compression",
    "data_checksums",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "autovacuum",
    "shared_preload_libraries",
];

const READ_SETTING: &str = "select current_setting($1)";

/// Memory of the machine.
pub(crate) fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    kib.unwrap_or(1_u64 << 20) << 10
}

/// Free bytes on the disk of a folder.
///
/// # Errors
/// When `df` does not say.
pub(crate) fn free_bytes(folder: &Path) -> anyhow::Result<u64> {
    let text = said("df", &["--output=avail", "-B1", &folder.to_string_lossy()]);
    let last = text.lines().last().context("df said nothing")?;
    last.trim().parse().context("df said no number")
}

/// Machine, server and settings, a line each.
///
/// # Errors
/// When the server does not answer.
pub(crate) async fn describe(
    connection: &mut PgConnection,
    folder: &Path,
) -> anyhow::Result<String> {
    let version: String = sqlx::query_scalar("select version()")
        .fetch_one(&mut *connection)
        .await?;
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism()?;
    let gib = memory_bytes() >> 30;
    let mut settings = Vec::new();
    for name in SETTINGS {
        let value: String = sqlx::query_scalar(READ_SETTING)
            .bind(name)
            .fetch_one(&mut *connection)
            .await?;
        settings.push(format!("{name}={value}"));
    }
    Ok(format!(
        "machine   {cores} cores ({}), {gib} GiB, Linux {}, data on {}, {}\n\
         server    {version}\n\
         settings  {}\n",
        model.unwrap_or("unknown"),
        said("uname", &["-r"]),
        said("stat", &["-f", "-c", "%T", &folder.to_string_lossy()]),
        said("date", &["-u", "+%FT%RZ"]),
        settings.join(" "),
    ))
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

const MIB: u64 = 1 << 20;

/// As `runnel up` sets its own server; pg_stat_statements costs a little.
pub(crate) fn server_settings(statements: bool) -> String {
    let shared_buffers = (memory_bytes() / 8 / MIB).clamp(64, 1024);
    let preload = if statements { "pg_stat_statements" } else { "" };
    format!("shared_buffers = {shared_buffers}MB\nshared_preload_libraries = '{preload}'")
}
