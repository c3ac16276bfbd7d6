//! The switch: another generation is shown. Daemons show a first fill by it, a rebuild what it has
//! proven, and an operator what was shown before.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};

/// Readers must never queue behind the switch for long: it gives way and is tried again, and when
/// whoever makes it is stopped in the middle, the server ends it.
pub(crate) const BEGIN_SWITCH: &str = "begin; set local lock_timeout = '100ms'; \
    set local idle_in_transaction_session_timeout = '1s'";

/// How long the shown generation's checkpoints are held still for the next one to come up to them.
pub(crate) const CATCH_UP_MAX: Duration = Duration::from_millis(200);

/// How often that is looked at meanwhile.
const CATCH_UP_POLL: Duration = Duration::from_millis(5);

pub(crate) const NOTIFY: &str = "select pg_notify('projection_control', $1)";

/// Two that switch at once meet here, and the second sees what the first has done.
const LOCK_GENERATIONS: &str = "
select generation, state
from projection.generation
where projection = $1 and (generation = $2 or state = 'active')
order by generation
for no key update";

const LOCK_CHECKPOINTS: &str = "
select partition, position
from projection.checkpoint
where projection = $1 and generation = $2
order by partition
for update";

const IS_BEHIND: &str = "
select exists (
    select from projection.checkpoint as shown
    left join projection.checkpoint as next
        on next.projection = shown.projection and next.partition = shown.partition
            and next.generation = $3
    where shown.projection = $1 and shown.generation = $2
        and coalesce(next.position, -1) < shown.position
)";

const STAND_BY: &str = "
update projection.generation set state = 'standby' where projection = $1 and state = 'active'";

const ACTIVATE: &str = "
update projection.generation
set state = 'active', activated_at = clock_timestamp()
where projection = $1 and generation = $2";

/// From which generation to which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch<'a> {
    pub(crate) projection: &'a str,
    pub(crate) tables: &'a [&'static str],
    /// The one that is shown until then; none before the first.
    pub(crate) shown: Option<i32>,
    pub(crate) next: i32,
    /// By partition, up to where the next one has proven itself, when only what is proven may be
    /// shown.
    pub(crate) proven: Option<&'a [AtomicI64]>,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It is made when the caller commits; otherwise the caller rolls back.
    Yes,
    /// The next generation is not far enough yet.
    NotYet,
    /// Another generation is shown than was to be replaced, or the next one is gone: no later try
    /// can be made either.
    Overtaken,
}

impl Switch<'_> {
    /// Makes it in the caller's transaction, which began with [`BEGIN_SWITCH`]. Whoever feeds the
    /// next generation goes on meanwhile. The views are locked last, so no reader waits while it
    /// comes up.
    pub(crate) async fn make(&self, connection: &mut PgConnection) -> Result<Made, sqlx::Error> {
        if !self.is_as_it_was(connection).await? {
            return Ok(Made::Overtaken);
        }
        if !self.comes_up(connection).await? || !self.is_proven(connection).await? {
            return Ok(Made::NotYet);
        }
        for table in self.tables {
            let table = identifier(table)?;
            let show = format!(
                "create or replace view read_model.{table} as select * from read_model.{table}_g{}",
                self.next
            );
            sqlx::query(&show).execute(&mut *connection).await?;
        }
        let stand_by = sqlx::query(STAND_BY).bind(self.projection);
        stand_by.execute(&mut *connection).await?;
        let activate = sqlx::query(ACTIVATE).bind(self.projection).bind(self.next);
        activate.execute(&mut *connection).await?;
        let notify = sqlx::query(NOTIFY).bind(self.projection);
        notify.execute(&mut *connection).await?;
        Ok(Made::Yes)
    }

    /// Says that it was committed.
    pub(crate) fn tell(&self) {
        tracing::info!(
            projection = self.projection,
            generation = self.next,
            "generation {} of {} is shown",
            self.next,
            self.projection
        );
    }

    async fn is_as_it_was(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let rows = sqlx::query(LOCK_GENERATIONS)
            .bind(self.projection)
            .bind(self.next)
            .fetch_all(connection)
            .await?;
        let (mut shown, mut next_is_there) = (None, false);
        for row in rows {
            let (generation, state): (i32, &str) = (row.try_get(0)?, row.try_get(1)?);
            match state {
                "active" => shown = Some(generation),
                "filling" | "building" | "standby" => next_is_there |= generation == self.next,
                _ => {}
            }
        }
        Ok(next_is_there && shown == self.shown)
    }

    /// Holds the shown generation's checkpoints still and gives the next one a moment to come up to
    /// them, so that the switch never shows an older state.
    async fn comes_up(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let Some(shown) = self.shown else {
            return Ok(true);
        };
        let query = sqlx::query(LOCK_CHECKPOINTS);
        let query = query.bind(self.projection).bind(shown);
        query.execute(&mut *connection).await?;
        let begun = Instant::now();
        loop {
            let query = sqlx::query_scalar(IS_BEHIND)
                .bind(self.projection)
                .bind(shown)
                .bind(self.next);
            if !query.fetch_one(&mut *connection).await? {
                return Ok(true);
            }
            if begun.elapsed() > CATCH_UP_MAX {
                return Ok(false);
            }
            tokio::time::sleep(CATCH_UP_POLL).await;
        }
    }
}

impl Switch<'_> {
    /// Whether the next generation stands nowhere past what it has proven. It is held still from
    /// here on, so that nothing unproven is in what is shown.
    async fn is_proven(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let Some(proven) = self.proven else {
            return Ok(true);
        };
        let query = sqlx::query(LOCK_CHECKPOINTS).bind(self.projection);
        for row in query.bind(self.next).fetch_all(connection).await? {
            let (partition, position): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
            let proven = usize::try_from(partition)
                .ok()
                .and_then(|at| proven.get(at));
            if proven.is_none_or(|proven| position > proven.load(Ordering::Relaxed)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Names of projections and tables stand in statements as they are, so they are plain words.
pub(crate) fn identifier(name: &str) -> Result<&str, sqlx::Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.is_empty() && name.bytes().all(plain) {
        Ok(name)
    } else {
        Err(sqlx::Error::Protocol(format!(
            "`{name}` cannot be the name of a table"
        )))
    }
}
