//! The golden fold of `user_view`: a changed fold without a new `REVISION` fails here, and rows do
//! not depend on how the events were cut into batches.

mod database;

use std::fmt::Write as _;

use database::Views;
use events::user::{
    UserActivityRecorded, UserDeactivated, UserEmailChanged, UserProfileUpdated, UserReactivated,
};
use events::user_fields::EmailKey;
use events::{Partition, Patch, Personal, RecordedEvent, Scope, UserEvent};
use read_model::projection::{Projection as _, Target};
use read_model::user_view::{self, REVISION, UserRow, UserView};
use testkit::history::{History, active, minute, registered, tenant};
use uuid::Uuid;

fn plain(text: &str) -> Personal<String> {
    Personal::Plain(text.to_owned())
}

fn profile(name: Option<&str>, region: Option<&str>, bio: Patch<Personal<String>>) -> UserEvent {
    UserEvent::UserProfileUpdated(UserProfileUpdated {
        name: name.map(plain),
        region: region.map(str::to_owned),
        bio,
        avatar_url: Patch::Set(plain("https://a.example/a.png")),
        updated_at: minute(3),
    })
}

/// Every kind of event, over users of two tenants that share an id.
fn golden_history() -> Vec<RecordedEvent> {
    let mut log = History::default();
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    let id = Uuid::from_u128;
    let key = |byte| EmailKey {
        hash: [byte; 32],
        key_version: 1,
    };
    let moved = |personal| {
        UserEvent::UserEmailChanged(UserEmailChanged {
            email: personal,
            email_key: key(9),
            changed_at: minute(4),
        })
    };
    let off = UserEvent::UserDeactivated(UserDeactivated {
        deactivated_at: minute(8),
    });
    let on = UserEvent::UserReactivated(UserReactivated {
        reactivated_at: minute(9),
    });
    let precise = UserEvent::UserActivityRecorded(UserActivityRecorded {
        active_at: minute(6) + chrono::TimeDelta::nanoseconds(1_234_567),
    });
    let decomposed = profile(
        Some("  Zoe\u{308} "),
        Some("us-east"),
        Patch::Set(plain("analyst")),
    );
    let steps = [
        (&acme, 1, registered(id(1), "Ada", "eu-west", [1; 32])),
        (&globex, 1, registered(id(1), "Grace", "eu-west", [2; 32])),
        (&acme, 2, registered(id(2), "Edsger", "eu-west", [3; 32])),
        (&acme, 1, decomposed),
        (&acme, 1, precise),
        (&acme, 1, active(2)),
        (&acme, 2, off.clone()),
        (&acme, 3, registered(id(3), "Barbara", "eu-north", [4; 32])),
        (&acme, 3, off),
        (&acme, 3, on),
        (&acme, 3, moved(plain("b@example.org"))),
        (&globex, 1, profile(None, None, Patch::Clear)),
        (&acme, 4, registered(id(4), "Tony", "eu-north", [5; 32])),
        (&acme, 4, moved(Personal::Erased)),
        (
            &acme,
            4,
            UserEvent::UserProfileUpdated(UserProfileUpdated {
                name: Some(Personal::Erased),
                region: None,
                bio: Patch::Keep,
                avatar_url: Patch::Clear,
                updated_at: minute(5),
            }),
        ),
    ];
    steps
        .iter()
        .map(|(tenant, user, event)| log.record(tenant, id(*user), event))
        .collect()
}

/// The golden history, a partition at a time.
fn golden_partitions() -> impl Iterator<Item = (Partition, Vec<RecordedEvent>)> {
    let history = golden_history();
    (0..testkit::database::TEST_PARTITIONS).map(move |partition| {
        let of = |one: &&RecordedEvent| one.address.partition.0 == partition;
        let events = history.iter().filter(of).cloned().collect();
        (Partition(partition), events)
    })
}

async fn rows_after(batch: usize) -> Vec<UserRow> {
    let views = Views::create().await;
    for (_, events) in golden_partitions() {
        for batch in events.chunks(batch) {
            views.apply(batch).await;
        }
    }
    rows_of(&views).await
}

