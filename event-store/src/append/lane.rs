//! The loop of one lane: take what has arrived, run it, try again where that can help, answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use events::Partition;
use futures_util::FutureExt;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::batch::{Answer, AttemptError, Judged, Tails};
use super::candidate::Candidate;
use super::connection::LaneConnection;
use super::failure::{Failure, Remedy};
use super::unknown::{self, Resolution};
use super::{AppendSettings, Heads};
use crate::entry::AppendError;
use crate::metrics;
use crate::relay::HotEvents;
use crate::store::EventStore;

/// How often a batch is tried: a failure of the moment gets one more chance, then its clients are
/// told to come back.
const ATTEMPTS_MAX: u32 = 2;

/// How often an idle lane looks at its partitions.
const IDLE_FOLLOW: Duration = Duration::from_millis(250);

/// After a failed connect, entries are refused at once for this long.
const RECONNECT_REST: Duration = Duration::from_millis(250);

/// The most bytes of payloads in one statement; a longer batch is cut.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An entry that waits, and where its verdict goes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) candidate: Candidate,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What a lane is made of.
pub(super) struct LaneSettings {
    pub(super) number: u16,
    pub(super) lanes: u16,
    pub(super) store: EventStore,
    pub(super) options: PgConnectOptions,
    pub(super) append: AppendSettings,
    pub(super) heads: Arc<watch::Sender<Heads>>,
    pub(super) hot: Arc<HotEvents>,
    pub(super) stop: CancellationToken,
}

impl LaneSettings {
    /// The partitions that the lane owns.
    pub(super) fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        let own = |partition: &Partition| partition.0 % self.lanes == self.number;
        self.store.partitions().iter().filter(own)
    }
}

/// Starts the lane's thread; it ends when `stop` is cancelled or the queue is closed, after the
/// last answer.
pub(super) fn start(
    settings: LaneSettings,
    jobs: mpsc::Receiver<Job>,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name(format!("append-{}", settings.number))
        .spawn(move || runtime.block_on(Lane::new(settings).serve(jobs)))
}

struct Lane {
    settings: LaneSettings,
    connection: Option<LaneConnection>,
    tails: Tails,
    connect_after: Instant,
}

/// Why a batch has no answers yet.
enum Unsettled {
    /// One entry's data was refused.
    Halve { sqlstate: String },
    /// The whole batch gets this error.
    Refused(AppendError),
    /// Once more on a new connection.
    Again,
}

impl Lane {
    fn new(settings: LaneSettings) -> Self {
        let tails = Tails::new(&settings);
        Self {
            settings,
            connection: None,
            tails,
            connect_after: Instant::now(),
        }
    }

    async fn serve(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut arrived = Vec::with_capacity(self.settings.append.batch_max);
        let mut stopping = false;
        loop {
            let batch_max = self.settings.append.batch_max;
            tokio::select! {
                biased;
                count = jobs.recv_many(&mut arrived, batch_max) => {
                    if count == 0 {
                        return;
                    }
                    for batch in cut_by_bytes(&mut arrived) {
                        self.run_guarded(batch).await;
                    }
                }
                () = self.settings.stop.cancelled(), if !stopping => {
                    stopping = true;
                    jobs.close();
                }
                () = sleep(IDLE_FOLLOW) => self.follow_idle().await,
            }
        }
    }

    /// A panic is a bug; it costs its batch an unknown outcome, and not the lane.
    async fn run_guarded(&mut self, jobs: Vec<Job>) {
        if AssertUnwindSafe(self.run(jobs))
            .catch_unwind()
            .await
            .is_err()
        {
            alert(
                "lane_panic",
                "a lane panicked; the outcome of its batch is not known",
            );
            self.connection = None;
            self.tails.forget();
        }
    }

    /// Runs a batch; while one entry's data is refused, its halves, the earlier one first.
    async fn run(&mut self, jobs: Vec<Job>) {
        let mut parts = vec![jobs];
        while let Some(mut part) = parts.pop() {
            let candidates: Vec<_> = part.iter().map(|job| &job.candidate).collect();
            match self.settle(&candidates).await {
                Ok(answers) => {
                    part.into_iter()
                        .zip(answers)
                        .for_each(|(job, answer)| job.answer(answer));
                }
                Err(Unsettled::Halve { sqlstate }) if part.len() == 1 => {
                    alert("rejected_entry", "the store refused an entry's data");
                    let rejected = AppendError::Rejected { sqlstate };
                    part.into_iter()
                        .for_each(|job| job.answer(Err(rejected.clone())));
                }
                Err(Unsettled::Halve { .. }) => {
                    let later = part.split_off(part.len() / 2);
                    parts.push(later);
                    parts.push(part);
                }
                Err(Unsettled::Refused(error)) => {
                    part.into_iter()
                        .for_each(|job| job.answer(Err(error.clone())));
                }
                Err(Unsettled::Again) => {
                    part.into_iter()
                        .for_each(|job| job.answer(Err(AppendError::Unavailable)));
                }
            }
        }
    }

