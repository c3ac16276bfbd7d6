//! A lean HTTP/1.1 client over loopback, so that the server is what is measured: connections that
//! stay open, requests made beforehand, answers framed by their length, few threads. Any status but
//! the expected one fails the run.
//!
//! Closed: so many connections, each of which asks again when it is answered; the rate is the
//! result. At a rate: an open loop, in which a request counts from the moment when it was due,
//! whether or not a connection was free for it; the latency is the result.
//!
//! | module | its part |
//! |---|---|
//! | [`answer`] | where an answer ends and what its status is |
//! | [`connection`] | one request after the other |
//! | [`thread`] | some of the connections |
//! | [`pace`] | when requests are due |
//! | [`measured`], [`report`] | what came out, with the processor time of everybody |

mod answer;
mod connection;
mod measured;
mod pace;
pub(crate) mod report;
#[cfg(test)]
mod tests;
mod thread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

pub(crate) use self::connection::{Answer, fetch};
pub(crate) use self::measured::{Measured, Watched};

use self::connection::Connection;
use self::pace::Pace;
use self::thread::Thread;
use crate::gauge::{Gauge, pause};

/// A thread of ours does the work of several cores of a server.
const CORES_A_THREAD: usize = 4;

/// For all requests before a measurement together.
const EACH_WITHIN: Duration = Duration::from_secs(300);

/// What a connection asks.
pub(crate) trait Requests: Send + 'static {
    /// The whole next request, head and body.
    fn next(&mut self) -> &[u8];
}

/// How one contender is asked, once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The only status that is right.
    pub(crate) expected: u16,
    pub(crate) connections: usize,
    /// What does not count, before what does.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// As many requests as the connections get answered.
///
/// # Errors
/// Of a connection, of a status, of /proc.
pub(crate) async fn closed<R: Requests>(
    load: &Load,
    watched: &Watched<'_>,
    requests: impl Fn(usize) -> R,
) -> anyhow::Result<Measured> {
    let gauge = Gauge::new();
    let _stops = StopOnDrop(gauge.clone());
    let mut threads = JoinSet::new();
    for (number, requests) in shared_out(load.connections, requests) {
        let thread = Thread::new(number, load, &gauge);
        threads.spawn_blocking(move || thread.run(requests, None));
    }
    pause(&mut threads, load.warm_up).await?;
    let before = watched.read()?;
    gauge.measure();
    let begun = Instant::now();
    pause(&mut threads, load.time).await?;
    gauge.stop();
    let elapsed = begun.elapsed();
    let cpu = watched.read()?.since(before);
    all(&mut threads).await?;
    Measured::new(&gauge, elapsed, cpu, 0.0)
}

/// So many requests a second, whether they are answered or not.
///
/// # Errors
/// As [`closed`]; also when the last answers do not come in time: then the rate does not hold.
pub(crate) async fn at_rate<R: Requests>(
    load: &Load,
    rate: f64,
    watched: &Watched<'_>,
    requests: impl Fn(usize) -> R,
) -> anyhow::Result<Measured> {
    let gauge = Gauge::new();
    let _stops = StopOnDrop(gauge.clone());
    // Which requests count is decided when they are due.
    gauge.measure();
    let (mut threads, mut paces) = (JoinSet::new(), JoinSet::new());
    let shares = shared_out(load.connections, requests);
    let pace = Pace::new(rate, shares.len(), load);
    for (number, requests) in shares {
        let (sender, dues) = mpsc::unbounded_channel();
        let (pace, running) = (pace.of_thread(number), gauge.clone());
        paces.spawn_blocking(move || pace.keep(&running, &sender));
        let thread = Thread::new(number, load, &gauge);
        threads.spawn_blocking(move || thread.run(requests, Some(dues)));
    }
    pause(&mut threads, load.warm_up).await?;
    let before = watched.read()?;
    pause(&mut threads, load.time).await?;
    let cpu = watched.read()?.since(before);
    all(&mut threads).await?;
    let kept = paces.join_all().await;
    let late = kept.iter().copied().fold(0.0, f64::max);
    Measured::new(&gauge, load.time, cpu, late)
}

/// Each of these requests once, over so many connections, and again when it is answered 503; for
/// what must be there before a measurement.
///
/// # Errors
/// Of a connection or of a status.
pub(crate) async fn each(
    load: &Load,
    requests: impl IntoIterator<Item = Vec<u8>>,
) -> anyhow::Result<()> {
    let (sender, receiver) = mpsc::unbounded_channel::<Vec<u8>>();
    for request in requests {
        sender.send(request)?;
    }
    drop(sender);
    let receiver = Arc::new(Mutex::new(receiver));
    let mut connections = JoinSet::new();
    for _ in 0..load.connections {
        let (load, receiver) = (*load, Arc::clone(&receiver));
        connections.spawn(async move {
            let mut connection = Connection::open(load.address).await?;
            while let Some(request) = next(&receiver).await {
                connection.insist(&request, load.expected).await?;
            }
            Ok(())
        });
    }
    tokio::time::timeout(EACH_WITHIN, all(&mut connections))
        .await
        .context("the requests before the measurement take too long")?
}

async fn next(requests: &Mutex<UnboundedReceiver<Vec<u8>>>) -> Option<Vec<u8>> {
    requests.lock().await.recv().await
}

/// The requests of each connection, by threads.
fn shared_out<R>(connections: usize, requests: impl Fn(usize) -> R) -> Vec<(usize, Vec<R>)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / CORES_A_THREAD).clamp(1, connections.max(1));
    let of = |thread| (thread..connections).step_by(threads).map(&requests);
    (0..threads)
        .map(|thread| (thread, of(thread).collect()))
        .collect()
}

async fn all(threads: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = threads.join_next().await {
        ended.context("a client's thread panicked")??;
    }
    Ok(())
}

/// A run that is given up must not leave threads behind that ask for ever.
struct StopOnDrop(Gauge);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