async fn rows_of(views: &Views) -> Vec<UserRow> {
    let mut rows = Vec::new();
    for name in ["acme", "globex"] {
        let scope = Scope {
            tenant: tenant(name),
            principal: "ops".to_owned(),
            role: events::Role::Operator,
        };
        let mut connection = views.connection().await;
        let some = user_view::reads::of_tenant(&mut connection, &scope, None, 100).await;
        rows.extend(some.expect("a read").expect("a generation").1);
    }
    rows
}

#[tokio::test]
async fn the_fold_is_what_its_revision_says() {
    let mut golden = String::new();
    for row in rows_after(1).await {
        writeln!(golden, "{row:#?}").expect("text");
    }
    insta::assert_snapshot!(format!("user_view_revision_{REVISION}"), golden);
}

#[tokio::test]
async fn rows_do_not_depend_on_the_size_of_batches() {
    let one_by_one = rows_after(1).await;
    assert_eq!(one_by_one.len(), 5);
    for batch in [2, 3, 1000] {
        assert_eq!(rows_after(batch).await, one_by_one, "batches of {batch}");
    }
}

#[tokio::test]
async fn a_fold_in_memory_comes_to_the_same_rows() {
    let views = Views::create().await;
    let mut connection = views.connection().await;
    for (partition, events) in golden_partitions() {
        let mut fold = UserView.bulk().expect("a fold in memory");
        for event in &events {
            fold.fold(event.borrowed())
                .expect("an event that can be folded");
        }
        let target = Target {
            generation: 1,
            partition,
        };
        let copied = fold.copy(&mut connection, target).await;
        copied.expect("rows that can be copied");
    }
    drop(connection);
    assert_eq!(rows_of(&views).await, rows_after(1).await);
}

#[tokio::test]
async fn an_event_that_contradicts_the_row_is_refused_with_its_position() {
    let views = Views::create().await;
    let mut log = History::default();
    let acme = tenant("acme");
    let id = Uuid::from_u128(1);
    let first = log.record(&acme, id, &registered(id, "Ada", "eu-west", [1; 32]));
    let second = log.record(&acme, id, &active(1));
    views.apply(&[first, second.clone()]).await;
    let refused = views.try_apply(&[second]).await.expect_err("a repeat");
    assert_eq!(
        refused.to_string(),
        "the event at position 2 cannot be folded: the event is older than the row"
    );

    let unknown = log.record(&acme, Uuid::from_u128(7), &active(1));
    let refused = views.try_apply(&[unknown]).await.expect_err("nobody");
    assert!(
        refused
            .to_string()
            .ends_with("the user was never registered"),
        "{refused}"
    );

    let mut newer = log.record(&acme, id, &active(9));
    newer.event_version = 2;
    let refused = views
        .try_apply(&[newer])
        .await
        .expect_err("a newer version");
    assert!(
        matches!(refused, read_model::ApplyError::Decode { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn what_follows_a_discarded_event_still_counts() {
    let views = Views::create().await;
    let mut log = History::default();
    let acme = tenant("acme");
    let id = Uuid::from_u128(1);
    let first = log.record(&acme, id, &registered(id, "Ada", "eu-west", [1; 32]));
    let _discarded = log.record(&acme, id, &active(1));
    let third = log.record(&acme, id, &active(2));
    views.apply(&[first]).await;
    let effects = views.try_apply(&[third]).await.expect("effects");
    assert_eq!(effects.rows, 1);
}

#[tokio::test]
async fn a_batch_touches_each_changed_user_once_and_ignores_other_aggregates() {
    let views = Views::create().await;
    let mut log = History::default();
    let acme = tenant("acme");
    let id = Uuid::from_u128(1);
    let first = log.record(&acme, id, &registered(id, "Ada", "eu-west", [1; 32]));
    let second = log.record(&acme, id, &active(1));
    let mut other = log.record(&acme, id, &active(2));
    other.aggregate_type = "post".to_owned();
    let effects = views
        .try_apply(&[first, second, other])
        .await
        .expect("effects");
    assert_eq!(effects.rows, 1);
    assert_eq!(effects.touched.len(), 1);
    assert_eq!(effects.touched[0].id, id.to_string());
}
