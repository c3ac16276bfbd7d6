//! The reads of `user_view` on a real PostgreSQL: what they find, in which order, for whom, and by
//! which plan.

mod database;

use database::Views;
use events::{Role, Scope};
use read_model::checkpoint::Checkpoint;
use read_model::user_view::UserRow;
use read_model::user_view::reads::{self, ActivityKey, HOT, Listed, ReadError};
use sqlx::Row;
use testkit::history::{History, active, minute, registered, tenant};
use uuid::Uuid;

fn scope(tenant_name: &str, role: Role) -> Scope {
    Scope {
        tenant: tenant(tenant_name),
        principal: "someone".to_owned(),
        role,
    }
}

/// Users 1 to `count` of a tenant in one region; user n was active at minute n, but every third at
/// minute 3 like the third.
async fn fill(views: &Views, log: &mut History, tenant_name: &str, count: u128) {
    let owner = tenant(tenant_name);
    for number in 1..=count {
        let id = Uuid::from_u128(number);
        let minutes = if number % 3 == 0 {
            3
        } else {
            i64::try_from(number).expect("a minute")
        };
        let hash = [u8::try_from(number % 251).expect("a byte"); 32];
        let events = [
            log.record(&owner, id, &registered(id, "Ada", "eu-west", hash)),
            log.record(&owner, id, &active(minutes)),
        ];
        views.apply(&events).await;
    }
}

fn users(listed: Result<Listed, ReadError>) -> Vec<UserRow> {
    listed.expect("a read").expect("a generation").1
}

