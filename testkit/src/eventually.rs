//! The one waiting helper of the tests: ask until it is so, or fail and say where.

use std::fmt::Debug;
use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

/// Asks `probe` every 10 ms until it answers `Ok`, and gives that answer.
///
/// # Panics
/// When `deadline` has passed; the message names the caller and the last answer.
#[track_caller]
pub fn eventually<T, E, Probe, Answer>(
    deadline: Duration,
    mut probe: Probe,
) -> impl Future<Output = T>
where
    E: Debug,
    Probe: FnMut() -> Answer,
    Answer: Future<Output = Result<T, E>>,
{
    let caller = Location::caller();
    async move {
        let begun = Instant::now();
        loop {
            match probe().await {
                Ok(value) => return value,
                Err(last) if begun.elapsed() > deadline => {
                    panic!("{caller}: not so within {deadline:?}; the last answer was {last:?}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}
