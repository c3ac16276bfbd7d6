//! Writes log lines on a thread of its own, many at a time: a system call per request would cost
//! a cached read a good part of its speed.
//!
//! The buffer is bounded (4 MiB). When it is full, whoever logs waits: a log that drops lines is
//! silent exactly when it is needed.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long the thread waits for more once there is a line: waking it for each line would cost
/// those who log a system call each.
const GATHER: Duration = Duration::from_millis(1);
/// Bytes waiting to be written at most.
const BUFFER_MAX: usize = 4 << 20;

/// Starts the writing thread, which lives as long as the process, and waits for it.
pub(super) struct LineWriter {
    shared: Arc<Shared>,
}

/// Where lines go.
#[derive(Clone)]
pub(super) struct LineSink {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something is there to write.
    filled: Condvar,
    /// What was there is written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    /// Bytes are on their way to the output.
    writing: bool,
    /// The thread waits for bytes; nobody else needs to be woken.
    sleeping: bool,
}

impl LineWriter {
    pub(super) fn start(output: impl Write + Send + 'static) -> std::io::Result<LineWriter> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || of_thread.write_to(output))?;
        Ok(LineWriter { shared })
    }

    pub(super) fn sink(&self) -> LineSink {
        LineSink {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Waits until every line is written.
    pub(super) fn flush(&self) {
        let state = self.shared.lock();
        let busy = |state: &mut State| state.writing || !state.buffer.is_empty();
        drop(self.shared.written.wait_while(state, busy));
    }
}

impl LineSink {
    /// Takes a line, with its line end.
    pub(super) fn write(&self, line: &[u8]) {
        let shared = &*self.shared;
        let full = |state: &mut State| state.buffer.len() >= BUFFER_MAX;
        let state = shared.written.wait_while(shared.lock(), full);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.buffer.extend_from_slice(line);
        if state.sleeping {
            shared.filled.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut output: impl Write) {
        let mut lines = Vec::new();
        loop {
            self.take(&mut lines);
            // A closed standard output is no reason to stop serving; nobody is left to tell.
            let _ = output.write_all(&lines).and_then(|()| output.flush());
            lines.clear();
            self.lock().writing = false;
            self.written.notify_all();
        }
    }

    /// Waits for bytes, gathers more of them, and swaps them for an empty buffer.
    fn take(&self, lines: &mut Vec<u8>) {
        let mut state = self.lock();
        state.sleeping = true;
        let empty = |state: &mut State| state.buffer.is_empty();
        let waited = self.filled.wait_while(state, empty);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        state.sleeping = false;
        drop(state);
        thread::sleep(GATHER);
        let mut state = self.lock();
        std::mem::swap(&mut state.buffer, lines);
        state.writing = true;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Output(mpsc::Sender<Vec<u8>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_of_every_thread_is_written_whole_before_flush_returns() {
        let (sender, written) = mpsc::channel();
        let writer = LineWriter::start(Output(sender)).unwrap();
        thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let sink = writer.sink();
                scope.spawn(move || {
                    for i in 0..1_000 {
                        sink.write(format!("{name}{i:0>200}\n").as_bytes());
                    }
                });
            }
        });
        writer.flush();
        let bytes: Vec<u8> = written.try_iter().flatten().collect();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 4_000);
        assert!(text.lines().all(|line| line.len() == 201));
    }
}
