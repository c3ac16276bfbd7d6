//! With DATABASE_URL set, that database is used and no other is started.

use testkit::TestDatabase;

use crate::process::{TestHome, Up};

#[tokio::test]
async fn a_given_database_is_used_and_none_is_started() {
    let (home, database) = (TestHome::new(), TestDatabase::create().await);
    let mut command = home.command(&["up"]);
    command
        .env("DATABASE_URL", database.url())
        .env("STORE_PARTITIONS", "4");
    let up = Up::start(command).await;
    let (id, _) = home.register("Ada Lovelace").await;
    assert_eq!(home.read(id).await["name"], "Ada Lovelace");
    assert!(!home.data().exists(), "a cluster was made");
    assert!(
        !home.told().contains_key("DATABASE_URL"),
        "a password from outside was copied"
    );
    let events: i64 = sqlx::query_scalar("select count(*) from event_store.event")
        .fetch_one(&database.pool())
        .await
        .unwrap();
    assert_eq!(events, 1);
    let (status, said) = up.end("INT").await;
    assert!(status.success(), "{said}");
}

#[tokio::test]
async fn a_store_of_another_number_of_partitions_is_refused() {
    let (home, database) = (TestHome::new(), TestDatabase::create().await);
    let migrate = |partitions: &str| {
        assert!(home.run(&["keys"]).status.success());
        let secret = home.path().join("keys/secret.key");
        let mut command = home.command(&["migrate"]);
        command
            .env("DATABASE_URL", database.url())
            .env("SECRET_KEY_FILE", secret);
        command
            .env("STORE_PARTITIONS", partitions)
            .output()
            .unwrap()
    };
    let first = migrate("4");
    assert!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    assert!(migrate("4").status.success(), "repeating it is no error");
    let other = migrate("8");
    let said = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert!(said.contains("4 partitions, not 8"), "{said}");
}
