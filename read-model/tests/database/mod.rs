//! A generation of `user_view` in a database of its own, filled by applying the projection.

use events::{Partition, RecordedEvent};
use read_model::projection::{ApplyError, Effects, Projection, Target};
use read_model::user_view::{NAME, UserView};
use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use testkit::TestDatabase;

/// The database; its tables are generation 1, active.
pub(crate) struct Views {
    database: TestDatabase,
}

impl Views {
    /// Makes the generation as the engine does.
    pub(crate) async fn create() -> Self {
        let database = TestDatabase::create().await;
        let views = Self { database };
        for statement in [
            "select read_model.create_user_view(1)",
            "create view read_model.user_view as select * from read_model.user_view_g1",
            "insert into projection.generation (projection, generation, revision, state, cut)
             values ('user_view', 1, 1, 'active', '{0,0,0,0}')",
            "insert into projection.checkpoint (projection, generation, partition, incarnation)
             select 'user_view', 1, partition, 1 from generate_series(0, 3) partition",
        ] {
            views.execute(statement).await;
        }
        views
    }

    /// A connection.
    pub(crate) async fn connection(&self) -> PoolConnection<Postgres> {
        self.database.pool().acquire().await.expect("a connection")
    }

    /// Runs a statement.
    pub(crate) async fn execute(&self, statement: &str) {
        sqlx::raw_sql(statement)
            .execute(&self.database.pool())
            .await
            .expect(statement);
    }

    /// Applies a batch of one partition, with its checkpoint, in a transaction.
    pub(crate) async fn try_apply(&self, batch: &[RecordedEvent]) -> Result<Effects, ApplyError> {
        let partition = batch
            .first()
            .map_or(Partition(0), |event| event.address.partition);
        let mut transaction = self.database.pool().begin().await?;
        let target = Target {
            generation: 1,
            partition,
        };
        let effects = UserView.apply(&mut transaction, target, batch).await?;
        let position = batch.last().map_or(0, |event| event.address.position);
        sqlx::query("update projection.checkpoint set position = $3 where projection = $1 and partition = $2")
            .bind(NAME)
            .bind(partition.as_i32())
            .bind(position)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(effects)
    }

    /// The same, when nothing may go wrong.
    pub(crate) async fn apply(&self, batch: &[RecordedEvent]) {
        self.try_apply(batch).await.expect("a batch that applies");
    }
}
