//! Some of the connections, on a thread and a runtime of their own: nothing moves between threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::runtime::Builder;
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::pace::Due;
use super::{Load, Requests};
use crate::gauge::Gauge;

/// How long the last answers may take after the end. A server that is so far behind does not hold
/// the rate.
const DRAIN: Duration = Duration::from_secs(10);

/// When each request is due; the connections take turns.
type Dues = Arc<Mutex<UnboundedReceiver<Due>>>;

/// A thread's part of a measurement.
pub(super) struct Thread {
    number: usize,
    load: Load,
    gauge: Gauge,
}

impl Thread {
    pub(super) fn new(number: usize, load: &Load, gauge: &Gauge) -> Self {
        Self {
            number,
            load: *load,
            gauge: gauge.clone(),
        }
    }

    /// Asks until the gauge stops it, or until there are no more dues.
    pub(super) fn run<R: Requests>(
        self,
        requests: Vec<R>,
        dues: Option<UnboundedReceiver<Due>>,
    ) -> anyhow::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let dues = dues.map(|dues| Arc::new(Mutex::new(dues)));
        let deadline = self.load.warm_up + self.load.time + DRAIN;
        let ended = runtime.block_on(async {
            let mut connections = JoinSet::new();
            for requests in requests {
                let (gauge, load, number) = (self.gauge.clone(), self.load, self.number);
                match dues.clone() {
                    None => connections.spawn(keep_asking(number, load, gauge, requests)),
                    Some(dues) => {
                        connections.spawn(ask_when_due(number, load, gauge, requests, dues))
                    }
                };
            }
            let ended = async {
                while let Some(ended) = connections.join_next().await {
                    ended.context("a connection's task panicked")??;
                }
                anyhow::Ok(())
            };
            tokio::time::timeout(deadline, ended).await
        });
        ended.with_context(|| format!("answers are missing {DRAIN:?} after the end"))?
    }
}

async fn keep_asking<R: Requests>(
    number: usize,
    load: Load,
    gauge: Gauge,
    mut requests: R,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(load.address).await?;
    while gauge.runs() {
        let request = requests.next();
        let begun = Instant::now();
        connection.exchange(request, load.expected).await?;
        gauge.note(number, begun, 1);
    }
    Ok(())
}

async fn ask_when_due<R: Requests>(
    number: usize,
    load: Load,
    gauge: Gauge,
    mut requests: R,
    dues: Dues,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(load.address).await?;
    loop {
        // The lock goes with this statement: another connection waits for the next one.
        let Some(due) = dues.lock().await.recv().await else {
            return Ok(());
        };
        let request = requests.next();
        connection.exchange(request, load.expected).await?;
        if due.counts {
            gauge.note(number, due.at, 1);
        }
    }
}
