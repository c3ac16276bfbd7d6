//! Generations: the tables `read_model.<name>_g<n>` behind the view `read_model.<name>`. The holder
//! of partition 0's lease creates one when there is none of its revision, or when the store lost
//! what the checkpoints say; everybody fills it; the same holder shows it once every partition has
//! reached the heads that were recorded at the cut. What a rebuild fills is left to it.

use events::{Address, IncarnationLog, Partition};
use sqlx::{PgConnection, PgPool, Row};

use super::lease::LeaseScope;
use super::switch::{BEGIN_SWITCH, Made, NOTIFY, Switch, identifier};

/// What readers may do with a generation; the texts are the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Filling,
    /// A rebuild that lives fills it.
    Building,
    /// The rebuild that filled it has died.
    Abandoned,
    Active,
    Standby,
    Void,
}

impl State {
    fn parse(text: &str) -> Result<Self, sqlx::Error> {
        Ok(match text {
            "filling" => Self::Filling,
            "building" => Self::Building,
            "abandoned" => Self::Abandoned,
            "active" => Self::Active,
            "standby" => Self::Standby,
            "void" => Self::Void,
            other => {
                let message = format!("a generation's state is `{other}`; is this binary too old?");
                return Err(sqlx::Error::Decode(message.into()));
            }
        })
    }
}

/// A row of `projection.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) number: i32,
    pub(crate) revision: i32,
    pub(crate) state: State,
}

/// The generations of one projection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generations(pub(crate) Vec<Generation>);

impl Generations {
    /// Those that a process with this revision feeds.
    pub(crate) fn fed_by(&self, revision: i32) -> impl Iterator<Item = Generation> + '_ {
        let is_fed = |state| matches!(state, State::Filling | State::Active | State::Standby);
        let fed = move |g: &&Generation| g.revision == revision && is_fed(g.state);
        self.0.iter().filter(fed).copied()
    }

    pub(crate) fn filling(&self, revision: i32) -> Option<Generation> {
        self.fed_by(revision).find(|g| g.state == State::Filling)
    }

    pub(crate) fn active(&self) -> Option<Generation> {
        self.0.iter().find(|g| g.state == State::Active).copied()
    }

    /// A newer revision begins a generation of its own; an older one never replaces what a newer
    /// made. While a rebuild makes one, there is nothing to do but wait.
    fn lacks(&self, revision: i32) -> bool {
        let is_alive = |state| !matches!(state, State::Void | State::Abandoned);
        let mut alive = self.0.iter().filter(|g| is_alive(g.state));
        alive.all(|g| g.revision < revision)
    }
}

const READ: &str = "
select generation, revision,
    case when state = 'building' and not exists (
        select from projection.rebuild as r
        where r.projection = g.projection and r.expires_at > clock_timestamp()
    ) then 'abandoned' else state end
from projection.generation as g
where projection = $1 and state <> 'dropped'
order by generation";

const READ_CHECKPOINTS: &str = "
select c.generation, c.partition, c.incarnation, c.position
from projection.checkpoint as c
join projection.generation as g using (projection, generation)
where g.projection = $1 and g.state not in ('building', 'void')";

/// Whoever acts on generations holds this row's lock, so nobody else can take partition 0
/// meanwhile.
const LOCK_FIRST_LEASE: &str = "
select epoch
from projection.lease
where projection = $1 and revision = $2 and partition = 0 and owner = $3
    and expires_at > clock_timestamp()
for update";

const MARK_VOID: &str = "
update projection.generation set state = 'void' where projection = $1 and generation = any($2)";

const INSERT: &str = "
insert into projection.generation (projection, generation, revision, state, cut)
select $1,
    coalesce((select max(generation) from projection.generation where projection = $1), 0) + 1,
    $2, 'filling',
    array(select position from event_store.partition_head order by partition)
returning generation";

const INSERT_CHECKPOINTS: &str = "
insert into projection.checkpoint (projection, generation, partition, incarnation, epoch)
select l.projection, $3, l.partition, h.incarnation, l.epoch
from projection.lease as l
join event_store.partition_head as h using (partition)
where l.projection = $1 and l.revision = $2";

/// A store that lost its tail meanwhile may end below the cut: then its head is all there is.
const HAS_REACHED_CUT: &str = "
select bool_and(c.position >= least(g.cut[c.partition + 1], h.position))
from projection.generation as g
join projection.checkpoint as c using (projection, generation)
join event_store.partition_head as h using (partition)
where g.projection = $1 and g.generation = $2";

const COUNT_PARKED: &str = "
select count(distinct (tenant_id, routing_key))
from projection.parked
where projection = $1 and generation = $2 and discarded_at is null";

/// A first fill may create large things, on a database that may be busy.
const BEGIN_CREATE: &str = "begin; set local statement_timeout = 0";

/// The generations of a projection.
pub(crate) async fn read(pool: &PgPool, projection: &str) -> Result<Generations, sqlx::Error> {
    let rows = sqlx::query(READ).bind(projection).fetch_all(pool).await?;
    let generations = rows.iter().map(|row| {
        Ok(Generation {
            number: row.try_get(0)?,
            revision: row.try_get(1)?,
            state: State::parse(row.try_get(2)?)?,
        })
    });
    generations
        .collect::<Result<_, sqlx::Error>>()
        .map(Generations)
}

