//! That nobody else rebuilds the same projection. Like a daemon's lease it only says who should
//! work; what keeps a process out that has lost it is its epoch in the checkpoints.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::error::RebuildError;

const TAKE: &str = "
insert into projection.rebuild as r (projection, owner, epoch, expires_at)
values ($1, $2, 1, clock_timestamp() + $3)
on conflict (projection) do update
set owner = excluded.owner, epoch = r.epoch + 1, expires_at = clock_timestamp() + $3
where r.owner is null or r.expires_at < clock_timestamp()
returning epoch";

const READ_EXPIRY: &str = "
select to_char(expires_at at time zone 'utc', 'HH24:MI:SS\"Z\"')
from projection.rebuild
where projection = $1";

const RENEW: &str = "
update projection.rebuild
set expires_at = clock_timestamp() + $4
where projection = $1 and owner = $2 and epoch = $3";

const LOCK: &str = "
select true
from projection.rebuild
where projection = $1 and owner = $2 and epoch = $3 and expires_at > clock_timestamp()
for update";

const RELEASE: &str = "
update projection.rebuild
set owner = null, expires_at = '-infinity'
where projection = $1 and owner = $2 and epoch = $3";

/// The lease of one run.
pub(super) struct RebuildLease {
    projection: &'static str,
    owner: Uuid,
    epoch: i64,
    length: Duration,
}

impl RebuildLease {
    /// Takes it, or says who is in the way until when.
    pub(super) async fn take(
        pool: &PgPool,
        projection: &'static str,
        length: Duration,
    ) -> Result<Self, RebuildError> {
        let owner = Uuid::new_v4();
        let epoch: Option<i64> = sqlx::query_scalar(TAKE)
            .bind(projection)
            .bind(owner)
            .bind(interval(length))
            .fetch_optional(pool)
            .await?;
        let Some(epoch) = epoch else {
            let until = sqlx::query_scalar(READ_EXPIRY).bind(projection);
            let until = until.fetch_one(pool).await?;
            return Err(RebuildError::Busy { projection, until });
        };
        Ok(Self {
            projection,
            owner,
            epoch,
            length,
        })
    }

    /// What stands in the checkpoints of the generation: below every daemon's epoch, so that after
    /// the switch the next daemon takes them over.
    pub(super) fn checkpoint_epoch(&self) -> i64 {
        -self.epoch
    }

    /// Renews it until it is lost. A database that does not answer for a while is waited for as
    /// long as the lease lasts.
    pub(super) async fn keep(&self, pool: &PgPool) -> RebuildError {
        let mut failures = 0;
        loop {
            tokio::time::sleep(self.length / 4).await;
            let renewed = sqlx::query(RENEW)
                .bind(self.projection)
                .bind(self.owner)
                .bind(self.epoch)
                .bind(interval(self.length))
                .execute(pool)
                .await;
            match renewed {
                Ok(done) if done.rows_affected() == 1 => failures = 0,
                Ok(_) => return RebuildError::LeaseLost,
                Err(_) if failures < 2 => failures += 1,
                Err(error) => return error.into(),
            }
        }
    }

    /// Whether it is still held, and holds it until the transaction ends.
    pub(super) async fn lock(&self, connection: &mut PgConnection) -> Result<(), RebuildError> {
        let held: Option<bool> = sqlx::query_scalar(LOCK)
            .bind(self.projection)
            .bind(self.owner)
            .bind(self.epoch)
            .fetch_optional(connection)
            .await?;
        held.map(|_| ()).ok_or(RebuildError::LeaseLost)
    }

    /// Lets the next one begin at once; otherwise it begins when the lease has run out.
    pub(super) async fn release(&self, pool: &PgPool) {
        let released = sqlx::query(RELEASE)
            .bind(self.projection)
            .bind(self.owner)
            .bind(self.epoch)
            .execute(pool)
            .await;
        if let Err(error) = released {
            tracing::warn!(error = %error, "the lease of the rebuild could not be released");
        }
    }
}

fn interval(length: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(length.as_micros()).unwrap_or(i64::MAX),
    }
}
