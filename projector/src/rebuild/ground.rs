//! The generation that is built: begun, or taken up again where a run before left it.

use event_store::incarnation::load_log;
use events::{Address, Partition};
use read_model::projection::Projection;
use sqlx::{PgConnection, PgPool};
use tokio::sync::OnceCell;

use super::error::RebuildError;
use super::lease::RebuildLease;
use super::settings::Purpose;
use super::{Rebuild, gc};
use crate::engine::generation::{self, Generation, State};
use crate::engine::switch::identifier;

const INSERT: &str = "
insert into projection.generation (projection, generation, revision, state, cut)
select $1,
    coalesce((select max(generation) from projection.generation where projection = $1), 0) + 1,
    $2, 'building',
    array(select position from event_store.partition_head order by partition)
returning generation";

const INSERT_CHECKPOINTS: &str = "
insert into projection.checkpoint (projection, generation, partition, incarnation, epoch)
select $1, $2, partition, incarnation, $3 from event_store.partition_head";

/// What an operator gave up in the live generation is given up here, too; what is to be decided
/// anew by another revision is not.
const INHERIT_GIVEN_UP: &str = "
insert into projection.parked
    (projection, generation, partition, position, tenant_id, routing_key, event_id, event_type,
    event_version, reason, detail, attempts, parked_at, discarded_at)
select projection, $3, partition, position, tenant_id, routing_key, event_id, event_type,
    event_version, reason, detail, attempts, parked_at, discarded_at
from projection.parked
where projection = $1 and generation = $2 and discarded_at is not null";

const ADOPT: &str = "
update projection.checkpoint set epoch = $3 where projection = $1 and generation = $2";

const READ_CHECKPOINTS: &str = "
select partition, incarnation, position
from projection.checkpoint
where projection = $1 and generation = $2
order by partition";

/// Indexes are sorted in memory, and by several workers, when the memory is enough for each.
const BEGIN_KEYS: &str = "begin; set local maintenance_work_mem = '256MB'";

const READ_GIVEN_UP: &str = "
select position
from projection.parked
where projection = $1 and generation = $2 and partition = $3 and discarded_at is not null";

/// The tables of one generation, and what stands beside them.
pub(super) struct Ground {
    pool: PgPool,
    projection: &'static dyn Projection,
    pub(super) generation: i32,
    /// The one that is shown.
    pub(super) live: Option<Generation>,
    keys: OnceCell<()>,
}

impl Ground {
    /// Takes up what a run before left, or begins.
    pub(super) async fn prepare(
        rebuild: &Rebuild,
        lease: &RebuildLease,
        restart: bool,
    ) -> Result<Self, RebuildError> {
        let (pool, projection) = (&rebuild.pool, rebuild.projection);
        let known = generation::read(pool, projection.name()).await?;
        let mut ground = Self {
            pool: pool.clone(),
            projection,
            generation: 0,
            live: known.active(),
            keys: OnceCell::new(),
        };
        // This run holds the lease, so what is being built was left.
        let left = known.0.iter().filter(|g| g.state == State::Building);
        for left in left {
            let is_of_use = !restart
                && left.revision == projection.revision()
                && !ground.is_void(left.number).await?;
            if !is_of_use {
                gc::drop_generation(pool, lease, projection, left.number).await?;
            } else if rebuild.purpose == Purpose::Compare {
                let generation = left.number;
                return Err(RebuildError::Unfinished { generation });
            } else {
                ground.generation = left.number;
            }
        }
        let mut transaction = pool.begin().await?;
        lease.lock(&mut transaction).await?;
        if ground.generation == 0 {
            ground.generation = ground.begin(&mut transaction, lease).await?;
        } else {
            sqlx::query(ADOPT)
                .bind(projection.name())
                .bind(ground.generation)
                .bind(lease.checkpoint_epoch())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(ground)
    }

    async fn begin(
        &self,
        connection: &mut PgConnection,
        lease: &RebuildLease,
    ) -> Result<i32, RebuildError> {
        let name = self.projection.name();
        let generation: i32 = sqlx::query_scalar(INSERT)
            .bind(name)
            .bind(self.projection.revision())
            .fetch_one(&mut *connection)
            .await?;
        let bare = if self.is_bare() { "_bare" } else { "" };
        let create = format!("select read_model.create_{}{bare}($1)", identifier(name)?);
        let create = sqlx::query(&create).bind(generation);
        create.execute(&mut *connection).await?;
        sqlx::query(INSERT_CHECKPOINTS)
            .bind(name)
            .bind(generation)
            .bind(lease.checkpoint_epoch())
            .execute(&mut *connection)
            .await?;
        let same_fold = |live: &Generation| live.revision == self.projection.revision();
        if let Some(live) = self.live.filter(same_fold) {
            let inherit = sqlx::query(INHERIT_GIVEN_UP).bind(name).bind(live.number);
            inherit.bind(generation).execute(connection).await?;
        }
        Ok(generation)
    }

    /// Whether the tables begin without keys.
    fn is_bare(&self) -> bool {
        self.projection.bulk().is_some()
    }

    async fn is_void(&self, generation: i32) -> Result<bool, RebuildError> {
        let log = load_log(&self.pool).await?;
        for (partition, incarnation, position) in self.checkpoints(generation).await? {
            let partition = Partition::try_from(partition)
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            let address = Address {
                partition,
                position,
            };
            if log.is_void(incarnation, address) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn checkpoints(&self, generation: i32) -> Result<Vec<(i32, i32, i64)>, sqlx::Error> {
        let query = sqlx::query_as(READ_CHECKPOINTS).bind(self.projection.name());
        query.bind(generation).fetch_all(&self.pool).await
    }

    /// Its positions, by partition.
    pub(super) async fn positions(&self) -> Result<Vec<i64>, sqlx::Error> {
        let checkpoints = self.checkpoints(self.generation).await?;
        Ok(checkpoints.into_iter().map(|(.., at)| at).collect())
    }

    /// The positions of the one that is shown, by partition; none when none is.
    pub(super) async fn live_positions(&self) -> Result<Vec<i64>, sqlx::Error> {
        let Some(live) = self.live else {
            return Ok(Vec::new());
        };
        let checkpoints = self.checkpoints(live.number).await?;
        Ok(checkpoints.into_iter().map(|(.., at)| at).collect())
    }

    /// The positions of a partition that an operator gave up.
    pub(super) async fn given_up(&self, partition: Partition) -> Result<Vec<i64>, sqlx::Error> {
        sqlx::query_scalar(READ_GIVEN_UP)
            .bind(self.projection.name())
            .bind(self.generation)
            .bind(partition.as_i32())
            .fetch_all(&self.pool)
            .await
    }

    /// Adds keys and indexes, if the tables began without; before them nothing can be upserted.
    pub(super) async fn add_keys(&self) -> Result<(), sqlx::Error> {
        let add = || async {
            if self.is_bare() {
                let name = identifier(self.projection.name())?;
                let add = format!("select read_model.create_{name}_keys($1)");
                let mut transaction = self.pool.begin_with(BEGIN_KEYS).await?;
                let query = sqlx::query(&add).bind(self.generation);
                query.execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
            Ok(())
        };
        self.keys.get_or_try_init(add).await.map(|&()| ())
    }

    /// Lets the planner know what the tables hold.
    pub(super) async fn analyze(&self) -> Result<(), RebuildError> {
        for table in self.projection.tables() {
            let analyze = format!(
                "analyze read_model.{}_g{}",
                identifier(table)?,
                self.generation
            );
            sqlx::query(&analyze).execute(&self.pool).await?;
        }
        Ok(())
    }
}
