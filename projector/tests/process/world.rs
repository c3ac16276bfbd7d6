//! A database with users' events in it, and the projector's binary on it.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use event_store::EventStore;
use events::{Partition, PartitionCount, RecordedEvent, TenantId, UserEvent};
use read_model::projection::{Projection as _, Target};
use read_model::user_view::UserView;
use sqlx::PgPool;
use testkit::history::{History, tenant};
use testkit::{TestDatabase, eventually};
use uuid::Uuid;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const MOVE_HEAD: &str = "
update event_store.partition_head set position = $2, recorded_at = $3 where partition = $1";

const INSERT: &str = "
insert into event_store.event
    (position, stream_no, sequence, recorded_at, partition, event_version, event_id, tenant_id,
    aggregate_type, aggregate_id, routing_key, event_type, payload, metadata)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::json, '{}')";

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) pool: PgPool,
    pub(crate) tenant: TenantId,
    history: History,
    /// Everything that was appended, in order.
    pub(crate) log: Vec<RecordedEvent>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await;
        let pool = database.pool();
        let partitions = PartitionCount::new(4).unwrap();
        EventStore::create(&pool, partitions, "test").await.unwrap();
        Self {
            database,
            pool,
            tenant: tenant("acme"),
            history: History::default(),
            log: Vec::new(),
        }
    }

    /// Appends events in one transaction, as a lane does.
    pub(crate) async fn append(&mut self, events: Vec<(Uuid, UserEvent)>) {
        let recorded = events
            .iter()
            .map(|(id, event)| self.history.record(&self.tenant, *id, event))
            .collect();
        self.append_recorded(recorded).await;
    }

    /// Appends one event of a version that no binary knows.
    pub(crate) async fn append_unknown(&mut self, id: Uuid, event: &UserEvent) -> RecordedEvent {
        let mut recorded = self.history.record(&self.tenant, id, event);
        recorded.event_version = 99;
        self.append_recorded(vec![recorded.clone()]).await;
        recorded
    }

    async fn append_recorded(&mut self, events: Vec<RecordedEvent>) {
        let mut transaction = self.pool.begin().await.unwrap();
        for event in &events {
            sqlx::query(MOVE_HEAD)
                .bind(event.address.partition.as_i32())
                .bind(event.address.position)
                .bind(event.recorded_at)
                .execute(&mut *transaction)
                .await
                .unwrap();
            sqlx::query(INSERT)
                .bind(event.address.position)
                .bind(event.stream_no)
                .bind(event.sequence)
                .bind(event.recorded_at)
                .bind(event.address.partition.as_i32())
                .bind(event.event_version)
                .bind(event.event_id)
                .bind(event.tenant.as_str())
                .bind(&event.aggregate_type)
                .bind(&event.aggregate_id)
                .bind(&event.routing_key)
                .bind(&event.event_type)
                .bind(event.payload.get())
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
        transaction.commit().await.unwrap();
        self.log.extend(events);
    }

    /// Folds the whole log at once into a generation of its own and compares it with what is shown,
    /// row by row.
    pub(crate) async fn assert_shown_rows_are_the_fold(&self) {
        sqlx::query("select read_model.create_user_view(999)")
            .execute(&self.pool)
            .await
            .unwrap();
        let mut connection = self.pool.acquire().await.unwrap();
        for partition in (0..4).map(Partition) {
            let of_partition = self.log.iter().filter(|e| e.address.partition == partition);
            let events: Vec<_> = of_partition.cloned().collect();
            let target = Target {
                generation: 999,
                partition,
            };
            UserView
                .apply(&mut connection, target, &events)
                .await
                .unwrap();
        }
        let (folded, shown, differing): (i64, i64, i64) = sqlx::query_as(
            "select (select count(*) from read_model.user_view_g999),
                (select count(*) from read_model.user_view),
                (select count(*) from (
                    (table read_model.user_view except table read_model.user_view_g999)
                    union all
                    (table read_model.user_view_g999 except table read_model.user_view)) as d)",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        let users: std::collections::BTreeSet<_> =
            self.log.iter().map(|e| &e.aggregate_id).collect();
        assert_eq!(folded, i64::try_from(users.len()).unwrap());
        assert_eq!((shown, differing), (folded, 0));
    }

    /// The sum of the checkpoints' positions.
    pub(crate) async fn progress(&self) -> i64 {
        let sum = "select coalesce(sum(position), 0)::bigint from projection.checkpoint";
        sqlx::query_scalar(sum).fetch_one(&self.pool).await.unwrap()
    }

    /// Waits until everything that was appended is applied or parked, and shown.
    pub(crate) async fn settled(&self) {
        let head = i64::try_from(self.log.len()).unwrap();
        eventually(PATIENCE, || async {
            let active: i64 = sqlx::query_scalar(
                "select count(*) from projection.generation where state = 'active'",
            )
            .fetch_one(&self.pool)
            .await
            .unwrap();
            let progress = self.progress().await;
            if active == 1 && progress == head {
                Ok(())
            } else {
                Err((active, progress, head))
            }
        })
        .await;
    }

    /// Starts the daemon, with a short lease so that a successor need not wait for long.
    pub(crate) fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// The same with more flags.
    pub(crate) fn start_with(&self, flags: &[&str]) -> Daemon {
        let usual = [
            "run",
            "--projector-lease",
            "1s",
            "--admin-listen",
            "127.0.0.1:0",
        ];
        let child = self
            .command(&[&usual, flags].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Daemon(child)
    }

    /// Runs a verb to its end.
    pub(crate) fn projector(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = projector(arguments);
        command.env("DATABASE_URL", self.database.url());
        command
    }
}

/// The binary with an empty environment.
pub(crate) fn projector(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_projector"));
    command
        .args(arguments)
        .env_clear()
        .env("RUNNEL_HOME", "/nonexistent");
    command
}

/// A running daemon; killed when it is dropped.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// SIGKILL: nothing is flushed and nothing handed over.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    pub(crate) async fn terminate(mut self) -> Option<i32> {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        let child = std::sync::Mutex::new(&mut self.0);
        let status = eventually(PATIENCE, || async {
            child
                .lock()
                .unwrap()
                .try_wait()
                .unwrap()
                .ok_or("it still runs")
        })
        .await;
        status.code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
