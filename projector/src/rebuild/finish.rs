//! The switch of a rebuild: its own generation is kept at the heads until it is shown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use super::error::{RebuildError, Refusal};
use super::follow::Follower;
use super::verify::is_lock_timeout;
use super::{Rebuild, Run};
use crate::engine::switch::{BEGIN_SWITCH, Made, Switch};

/// How long to let readers and daemons go on before it is tried again.
const AGAIN_WAIT: Duration = Duration::from_millis(50);

/// How long the database is asked whether a switch was made whose answer was lost.
const ASK_MAX: Duration = Duration::from_secs(10);

/// Waits for a switch that is still on its way, which holds the row; the server ends it in time.
const READ_IS_SHOWN: &str = "
select state = 'active'
from projection.generation
where projection = $1 and generation = $2
for share";

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
        loop {
            match self.attempt().await? {
                Made::Yes => return Ok(()),
                Made::Overtaken => {
                    let projection = self.rebuild.projection.name();
                    return Err(RebuildError::Overtaken { projection });
                }
                Made::NotYet => {}
            }
            let patience = self.rebuild.settings.patience;
            if begun.elapsed() > patience {
                return Err(RebuildError::Impatient {
                    seconds: patience.as_secs(),
                    what: "no moment was found at which the new generation was as far as what is \
                           shown and no reader held the view"
                        .to_owned(),
                });
            }
            tokio::time::sleep(AGAIN_WAIT).await;
        }
    }

    /// One try, committed when it was made.
    async fn attempt(&self) -> Result<Made, RebuildError> {
        let rebuild = self.rebuild;
        let tables = rebuild.projection.tables();
        let switch = Switch {
            projection: rebuild.projection.name(),
            tables: &tables,
            shown: self.ground.live.map(|live| live.number),
            next: self.ground.generation,
            proven: Some(&self.proven),
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
            Err(error) if is_lock_timeout(&error) => Made::NotYet,
            made => made?,
        };
        if made != Made::Yes {
            transaction.rollback().await?;
            return Ok(made);
        }
        if !rebuild.allowed.parked {
            self.find_parked(&mut transaction).await?;
        }
        sqlx::query(VOID_FILLS)
            .bind(switch.projection)
            .bind(rebuild.projection.revision())
            .execute(&mut *transaction)
            .await?;
        rebuild.switching.store(switch.next, Ordering::Relaxed);
        if let Err(error) = transaction.commit().await
            && !rebuild.is_shown(switch.next).await?
        {
            return Err(error.into());
        }
        switch.tell();
        Ok(Made::Yes)
    }

    async fn find_parked(&self, connection: &mut PgConnection) -> Result<(), RebuildError> {
        let parked: Option<(i64, String, String)> = sqlx::query_as(FIND_PARKED)
            .bind(self.rebuild.projection.name())
            .bind(self.ground.generation)
            .fetch_optional(connection)
            .await?;
        let Some((count, first, reason)) = parked else {
            return Ok(());
        };
        let refusal = Refusal::Parked {
            count,
            first,
            reason,
        };
        Err(refusal.into())
    }
}

impl Rebuild {
    /// Whether the generation is shown, once its switch has ended.
    pub(super) async fn is_shown(&self, generation: i32) -> Result<bool, RebuildError> {
        let begun = Instant::now();
        loop {
            let query = sqlx::query_scalar(READ_IS_SHOWN)
                .bind(self.projection.name())
                .bind(generation);
            match query.fetch_optional(&self.pool).await {
                Ok(is_shown) => return Ok(is_shown.unwrap_or(false)),
                Err(source) if begun.elapsed() > ASK_MAX => {
                    return Err(RebuildError::Unanswered { generation, source });
                }
                Err(_) => tokio::time::sleep(AGAIN_WAIT).await,
            }
        }
    }
}