async fn page(views: &Views, after: ActivityKey, limit: i64) -> Vec<(i64, Uuid, ActivityKey)> {
    let mut connection = views.connection().await;
    let scope = scope("acme", Role::Operator);
    let rows = reads::by_region(&mut connection, &scope, "eu-west", None, after, limit).await;
    let key = |row: &read_model::user_view::UserRow| ActivityKey {
        last_active: row.last_active,
        id: row.id,
    };
    users(rows)
        .iter()
        .map(|row| {
            (
                (row.last_active - minute(0)).num_minutes(),
                row.id,
                key(row),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_region_is_read_by_activity_and_id_page_by_page_without_loss() {
    let views = Views::create().await;
    fill(&views, &mut History::default(), "acme", 20).await;
    let whole = page(&views, ActivityKey::START, 1000).await;
    assert_eq!(whole.len(), 20);
    assert!(whole.windows(2).all(|pair| {
        let (newer, older) = (&pair[0], &pair[1]);
        newer.0 > older.0 || (newer.0 == older.0 && newer.1 < older.1)
    }));
    let mut paged = Vec::new();
    let mut after = ActivityKey::START;
    loop {
        let some = page(&views, after, 3).await;
        let Some(last) = some.last() else { break };
        after = last.2;
        paged.extend(some);
    }
    assert_eq!(paged, whole);
}

#[tokio::test]
async fn a_user_that_becomes_active_between_two_pages_is_never_seen_twice() {
    let views = Views::create().await;
    let mut log = History::default();
    fill(&views, &mut log, "acme", 20).await;
    let first = page(&views, ActivityKey::START, 10).await;
    let (seen, unseen) = (first[9].1, Uuid::from_u128(3));
    assert!(first.iter().all(|item| item.1 != unseen));
    for id in [seen, unseen] {
        views
            .apply(&[log.record(&tenant("acme"), id, &active(500))])
            .await;
    }
    let rest = page(&views, first[9].2, 100).await;
    assert!(
        rest.iter()
            .all(|item| first.iter().all(|before| before.1 != item.1))
    );
    assert_eq!(
        rest.len(),
        9,
        "the one that moved ahead of the cursor is not below it any more"
    );
}

#[tokio::test]
async fn activity_before_the_asked_time_is_left_out() {
    let views = Views::create().await;
    fill(&views, &mut History::default(), "acme", 20).await;
    let mut connection = views.connection().await;
    let operator = scope("acme", Role::Operator);
    let since = Some(minute(17));
    let rows = reads::by_region(
        &mut connection,
        &operator,
        "eu-west",
        since,
        ActivityKey::START,
        100,
    )
    .await;
    let ids: Vec<_> = users(rows).iter().map(|row| row.id.as_u128()).collect();
    assert_eq!(ids, [20, 19, 17]);
    let none = reads::by_region(
        &mut connection,
        &operator,
        "us-east",
        None,
        ActivityKey::START,
        100,
    )
    .await;
    assert_eq!(users(none), []);
}

#[tokio::test]
async fn two_tenants_with_the_same_ids_never_meet() {
    let views = Views::create().await;
    let mut log = History::default();
    fill(&views, &mut log, "acme", 3).await;
    fill(&views, &mut log, "globex", 2).await;
    let mut connection = views.connection().await;
    let ids: Vec<_> = (1..=3).map(Uuid::from_u128).collect();
    for (name, count) in [("acme", 3), ("globex", 2), ("initech", 0)] {
        let admin = scope(name, Role::Admin);
        let start = ActivityKey::START;
        let found = [
            reads::by_ids(&mut connection, &admin, &ids).await,
            reads::of_tenant(&mut connection, &admin, None, 100).await,
            reads::by_region(&mut connection, &admin, "eu-west", None, start, 100).await,
        ];
        for rows in found.map(users) {
            assert_eq!(rows.len(), count, "{name}");
            assert!(rows.iter().all(|row| row.tenant.as_str() == name));
        }
        let by_email = reads::by_email(&mut connection, &admin, &[vec![1; 32]]).await;
        assert_eq!(users(by_email).len(), count.min(1));
    }
}

#[tokio::test]
async fn a_list_comes_with_the_checkpoints_of_all_partitions_also_when_nobody_is_in_it() {
    let views = Views::create().await;
    fill(&views, &mut History::default(), "acme", 7).await;
    let mut connection = views.connection().await;
    for (name, count) in [("acme", 7), ("globex", 0)] {
        let list = reads::of_tenant(&mut connection, &scope(name, Role::Admin), None, 100).await;
        let (standing, rows) = list.expect("a read").expect("a generation");
        assert_eq!((rows.len(), standing.generation), (count, 1));
        let at = |one: &Checkpoint| (one.partition.index(), one.position);
        let checkpoints: Vec<_> = standing.checkpoints.iter().map(at).collect();
        assert_eq!(checkpoints.len(), 4);
        assert!(checkpoints.iter().map(|(partition, _)| *partition).eq(0..4));
        let positions = checkpoints.iter().map(|(_, position)| *position);
        assert_eq!(
            positions.sum::<i64>(),
            14,
            "two events of each of seven users"
        );
    }
}

#[tokio::test]
async fn a_user_reads_no_list() {
    let views = Views::create().await;
    let mut connection = views.connection().await;
    let user = scope("acme", Role::User);
    let start = ActivityKey::START;
    let refused = [
        reads::by_region(&mut connection, &user, "eu-west", None, start, 1).await,
        reads::by_email(&mut connection, &user, &[vec![1; 32]]).await,
        reads::of_tenant(&mut connection, &user, None, 1).await,
    ];
    assert!(
        refused
            .iter()
            .all(|result| matches!(result, Err(ReadError::NotAllowed)))
    );
}

#[tokio::test]
async fn one_user_is_read_together_with_the_checkpoint_of_its_partition() {
    let views = Views::create().await;
    let mut log = History::default();
    let (acme, id) = (tenant("acme"), Uuid::from_u128(1));
    let first = log.record(&acme, id, &registered(id, "Ada", "eu-west", [1; 32]));
    let partition = first.address.partition;
    views
        .apply(&[first, log.record(&acme, id, &active(1))])
        .await;
    let mut connection = views.connection().await;
    let user = scope("acme", Role::User);
    let (standing, row) = reads::by_id(&mut connection, &user, id, partition)
        .await
        .expect("a read")
        .expect("a generation");
    assert_eq!(standing.as_of().to_string(), format!("1.{partition}.2"));
    assert_eq!(row.map(|row| row.version), Some(2));
    let nobody = reads::by_id(&mut connection, &user, Uuid::from_u128(2), partition)
        .await
        .expect("a read");
    assert_eq!(nobody.expect("a generation").1, None);

    views
        .execute("update projection.generation set state = 'filling'")
        .await;
    assert_eq!(
        reads::by_id(&mut connection, &user, id, partition)
            .await
            .expect("a read"),
        None
    );
    let list = reads::by_ids(&mut connection, &user, &[id]).await;
    assert_eq!(list.expect("a read"), None);
}

/// Fills the table by SQL, so that a plan by sequential scan would be the worse one, and asks for
/// every plan twice: with the values known and with them unknown.
#[tokio::test]
async fn every_hot_statement_is_answered_by_an_index() {
    let views = Views::create().await;
    views
        .execute(
            "insert into read_model.user_view_g1 (tenant, id, home, version, status, region, email_hash, created_at, last_active)
             select 'acme', gen_random_uuid(), n % 4, 1, 1, 'r-' || n % 5, sha256(n::text::bytea), now(), now() - n * interval '1 s'
             from generate_series(1, 20000) n",
        )
        .await;
    views.execute("analyze read_model.user_view_g1").await;
    let arguments = [
        (HOT[0], "'acme', gen_random_uuid(), 1"),
        (
            HOT[1],
            "'acme', array[gen_random_uuid(), gen_random_uuid()]",
        ),
        (
            HOT[2],
            "'acme', 'r-1', now() - interval '1 h', now(), gen_random_uuid(), 21",
        ),
        (HOT[3], "'acme', array[sha256('1')]"),
        (HOT[4], "'acme', gen_random_uuid(), false, 21"),
    ];
    for (number, (statement, values)) in arguments.into_iter().enumerate() {
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let mut connection = views.connection().await;
            let prepare =
                format!("set plan_cache_mode = {mode}; prepare hot_{number}{mode} as {statement}");
            sqlx::raw_sql(&prepare)
                .execute(&mut *connection)
                .await
                .expect("prepared");
            let explain = format!("explain execute hot_{number}{mode}({values})");
            let lines = sqlx::raw_sql(&explain)
                .fetch_all(&mut *connection)
                .await
                .expect("a plan");
            let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
            let plan = plan.join("\n");
            let scanned = plan.contains("Seq Scan on user_view_g1");
            assert!(
                !scanned && plan.contains("user_view_g1"),
                "{statement}\n{mode}\n{plan}"
            );
            assert!(!plan.contains("Sort"), "{statement}\n{mode}\n{plan}");
        }
    }
}
