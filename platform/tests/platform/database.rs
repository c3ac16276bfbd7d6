//! Pools against a real PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use platform::admin::Readiness;
use platform::config::{DatabaseArgs, DatabaseSettings, Environment, Problems};
use platform::database::{PoolPlan, pool};
use sqlx::{Connection as _, PgPool, Row as _};
use testkit::{TestDatabase, eventually};

fn settings(database: &TestDatabase, changes: &[(&str, &str)]) -> DatabaseSettings {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        database: DatabaseArgs,
    }
    let url = database.url();
    // Connecting takes longer than the default on a busy machine.
    let pairs = [
        ("DATABASE_URL", url.as_str()),
        ("DB_ACQUIRE_TIMEOUT", "10s"),
    ];
    let pairs = pairs.iter().chain(changes).copied();
    let environment = Environment::from_pairs(pairs);
    let (cli, _) = platform::config::load::<Cli>(["test"], environment).unwrap();
    let mut problems = Problems::default();
    let settings = cli.database.validate(&mut problems);
    problems.check().unwrap();
    settings
}

/// SQLSTATE of the error that a statement ends with.
async fn sqlstate(pool: &PgPool, statement: &str) -> String {
    let error = sqlx::raw_sql(statement).execute(pool).await.unwrap_err();
    let code = error
        .as_database_error()
        .and_then(|error| error.code().map(String::from));
    code.unwrap_or_else(|| error.to_string())
}

