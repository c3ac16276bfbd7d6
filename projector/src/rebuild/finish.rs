//! The switch of a rebuild: its own generation is kept at the heads until it is shown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Run;
use super::error::{RebuildError, Refusal};
use super::follow::Follower;
use super::verify::is_lock_timeout;
use crate::engine::switch::{BEGIN_SWITCH, Switch};

/// How long to let readers and daemons go on before it is tried again.
const AGAIN_WAIT: Duration = Duration::from_millis(50);

const READ_INCARNATION: &str = "select max(number) from event_store.incarnation";

/// A first fill that daemons have begun is of no more use, and `gc` drops it.
const VOID_FILLS: &str = "
update projection.generation
set state = 'void'
where projection = $1 and state = 'filling' and revision <= $2";

/// The tail may have brought some since they were counted.
const FIND_PARKED: &str = "
select count(*) over (), concat_ws(':', partition, position), reason
from projection.parked
where projection = $1 and generation = $2 and discarded_at is null
order by partition, position
limit 1";

impl Run<'_> {
    /// Switches, while the followers keep the new generation at the heads.
    pub(super) async fn switch(&self, followers: Vec<Follower<'_>>) -> Result<(), RebuildError> {
        let done = AtomicBool::new(false);
        let switching = async {
            let switched = self.try_switch().await;
            done.store(true, Ordering::Relaxed);
            switched
        };
        tokio::try_join!(switching, self.follow(followers, &done)).map(|_| ())
    }

    async fn try_switch(&self) -> Result<(), RebuildError> {
        let begun = Instant::now();
        while !self.attempt().await? {
            let patience = self.rebuild.settings.patience;
            if begun.elapsed() > patience {
                return Err(RebuildError::Impatient {
                    seconds: patience.as_secs(),
                    what: "no moment was found at which the new generation was as far as what is \
                           shown and no reader held the view; or another generation was shown \
                           meanwhile"
                        .to_owned(),
                });
            }
            tokio::time::sleep(AGAIN_WAIT).await;
        }
        Ok(())
    }

    /// One try; whether it was made.
    async fn attempt(&self) -> Result<bool, RebuildError> {
        let rebuild = self.rebuild;
        let tables = rebuild.projection.tables();
        let switch = Switch {
            projection: rebuild.projection.name(),
            tables: &tables,
            shown: self.ground.live.map(|live| live.number),
            next: self.ground.generation,
        };
        let mut transaction = rebuild.pool.begin_with(BEGIN_SWITCH).await?;
        self.lease.lock(&mut transaction).await?;
        let incarnation: i32 = sqlx::query_scalar(READ_INCARNATION)
            .fetch_one(&mut *transaction)
            .await?;
        if self.cut.iter().any(|head| head.incarnation != incarnation) {
            return Err(RebuildError::Forked);
        }
        let made = match switch.make(&mut transaction).await {
            Err(error) if is_lock_timeout(&error) => false,
            made => made?,
        };
        if !made {
            transaction.rollback().await?;
            return Ok(false);
        }
        if !rebuild.allowed.parked {
            let parked: Option<(i64, String, String)> = sqlx::query_as(FIND_PARKED)
                .bind(switch.projection)
                .bind(switch.next)
                .fetch_optional(&mut *transaction)
                .await?;
            if let Some((count, first, reason)) = parked {
                let refusal = Refusal::Parked {
                    count,
                    first,
                    reason,
                };
                return Err(refusal.into());
            }
        }
        sqlx::query(VOID_FILLS)
            .bind(switch.projection)
            .bind(rebuild.projection.revision())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        switch.tell();
        Ok(true)
    }
}
