//! Standard output is these programs' product; what cannot be written ends them.

use std::io::Write as _;

/// Writes a part of the product at once: a run takes minutes, and somebody watches it.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// How busy the machine is with everything that runs on it: the load average of the last minute.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
