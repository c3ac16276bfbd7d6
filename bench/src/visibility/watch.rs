//! When what became visible: by the notification that wakes waiting readers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use events::Address;
use hdrhistogram::Histogram;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

const CHANNEL: &str = "projection_checkpoint";
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Matches acknowledgements with notifications.
#[derive(Clone)]
pub(super) struct Watch {
    inner: Arc<Mutex<Inner>>,
}

/// A minute; what takes longer counts as much. (A histogram without bounds would saturate at its
/// first, small ones.)
const MICROS_MAX: u64 = 60_000_000;

struct Inner {
    /// By partition: the newest position that is visible.
    visible: Vec<i64>,
    /// By partition: what is acknowledged and not visible.
    waiting: Vec<BTreeMap<i64, Instant>>,
    micros: Histogram<u64>,
    /// Visible before the client had its answer.
    early: u64,
}

/// What one measurement came to.
pub(super) struct Measured {
    micros: Histogram<u64>,
    early: u64,
    fed: f64,
}

impl Watch {
    /// Listens from now on.
    pub(super) async fn start(options: PgConnectOptions, partitions: u16) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        let count = usize::from(partitions);
        let watch = Self {
            inner: Arc::new(Mutex::new(Inner {
                visible: vec![0; count],
                waiting: vec![BTreeMap::new(); count],
                micros: Histogram::new_with_bounds(1, MICROS_MAX, 3)?,
                early: 0,
            })),
        };
        let told = watch.clone();
        tokio::spawn(async move {
            // It ends with the connection, and the measurement then does not settle.
            while let Ok(message) = listener.recv().await {
                told.notified(message.payload(), Instant::now());
            }
        });
        Ok(watch)
    }

    /// The client has the answer to the command whose event stands there.
    pub(super) fn acknowledged(&self, address: Address, at: Instant) {
        let mut inner = self.inner();
        let (partition, position) = (address.partition.index(), address.position);
        if position <= inner.visible[partition] {
            inner.early += 1;
            inner.micros.saturating_record(0);
        } else {
            inner.waiting[partition].insert(position, at);
        }
    }

    /// `<projection> <generation> <partition> <position>`, of the only projection.
    fn notified(&self, payload: &str, at: Instant) {
        let mut numbers = payload.split(' ').skip(2);
        let mut next = || numbers.next()?.parse::<i64>().ok();
        let (Some(partition), Some(position)) = (next(), next()) else {
            return;
        };
        let Ok(partition) = usize::try_from(partition) else {
            return;
        };
        let mut inner = self.inner();
        let visible = &mut inner.visible[partition];
        *visible = position.max(*visible);
        let later = inner.waiting[partition].split_off(&(position + 1));
        for (_, acknowledged) in std::mem::replace(&mut inner.waiting[partition], later) {
            let micros = at.saturating_duration_since(acknowledged).as_micros();
            inner
                .micros
                .saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
        }
    }

    /// Waits until everything that was acknowledged is visible.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self
            .inner()
            .waiting
            .iter()
            .any(|waiting| !waiting.is_empty())
        {
            if begun.elapsed() > SETTLED_WITHIN {
                bail!("not everything became visible within {SETTLED_WITHIN:?}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// What was measured so far was the warm-up.
    pub(super) fn forget(&self) {
        let mut inner = self.inner();
        inner.micros.reset();
        inner.early = 0;
    }

    /// The measurement; `fed` events came from the source in question.
    pub(super) fn measured(&self, fed: f64) -> Option<Measured> {
        let inner = self.inner();
        let micros = inner.micros.clone();
        let early = inner.early;
        (!micros.is_empty()).then_some(Measured { micros, early, fed })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Measured {
    /// Milliseconds.
    pub(super) fn percentile(&self, percent: f64) -> f64 {
        milliseconds(self.micros.value_at_percentile(percent))
    }

    /// A line of the table.
    pub(super) fn line(&self, source: &str) -> String {
        format!(
            "{source:<9} {:>12} {:>11.0} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>15}\n",
            self.micros.len(),
            self.fed,
            self.percentile(50.0),
            self.percentile(95.0),
            self.percentile(99.0),
            milliseconds(self.micros.max()),
            self.early,
        )
    }
}

fn milliseconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use events::Partition;

    use super::*;

    fn at(position: i64) -> Address {
        Address {
            partition: Partition(1),
            position,
        }
    }

    #[test]
    fn an_event_is_visible_with_the_first_notification_at_or_above_it_also_before_its_answer() {
        let watch = Watch {
            inner: Arc::new(Mutex::new(Inner {
                visible: vec![0; 2],
                waiting: vec![BTreeMap::new(); 2],
                micros: Histogram::new_with_bounds(1, MICROS_MAX, 3).unwrap(),
                early: 0,
            })),
        };
        let begun = Instant::now();
        watch.acknowledged(at(1), begun);
        watch.acknowledged(at(3), begun);
        watch.notified("user_view 1 1 2", begun + Duration::from_millis(4));
        watch.acknowledged(at(2), begun + Duration::from_millis(5));
        watch.notified("user_view 1 0 9", begun + Duration::from_millis(6));
        assert!(
            watch
                .measured(0.0)
                .is_some_and(|measured| measured.micros.len() == 2)
        );
        watch.notified("user_view 1 1 3", begun + Duration::from_millis(8));
        let measured = watch.measured(0.0).unwrap();
        assert_eq!((measured.micros.len(), measured.early), (3, 1));
        assert!((measured.percentile(100.0) - 8.0).abs() < 0.1);
    }
}
