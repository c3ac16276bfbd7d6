//! A database with a store and the test projection in it, events written straight into the log, and
//! what the rows must be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event_store::EventStore;
use events::{Address, PartitionCount, TenantId};
use projector::engine::source::Source;
use projector::engine::{BatchLimits, Engine, EngineSettings, Outcome};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use testkit::{TestDatabase, eventually};
use uuid::Uuid;

use crate::tally::{CREATE, Row, Tally};

const APPEND: &str = "
with head as (
    update event_store.partition_head set position = position + 1, recorded_at = clock_timestamp()
    where partition = $1
    returning position, recorded_at
)
insert into event_store.event
    (position, stream_no, sequence, recorded_at, partition, event_version, event_id, tenant_id,
    aggregate_type, aggregate_id, routing_key, event_type, payload, metadata)
select position, position, 1, recorded_at, $1, $2, $3, $4, 'tally', $5, $5, 'Tallied', $6::json,
    '{}'
from head
returning position";

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    pub(crate) pool: PgPool,
    pub(crate) store: EventStore,
    pub(crate) tenant: TenantId,
    database: TestDatabase,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await;
        let pool = database.pool();
        let partitions = PartitionCount::new(4).unwrap();
        EventStore::create(&pool, partitions, "test").await.unwrap();
        sqlx::query(CREATE).execute(&pool).await.unwrap();
        let store = EventStore::open(pool.clone()).await.unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        Self {
            pool,
            store,
            tenant,
            database,
        }
    }

    pub(crate) async fn engine(&self, tally: &'static Tally) -> Engine {
        self.engine_with(tally, settings()).await
    }

    pub(crate) async fn engine_with(
        &self,
        tally: &'static Tally,
        settings: EngineSettings,
    ) -> Engine {
        Engine::open(self.pool.clone(), &self.store, &[tally], settings)
            .await
            .unwrap()
    }

    /// An engine whose statements do not wait long for a lock, as in production.
    pub(crate) async fn impatient_engine(
        &self,
        tally: &'static Tally,
        settings: EngineSettings,
    ) -> Engine {
        let options = self.database.options().options([("lock_timeout", "200ms")]);
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy_with(options);
        Engine::open(pool, &self.store, &[tally], settings)
            .await
            .unwrap()
    }

    pub(crate) async fn engine_on(&self, tally: &'static Tally, source: Arc<dyn Source>) -> Engine {
        let pool = self.pool.clone();
        let owner = Uuid::new_v4();
        Engine::open_with_source(owner, pool, &self.store, &[tally], settings(), source)
            .await
            .unwrap()
    }

    /// Appends `{"add": amount}`.
    pub(crate) async fn add(&self, key: &str, amount: i64) -> Address {
        self.append(key, 1, &format!(r#"{{"add": {amount}}}"#))
            .await
    }

    pub(crate) async fn append(&self, key: &str, version: i32, payload: &str) -> Address {
        let partition = self.store.partitions().partition_of(&self.tenant, key);
        let position = sqlx::query_scalar(APPEND)
            .bind(partition.as_i32())
            .bind(version)
            .bind(Uuid::now_v7())
            .bind(self.tenant.as_str())
            .bind(key)
            .bind(payload)
            .fetch_one(&self.pool)
            .await
            .unwrap();
        Address {
            partition,
            position,
        }
    }

    /// Keeps the digests in the heads that an append would have kept.
    pub(crate) async fn sign(&self) {
        let reader = self.store.partition_reader();
        for (partition, head) in self
            .store
            .partitions()
            .iter()
            .zip(reader.heads().await.unwrap())
        {
            let mut digest = event_store::digest::Digest::default();
            let events = reader
                .read_range(partition, 0, head.position)
                .await
                .unwrap();
            events.iter().for_each(|event| digest.add_recorded(event));
            sqlx::query("update event_store.partition_head set digest = $2 where partition = $1")
                .bind(partition.as_i32())
                .bind(&digest.to_bytes()[..])
                .execute(&self.pool)
                .await
                .unwrap();
        }
    }

    /// Keys that live in partition 0.
    pub(crate) fn keys_of_first_partition(&self, count: usize) -> Vec<String> {
        let at_home = |key: &String| self.store.partitions().partition_of(&self.tenant, key).0 == 0;
        (0..)
            .map(|n| format!("key-{n}"))
            .filter(at_home)
            .take(count)
            .collect()
    }

    /// Steps until every generation that is fed stands at the heads.
    pub(crate) async fn settle(&self, engine: &Engine) {
        eventually(PATIENCE, || async {
            engine.step().await;
            let behind: i64 = sqlx::query_scalar(
                "select count(*) from projection.checkpoint c
                join projection.generation g using (projection, generation)
                join event_store.partition_head h using (partition)
                where g.state <> 'void'
                    and g.revision = (select max(revision) from projection.generation)
                    and c.position <> h.position",
            )
            .fetch_one(&self.pool)
            .await
            .unwrap();
            let begun: bool = sqlx::query_scalar("select count(*) > 0 from projection.generation")
                .fetch_one(&self.pool)
                .await
                .unwrap();
            if begun && behind == 0 {
                Ok(())
            } else {
                Err(behind)
            }
        })
        .await;
        engine.step().await;
    }

    /// The rows of a generation.
    pub(crate) async fn rows(&self, generation: i32) -> BTreeMap<String, Row> {
        let statement =
            format!("select key, events, amount, digest from read_model.tally_g{generation}");
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(&statement)
            .fetch_all(&self.pool)
            .await
            .unwrap();
        let row = |(key, events, amount, digest)| {
            (
                key,
                Row {
                    events,
                    amount,
                    digest,
                },
            )
        };
        rows.into_iter().map(row).collect()
    }

    /// The fold of the log, computed here: each event once, in order, parked and discarded ones
    /// left out.
    pub(crate) async fn fold(&self, generation: i32) -> BTreeMap<String, Row> {
        let events: Vec<(String, i64, i64)> = sqlx::query_as(
            "select e.routing_key, e.position, (e.payload ->> 'add')::bigint
            from event_store.event e
            where not exists (
                select from projection.parked p
                where p.generation = $1 and p.partition = e.partition and p.position = e.position)
            order by e.partition, e.position",
        )
        .bind(generation)
        .fetch_all(&self.pool)
        .await
        .unwrap();
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for (key, position, add) in events {
            let row = rows.entry(key).or_default();
            *row = row.then(position, add);
        }
        rows
    }

    pub(crate) async fn assert_rows_are_the_fold(&self, generation: i32) {
        assert_eq!(self.rows(generation).await, self.fold(generation).await);
    }

    /// `(position, reason)` of what is parked and not given up, in order.
    pub(crate) async fn parked(&self) -> Vec<(i64, String)> {
        sqlx::query_as(
            "select position, reason from projection.parked where discarded_at is null
            order by generation, partition, position",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// `(generation, revision, state)`.
    pub(crate) async fn generations(&self) -> Vec<(i32, i32, String)> {
        sqlx::query_as("select generation, revision, state from projection.generation order by 1")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn execute(&self, statement: &str) {
        sqlx::query(statement).execute(&self.pool).await.unwrap();
    }
}

/// Settings for tests: short leases, and small batches so that there are many.
pub(crate) fn settings() -> EngineSettings {
    EngineSettings {
        lease: Duration::from_secs(10),
        batch: BatchLimits {
            events_max: 50,
            rows_max: 20_000,
        },
        parked_keys_max: 3,
        silence_max: Duration::from_millis(50),
    }
}

/// The events of an outcome.
pub(crate) fn applied(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Applied { events } => events,
        other => panic!("nothing was applied: {other:?}"),
    }
}
