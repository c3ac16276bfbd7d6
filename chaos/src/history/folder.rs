//! The folder of a history: appended to line by line, written as dumps, read back as a whole.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Fault, History, Operation, Seen};

/// Why a history cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The file system refuses.
    #[error("{path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is none.
    #[error("{path}:{line}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A folder with a history in it.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The history in this folder.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file of it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn dump<L: Serialize>(&self, name: &str, lines: &[L]) -> Result<(), RecorderError> {
        let path = self.file(name);
        let write = || -> io::Result<()> {
            let mut file = BufWriter::new(File::create(&path)?);
            for line in lines {
                serde_json::to_writer(&mut file, line)?;
                file.write_all(b"\n")?;
            }
            file.flush()
        };
        write().map_err(|source| RecorderError::File { path, source })
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, history: &History) -> Result<(), RecorderError> {
        self.dump("scene", std::slice::from_ref(&history.scene))?;
        self.dump("operations", &history.operations)?;
        self.dump("faults", &history.faults)?;
        self.dump("seen", &history.seen)?;
        self.dump("incarnations", &history.incarnations)?;
        self.dump("heads", &history.heads)?;
        self.dump("events", &history.events)?;
        self.dump("kafka", &history.kafka)?;
        self.dump("rows", &history.rows)?;
        self.dump("checkpoints", &history.checkpoints)?;
        self.dump("cached", &history.cached)
    }

    /// Reads all of it. A file that is not there is empty: the checker says what it misses.
    ///
    /// # Errors
    /// [`RecorderError`].
    pub fn read(&self) -> Result<History, RecorderError> {
        let scene = self.lines("scene")?.pop().unwrap_or_default();
        Ok(History {
            scene,
            operations: self.lines("operations")?,
            faults: self.lines("faults")?,
            seen: self.lines("seen")?,
            incarnations: self.lines("incarnations")?,
            heads: self.lines("heads")?,
            events: self.lines("events")?,
            kafka: self.lines("kafka")?,
            rows: self.lines("rows")?,
            checkpoints: self.lines("checkpoints")?,
            cached: self.lines("cached")?,
        })
    }

    fn lines<L: DeserializeOwned>(&self, name: &str) -> Result<Vec<L>, RecorderError> {
        let path = self.file(name);
        let failed = |source| RecorderError::File {
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(failed(error)),
        };
        let mut lines = vec![];
        for (number, line) in (1..).zip(file.lines()) {
            let line = serde_json::from_str(&line.map_err(failed)?);
            lines.push(line.map_err(|source| RecorderError::Line {
                path: path.clone(),
                line: number,
                source,
            })?);
        }
        Ok(lines)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.jsonl"))
    }
}

/// What is written while the system runs; shared by all clients.
#[derive(Clone, Debug)]
pub struct Recorder {
    begun: Instant,
    operations: Arc<Mutex<File>>,
    faults: Arc<Mutex<File>>,
    seen: Arc<Mutex<File>>,
}

impl Recorder {
    /// Begins a history in a folder that is there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin(folder: &Folder) -> Result<Self, RecorderError> {
        let open = |name| {
            let path = folder.file(name);
            let file = OpenOptions::new().create(true).append(true).open(&path);
            let file = file.map_err(|source| RecorderError::File { path, source })?;
            Ok(Arc::new(Mutex::new(file)))
        };
        Ok(Self {
            begun: Instant::now(),
            operations: open("operations")?,
            faults: open("faults")?,
            seen: open("seen")?,
        })
    }

    /// Microseconds since the history began.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A request and what became of it.
    ///
    /// # Panics
    /// When the disk refuses: a history with holes must not be judged.
    pub fn operation(&self, operation: &Operation) {
        append(&self.operations, std::slice::from_ref(operation));
    }

    /// A fault that is over.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn fault(&self, fault: &Fault) {
        append(&self.faults, std::slice::from_ref(fault));
    }

    /// What a tailing reader met.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn seen(&self, seen: &[Seen]) {
        append(&self.seen, seen);
    }
}

/// In one write, so that another's line never comes between.
fn append<L: Serialize>(file: &Mutex<File>, lines: &[L]) {
    let mut text = vec![];
    for line in lines {
        serde_json::to_writer(&mut text, line).expect("a line is JSON");
        text.push(b'\n');
    }
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.write_all(&text)
        .expect("a disk that takes the history");
}
