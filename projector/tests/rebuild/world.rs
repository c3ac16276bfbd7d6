//! A store with users in it, the engine that feeds the live view, and rebuilds beside it.

use std::time::Duration;

use event_store::EventStore;
use events::PartitionCount;
use projector::engine::{Engine, EngineSettings};
use projector::rebuild::{Allowed, Purpose, Rebuild, RebuildError, RebuildSettings, Report};
use read_model::user_view::UserView;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use testkit::{TestDatabase, eventually};

use crate::log;
use crate::people::People;

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How many connections a rebuild of a test has.
const CONNECTIONS: u32 = 8;

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) pool: PgPool,
    pub(crate) store: EventStore,
    pub(crate) people: People,
}

impl World {
    /// An empty store.
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(database.options());
        let partitions = PartitionCount::new(4).unwrap();
        EventStore::create(&pool, partitions, "test").await.unwrap();
        let store = EventStore::open(pool.clone()).await.unwrap();
        Self {
            database,
            pool,
            store,
            people: People::new(),
        }
    }

    /// A store with so many events, all of them in generation 1, which is shown.
    pub(crate) async fn live(events: usize) -> (Self, Engine) {
        let mut world = Self::new().await;
        world.append(events).await;
        let engine = world.engine().await;
        world.settle(&engine).await;
        (world, engine)
    }

    pub(crate) async fn append(&mut self, events: usize) {
        let events = self.people.events(events);
        log::append(&self.pool, &events).await;
    }

    pub(crate) async fn engine(&self) -> Engine {
        let settings = EngineSettings::default();
        Engine::open(self.database.pool(), &self.store, &[&UserView], settings)
            .await
            .unwrap()
    }

    /// Steps until every generation that the engine feeds stands at the heads.
    pub(crate) async fn settle(&self, engine: &Engine) {
        eventually(PATIENCE, || async {
            engine.step().await;
            let behind: Option<i64> = sqlx::query_scalar(
                "select sum(h.position - c.position)::bigint from projection.checkpoint c
                join projection.generation g using (projection, generation)
                join event_store.partition_head h using (partition)
                where g.state in ('filling', 'active', 'standby')",
            )
            .fetch_one(&self.pool)
            .await
            .unwrap();
            if behind == Some(0) {
                Ok(())
            } else {
                Err(behind)
            }
        })
        .await;
        engine.step().await;
    }

    /// A rebuild with small limits, so that there are many of everything.
    pub(crate) fn rebuild(&self) -> Rebuild {
        self.rebuild_with(settings(), Allowed::default())
    }

    pub(crate) fn rebuild_with(&self, settings: RebuildSettings, allowed: Allowed) -> Rebuild {
        self.rebuild_on(self.pool.clone(), settings, allowed, Purpose::Switch)
    }

    pub(crate) fn rebuild_on(
        &self,
        pool: PgPool,
        settings: RebuildSettings,
        allowed: Allowed,
        purpose: Purpose,
    ) -> Rebuild {
        Rebuild::new(pool, &self.store, &UserView, settings, allowed, purpose)
    }

    pub(crate) async fn compare(&self) -> Result<Report, RebuildError> {
        let pool = self.pool.clone();
        let compare = self.rebuild_on(pool, settings(), Allowed::default(), Purpose::Compare);
        compare.run(false).await
    }

    /// Asserts that two generations hold the same rows, and how many.
    pub(crate) async fn assert_equal(&self, one: i32, other: i32) {
        let statement = format!(
            "select (select count(*) from read_model.user_view_g{one}),
                (select count(*) from read_model.user_view_g{other}),
                (select count(*) from (
                    (table read_model.user_view_g{one} except table read_model.user_view_g{other})
                    union all
                    (table read_model.user_view_g{other} except table read_model.user_view_g{one})
                ) as d)"
        );
        let (rows, others, differing): (i64, i64, i64) = sqlx::query_as(&statement)
            .fetch_one(&self.pool)
            .await
            .unwrap();
        let users = i64::try_from(self.people.users.len()).unwrap();
        assert_eq!((rows, others, differing), (users, users, 0));
    }

    /// `(generation, state)` of those that are there.
    pub(crate) async fn generations(&self) -> Vec<(i32, String)> {
        sqlx::query_as(
            "select generation, state from projection.generation where state <> 'dropped'
            order by 1",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    pub(crate) async fn execute(&self, statement: &str) -> u64 {
        let done = sqlx::query(statement).execute(&self.pool).await.unwrap();
        done.rows_affected()
    }
}

pub(crate) fn settings() -> RebuildSettings {
    RebuildSettings {
        parallelism: 2,
        range_events: 500,
        patience: Duration::from_secs(30),
        // The events of tests are of a fixed day long ago.
        live_lag_max: Duration::from_secs(1_000_000_000),
        ..RebuildSettings::default()
    }
}
