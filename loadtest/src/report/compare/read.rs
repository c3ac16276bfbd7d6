//! A report from its file, or which of the ways it is none.

use std::path::{Path, PathBuf};

use super::super::{FORMAT, Report};

/// Why a file is no report that can be compared.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no JSON: perhaps `report.html` instead of `report.json`.
    #[error("{path} is not JSON (`loadtest compare` reads report.json)")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it is none.
        #[source]
        source: serde_json::Error,
    },
    /// It was written by a program with another form.
    #[error("{path} has format {found}, this loadtest reads {FORMAT}: use the one that wrote it")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its `format`.
        found: u64,
    },
    /// It is JSON, but nothing that says `format`.
    #[error("{path} is not a report of loadtest: it has no `format`")]
    NoReport {
        /// The file.
        path: PathBuf,
    },
    /// It says the right `format`, and is not of that form.
    #[error("{path} is not a whole report of loadtest")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads `report.json`.
///
/// # Errors
///
/// When the file cannot be read or is no report of [`FORMAT`].
pub fn read(path: &Path) -> Result<Report, ReadError> {
    let inside = path.join("report.json");
    let path = if path.is_dir() { &inside } else { path };
    let owned = || path.to_owned();
    let text = std::fs::read(path).map_err(|source| ReadError::File {
        path: owned(),
        source,
    })?;
    let value: serde_json::Value =
        serde_json::from_slice(&text).map_err(|source| ReadError::Json {
            path: owned(),
            source,
        })?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        None => Err(ReadError::NoReport { path: owned() }),
        Some(found) if found != u64::from(FORMAT) => Err(ReadError::Format {
            path: owned(),
            found,
        }),
        Some(_) => serde_json::from_value(value).map_err(|source| ReadError::Broken {
            path: owned(),
            source,
        }),
    }
}