async fn idle_in_transaction(database: &TestDatabase) -> i64 {
    sqlx::query_scalar(
        "select count(*) from pg_stat_activity \
         where datname = current_database() and application_name = 'runnel/cancelled' \
         and state like 'idle in transaction%'",
    )
    .fetch_one(&database.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_pool_without_transactions_asks_nothing_when_a_connection_comes_back() {
    let database = TestDatabase::create().await;
    let settings = settings(&database, &[]);
    let plan = PoolPlan::hot("statements", 1, &settings).without_transactions();
    let pool = pool(&settings, plan).unwrap();
    for text in ["select 1", "select 2"] {
        sqlx::raw_sql(text).execute(&pool).await.unwrap();
        // The only connection is handed out again when it has come back.
        drop(pool.acquire().await.unwrap());
        let last: String = sqlx::query_scalar(
            "select query from pg_stat_activity \
             where datname = current_database() and application_name = 'runnel/statements'",
        )
        .fetch_one(&database.pool())
        .await
        .unwrap();
        assert_eq!(last, text);
    }
}

#[tokio::test]
async fn a_cancelled_begin_leaves_no_transaction_open() {
    let database = TestDatabase::create().await;
    let settings = settings(&database, &[]);
    let pool = pool(&settings, PoolPlan::hot("cancelled", 1, &settings)).unwrap();
    sqlx::query("select 1").execute(&pool).await.unwrap();
    let mut cancelled = 0;
    for round in 0..50 {
        let mut connection = pool.acquire().await.unwrap();
        // One poll sends BEGIN; the answer is still on its way when the future is dropped. The
        // sleep makes sure of it: the server may be given this very processor and answer at once.
        let begin = connection.begin_with("begin; select pg_sleep(0.02)");
        match begin.now_or_never() {
            None => cancelled += 1,
            // This thread did not run for so long that the answer was there at the first poll.
            Some(begun) => begun.unwrap().rollback().await.unwrap(),
        }
        drop(connection);
        // By the simple protocol: the extended one sends several messages, each with its time.
        let row = sqlx::raw_sql("select transaction_timestamp() = statement_timestamp()")
            .fetch_one(&pool)
            .await
            .unwrap();
        let fresh: bool = row.get(0);
        assert!(fresh, "round {round} is inside somebody's transaction");
    }
    assert!(cancelled > 0, "no round was cancelled");
    eventually(Duration::from_secs(2), || async {
        match idle_in_transaction(&database).await {
            0 => Ok(()),
            sessions => Err(sessions),
        }
    })
    .await;
}

#[tokio::test]
async fn an_aborted_transaction_does_not_come_back_from_the_pool() {
    let database = TestDatabase::create().await;
    let settings = settings(&database, &[]);
    let pool = pool(&settings, PoolPlan::hot("aborted", 1, &settings)).unwrap();
    let mut connection = pool.acquire().await.unwrap();
    sqlx::raw_sql("begin")
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::raw_sql("select 1/0")
        .execute(&mut *connection)
        .await
        .unwrap_err();
    drop(connection);
    let one: i32 = sqlx::query_scalar("select 1")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(one, 1);
}

#[tokio::test]
async fn statements_locks_and_idle_transactions_have_their_time() {
    let database = TestDatabase::create().await;
    let short = [
        ("DB_STATEMENT_TIMEOUT", "400ms"),
        ("DB_LOCK_TIMEOUT", "100ms"),
        ("DB_IDLE_IN_TRANSACTION_TIMEOUT", "200ms"),
    ];
    let settings = settings(&database, &short);
    let pool = pool(&settings, PoolPlan::hot("timeouts", 2, &settings)).unwrap();
    assert_eq!(sqlstate(&pool, "select pg_sleep(5)").await, "57014");

    let mut holder = database.pool().begin().await.unwrap();
    sqlx::raw_sql("select pg_advisory_xact_lock(7)")
        .execute(&mut *holder)
        .await
        .unwrap();
    assert_eq!(
        sqlstate(&pool, "select pg_advisory_xact_lock(7)").await,
        "55P03"
    );

    let mut connection = pool.acquire().await.unwrap();
    let backend = sqlx::query_scalar("select pg_backend_pid()");
    let backend: i32 = backend.fetch_one(&mut *connection).await.unwrap();
    let mut forgotten = connection.begin().await.unwrap();
    eventually(Duration::from_secs(60), || async {
        let alive = "select count(*) from pg_stat_activity where pid = $1";
        let alive = sqlx::query_scalar(alive).bind(backend);
        match alive.fetch_one(&database.pool()).await.unwrap() {
            0_i64 => Ok(()),
            _ => Err("the session lives on in its transaction"),
        }
    })
    .await;
    let late = sqlx::query("select 1").execute(&mut *forgotten).await;
    late.unwrap_err();
}

#[tokio::test]
async fn an_unhurried_pool_has_no_time_outs() {
    let database = TestDatabase::create().await;
    let settings = settings(&database, &[("DB_STATEMENT_TIMEOUT", "1s")]);
    let pool = pool(&settings, PoolPlan::unhurried("migrations", 1)).unwrap();
    let shown: (String, String) = sqlx::query_as(
        "select current_setting('statement_timeout'), current_setting('application_name')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(shown, ("0".to_owned(), "runnel/migrations".to_owned()));
}

#[tokio::test]
async fn waiting_for_a_connection_ends_after_db_acquire_timeout() {
    let database = TestDatabase::create().await;
    let settings = settings(&database, &[("DB_ACQUIRE_TIMEOUT", "200ms")]);
    let pool = pool(&settings, PoolPlan::hot("acquire", 1, &settings)).unwrap();
    let connect = || async { pool.acquire().await };
    let held = eventually(Duration::from_secs(10), connect).await;
    let started = Instant::now();
    assert!(matches!(
        pool.acquire().await,
        Err(sqlx::Error::PoolTimedOut)
    ));
    assert!(
        started.elapsed() < Duration::from_secs(9),
        "{:?}",
        started.elapsed()
    );
    drop(held);
}

#[tokio::test]
async fn a_connection_is_replaced_after_db_connection_lifetime() {
    let database = TestDatabase::create().await;
    let settings = settings(&database, &[("DB_CONNECTION_LIFETIME", "200ms")]);
    let pool = pool(&settings, PoolPlan::hot("lifetime", 1, &settings)).unwrap();
    let backend = async || -> i32 {
        sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    let first = backend().await;
    eventually(Duration::from_secs(5), || async {
        let now = backend().await;
        if now == first { Err(now) } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn idle_connections_are_closed_after_db_idle_timeout_and_a_hot_pool_keeps_its_own() {
    let database = TestDatabase::create().await;
    let settings = settings(&database, &[("DB_IDLE_TIMEOUT", "200ms")]);
    let plans = [
        PoolPlan::unhurried("idle", 3),
        PoolPlan::hot("kept", 3, &settings),
    ];
    let [idle, kept] = plans.map(|plan| pool(&settings, plan).unwrap());
    for pool in [&idle, &kept] {
        let held = [pool.acquire(), pool.acquire(), pool.acquire()];
        let held = futures_util::future::join_all(held).await;
        assert!(held.iter().all(Result::is_ok), "{held:?}");
        assert_eq!(pool.size(), 3);
    }
    eventually(Duration::from_secs(20), || async {
        match idle.size() {
            0 => Ok(()),
            connections => Err(connections),
        }
    })
    .await;
    assert_eq!(kept.size(), 3, "no cold connection at the next request");
}

#[tokio::test]
async fn each_new_connection_is_shown_to_the_callers_hook() {
    let database = TestDatabase::create().await;
    let settings = settings(&database, &[("DB_ACQUIRE_TIMEOUT", "2s")]);
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let plan = PoolPlan::unhurried("hook", 1).after_connect(Arc::new(move |connection| {
        let counter = Arc::clone(&counter);
        Box::pin(async move {
            let before = counter.fetch_add(1, Ordering::SeqCst);
            sqlx::query("select 1").execute(connection).await?;
            if before == 0 {
                Ok(())
            } else {
                Err(sqlx::Error::WorkerCrashed)
            }
        })
    }));
    let pool = pool(&settings, plan).unwrap();
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    sqlx::query("select 1")
        .execute(&mut *connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    assert!(
        pool.acquire().await.is_err(),
        "the hook refuses every further connection"
    );
    assert!(seen.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn sessions_that_the_server_ended_while_they_were_idle_are_not_handed_out() {
    let database = TestDatabase::create().await;
    let settings = settings(&database, &[]);
    let pool = pool(&settings, PoolPlan::hot("ended", 2, &settings)).unwrap();
    let readiness = Readiness::new();
    readiness.check_warm("connections", pool.clone());
    eventually(Duration::from_secs(10), || async {
        let report = readiness.report().await;
        if report.ready { Ok(()) } else { Err(report) }
    })
    .await;
    assert_eq!(pool.size(), 2, "ready before its connections were open");
    const END_ALL: &str = "select count(*) filter (where pg_terminate_backend(pid, 5000)) \
        from pg_stat_activity \
        where datname = current_database() and application_name = 'runnel/ended'";
    let ended: i64 = sqlx::query_scalar(END_ALL)
        .fetch_one(&database.pool())
        .await
        .unwrap();
    assert_eq!(ended, 2);
    // Only sessions that were idle for a second are suspected.
    let since = Instant::now();
    eventually(Duration::from_secs(5), || async {
        let idle = since.elapsed();
        if idle > Duration::from_millis(1_200) {
            Ok(())
        } else {
            Err(idle)
        }
    })
    .await;
    for _ in 0..4 {
        sqlx::query("select 1").execute(&pool).await.unwrap();
    }
}

#[tokio::test]
async fn a_pools_connections_are_shown_as_metrics() {
    let database = TestDatabase::create().await;
    let settings = settings(&database, &[]);
    let pool = pool(&settings, PoolPlan::hot("shown", 3, &settings)).unwrap();
    let _held = pool.acquire().await.unwrap();
    let text = String::from_utf8(platform::metrics::render()).unwrap();
    let shows = |line: &str| text.lines().any(|found| found == line);
    assert!(
        shows("db_pool_connections{pool=\"shown\",state=\"max\"} 3"),
        "{text}"
    );
    let used = text
        .lines()
        .find(|l| l.starts_with("db_pool_connections{pool=\"shown\",state=\"used\"}"));
    assert!(used.is_some_and(|line| !line.ends_with(" 0")), "{used:?}");
}