    async fn settle(&mut self, candidates: &[&Candidate]) -> Result<Vec<Answer>, Unsettled> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(mut connection) = self.connect().await else {
                return Err(Unsettled::Refused(AppendError::Unavailable));
            };
            let attempt = self
                .tails
                .attempt(&self.settings, &mut connection, candidates)
                .await;
            let unsettled = match attempt {
                Ok(answers) => {
                    self.connection = Some(connection);
                    return Ok(answers);
                }
                Err(AttemptError::Failed(failure)) => self.failed(&failure, connection).await,
                Err(AttemptError::CommitUnknown(judged, failure)) => {
                    drop(connection);
                    match self.resolve(candidates, *judged, &failure).await {
                        Ok(answers) => return Ok(answers),
                        Err(unsettled) => unsettled,
                    }
                }
            };
            if !matches!(unsettled, Unsettled::Again) {
                return Err(unsettled);
            }
        }
        Err(Unsettled::Again)
    }

    /// Nothing was committed: what now? Only a connection whose transaction could be rolled back is
    /// kept.
    async fn failed(&mut self, failure: &Failure, mut connection: LaneConnection) -> Unsettled {
        match failure.remedy() {
            Remedy::Halve { sqlstate } => {
                if connection.rollback().await.is_ok() {
                    self.connection = Some(connection);
                }
                Unsettled::Halve { sqlstate }
            }
            Remedy::Again => {
                tracing::warn!(error = %chain(failure), "a batch failed");
                Unsettled::Again
            }
            Remedy::GiveUp => {
                tracing::error!(error = %chain(failure), "a batch failed for good");
                if failure.is_unique_violation() {
                    alert("unique_violation", "a locked key was written twice: a bug");
                    self.tails.forget();
                }
                if matches!(failure, Failure::TailLost) {
                    alert("tail_lost", "a head is behind what was committed");
                }
                Unsettled::Refused(AppendError::Unavailable)
            }
        }
    }

    async fn resolve(
        &mut self,
        candidates: &[&Candidate],
        judged: Judged,
        failure: &Failure,
    ) -> Result<Vec<Answer>, Unsettled> {
        tracing::warn!(error = %chain(failure), "the answer to a commit was lost");
        match unknown::resolve(&self.settings.options, &judged).await {
            Resolution::Committed(connection) => {
                self.connection = Some(connection);
                Ok(self.tails.enter(&self.settings, candidates, judged))
            }
            Resolution::NotCommitted(connection) => {
                self.connection = Some(connection);
                Err(Unsettled::Again)
            }
            Resolution::Unresolved => {
                alert(
                    "outcome_unknown",
                    "whether a batch was committed could not be learned",
                );
                Err(Unsettled::Refused(AppendError::OutcomeUnknown))
            }
        }
    }

    /// The open connection, or a new one; nothing while the server cannot be reached.
    async fn connect(&mut self) -> Option<LaneConnection> {
        if let Some(open) = self.connection.take() {
            return Some(open);
        }
        if Instant::now() < self.connect_after {
            return None;
        }
        match LaneConnection::open(&self.settings.options).await {
            Ok(open) => Some(open),
            Err(failure) => {
                let lane = self.settings.number;
                tracing::warn!(lane, error = %chain(&failure), "a lane could not connect");
                self.connect_after = Instant::now() + RECONNECT_REST;
                None
            }
        }
    }

    /// Connects when it has no connection, so that after a failover the next incarnation begins
    /// without a write, too.
    async fn follow_idle(&mut self) {
        let Some(mut connection) = self.connect().await else {
            return;
        };
        match self
            .tails
            .follow_idle(&self.settings, &mut connection)
            .await
        {
            Ok(()) => self.connection = Some(connection),
            Err(failure) => {
                tracing::warn!(error = %chain(&failure), "an idle lane could not follow its partitions");
            }
        }
    }
}

impl Job {
    /// The client may be gone; the command has run to its end all the same.
    fn answer(self, answer: Answer) {
        drop(self.answer.send(answer));
    }
}

/// Cuts what arrived where its payloads get too long for one statement.
fn cut_by_bytes(arrived: &mut Vec<Job>) -> Vec<Vec<Job>> {
    let mut batches = Vec::new();
    let mut batch = Vec::with_capacity(arrived.len());
    let mut bytes = 0;
    for job in arrived.drain(..) {
        let more = job.candidate.bytes();
        if bytes + more > BATCH_BYTES_MAX && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += more;
        batch.push(job);
    }
    batches.push(batch);
    batches
}

fn alert(kind: &'static str, message: &'static str) {
    metrics::APPEND_ALERTS.with_label_values(&[kind]).inc();
    tracing::error!(kind, "{message}");
}

/// An error with its causes, for the one place where it is logged. A database's own text may quote
/// a row, so of that only the SQLSTATE is shown.
fn chain(failure: &Failure) -> String {
    match failure {
        Failure::Database(sqlx::Error::Database(error)) => {
            format!("{failure}: SQLSTATE {}", error.code().unwrap_or_default())
        }
        Failure::Database(error) => format!("{failure}: {error}"),
        Failure::Incarnation(error) => format!("{failure}: {error}"),
        _ => failure.to_string(),
    }
}
