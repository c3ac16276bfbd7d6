//! Standard output of a command line, whose reader may have had enough: `| head` is no failure.

use std::io::{ErrorKind, Write as _};

/// Why a text was not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Nobody reads on; the program ends quietly, and well.
    #[error("nobody reads standard output any more")]
    Closed,
    /// It failed in another way, such as on a full disk.
    #[error("standard output cannot be written")]
    Failed(#[source] std::io::Error),
}

impl From<std::io::Error> for OutputError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}

/// Writes a text to standard output, as it is.
///
/// # Errors
/// [`OutputError`].
pub fn write(text: &[u8]) -> Result<(), OutputError> {
    let mut output = std::io::stdout().lock();
    output.write_all(text)?;
    output.flush()?;
    Ok(())
}