/// The generations with a checkpoint that says something which the store lost.
async fn find_void(
    pool: &PgPool,
    projection: &str,
    log: &IncarnationLog,
) -> Result<Vec<i32>, sqlx::Error> {
    let rows: Vec<(i32, i32, i32, i64)> = sqlx::query_as(READ_CHECKPOINTS)
        .bind(projection)
        .fetch_all(pool)
        .await?;
    let mut void = Vec::new();
    for (generation, partition, incarnation, position) in rows {
        let partition =
            Partition::try_from(partition).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let address = Address {
            partition,
            position,
        };
        if log.is_void(incarnation, address) && !void.contains(&generation) {
            void.push(generation);
        }
    }
    Ok(void)
}

/// What the holder of partition 0's lease does: void what was lost, create what is missing, show
/// what is full. Returns whether anything changed.
pub(crate) async fn tend(
    pool: &PgPool,
    scope: LeaseScope,
    tables: &[&'static str],
    known: &Generations,
    log: &IncarnationLog,
) -> Result<bool, sqlx::Error> {
    let void = find_void(pool, scope.projection, log).await?;
    let mut left = known.clone();
    left.0.retain(|g| !void.contains(&g.number));
    if !void.is_empty() || left.lacks(scope.revision) {
        return create(pool, scope, &void).await;
    }
    match left.filling(scope.revision) {
        // What is shown at this revision was proven by a rebuild meanwhile; a first fill is not.
        Some(next)
            if left
                .active()
                .is_none_or(|shown| shown.revision < scope.revision) =>
        {
            activate(pool, scope, tables, next, left.active()).await
        }
        _ => Ok(false),
    }
}

async fn create(pool: &PgPool, scope: LeaseScope, void: &[i32]) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin_with(BEGIN_CREATE).await?;
    if !holds_first_lease(&mut transaction, scope).await? {
        transaction.rollback().await?;
        return Ok(false);
    }
    let name = scope.projection;
    sqlx::query(MARK_VOID)
        .bind(name)
        .bind(void)
        .execute(&mut *transaction)
        .await?;
    let generation: i32 = sqlx::query_scalar(INSERT)
        .bind(name)
        .bind(scope.revision)
        .fetch_one(&mut *transaction)
        .await?;
    let create_tables = format!("select read_model.create_{}($1)", identifier(name)?);
    sqlx::query(&create_tables)
        .bind(generation)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(INSERT_CHECKPOINTS)
        .bind(name)
        .bind(scope.revision)
        .bind(generation)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(NOTIFY)
        .bind(name)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    tracing::info!(
        projection = name,
        generation,
        revision = scope.revision,
        void = ?void,
        "began generation {generation} of {name}: it is filled from the event store"
    );
    Ok(true)
}

async fn activate(
    pool: &PgPool,
    scope: LeaseScope,
    tables: &[&'static str],
    next: Generation,
    shown: Option<Generation>,
) -> Result<bool, sqlx::Error> {
    let name = scope.projection;
    if !has_reached_cut(pool, name, next.number).await? {
        return Ok(false);
    }
    if let Some(shown) = shown
        && count_parked(pool, name, next).await? > count_parked(pool, name, shown).await?
    {
        tracing::error!(
            projection = name,
            generation = next.number,
            "generation {} of {name} has more parked keys than the one that is shown, \
             and is not shown: \
             see `projector parked list`",
            next.number
        );
        return Ok(false);
    }
    let mut transaction = pool.begin_with(BEGIN_SWITCH).await?;
    let switch = Switch {
        projection: name,
        tables,
        shown: shown.map(|shown| shown.number),
        next: next.number,
        proven: None,
    };
    let switched = holds_first_lease(&mut transaction, scope).await?
        && switch.make(&mut transaction).await? == Made::Yes;
    if switched {
        transaction.commit().await?;
        switch.tell();
    } else {
        transaction.rollback().await?;
    }
    Ok(switched)
}

async fn has_reached_cut(pool: &PgPool, name: &str, number: i32) -> Result<bool, sqlx::Error> {
    let query = sqlx::query_scalar(HAS_REACHED_CUT).bind(name).bind(number);
    let reached: Option<bool> = query.fetch_one(pool).await?;
    Ok(reached.unwrap_or(false))
}

async fn count_parked(
    pool: &PgPool,
    name: &str,
    generation: Generation,
) -> Result<i64, sqlx::Error> {
    let query = sqlx::query_scalar(COUNT_PARKED)
        .bind(name)
        .bind(generation.number);
    query.fetch_one(pool).await
}

async fn holds_first_lease(
    connection: &mut PgConnection,
    scope: LeaseScope,
) -> Result<bool, sqlx::Error> {
    let epoch: Option<i64> = sqlx::query_scalar(LOCK_FIRST_LEASE)
        .bind(scope.projection)
        .bind(scope.revision)
        .bind(scope.owner)
        .fetch_optional(connection)
        .await?;
    Ok(epoch.is_some())
}
