//! The operator's verbs: a planted wrong value is found, a purge leaves nothing, and what readers
//! of another store have in the same Redis stays.

use std::process::Command;

use projector::cache::purge::purge;
use read_model::cache::{Envelope, envelope};
use read_model::user_view::cached;
use testkit::history::tenant;

use crate::stage::Stage;

/// Puts bytes in a value's place, as no program of ours would.
async fn plant(stage: &Stage, number: u32, bytes: Vec<u8>) {
    let mut set = redis::cmd("SET");
    set.arg(stage.value_key(number).as_str()).arg(bytes);
    let () = set
        .query_async(&mut stage.redis().await)
        .await
        .expect("it works here");
}

#[tokio::test]
async fn a_check_finds_every_planted_wrong_value_and_fails() {
    let stage = Stage::shared().await;
    let mut projector = stage.projector().await;
    stage.register(0..10).await;
    stage.settle(&mut projector).await;
    for number in 0..10 {
        stage.rename(number, "Ada").await;
    }
    stage.settle(&mut projector).await;
    stage.warm().await;
    assert!(run(&stage, &["check"]).status.success(), "nothing is wrong");
    let sealed = async |number: u32, of: u32, change: fn(&mut read_model::user_view::UserRow)| {
        let partition = stage.partition(&stage.user(number));
        let mark = stage.mark(partition).await.expect("it works here");
        let (mut row, _) = stage.read(number).await.expect("it works here");
        change(&mut row);
        let envelope = Envelope {
            epoch: mark.epoch,
            as_of: format!("1.{partition}.{}", mark.position)
                .parse()
                .expect("it works here"),
            revision: 1,
        };
        envelope::seal(&stage.value_key(of), &envelope, &cached::encode(&row))
    };
    let older = sealed(1, 1, |row| row.version -= 1).await;
    let newer = sealed(2, 2, |row| row.version += 1).await;
    let other = sealed(3, 3, |row| row.name = Some("Eve".to_owned())).await;
    let foreign = sealed(4, 5, |_| ()).await;
    plant(&stage, 1, older).await;
    plant(&stage, 2, newer).await;
    plant(&stage, 3, other).await;
    plant(&stage, 4, foreign).await;
    plant(&stage, 6, b"nonsense".to_vec()).await;
    let output = run(&stage, &["check", "--output", "json"]);
    assert!(!output.status.success());
    let checked: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it works here");
    assert_eq!(
        (&checked["wrong"], &checked["right"]),
        (&5.into(), &5.into())
    );
    let mut why: Vec<_> = checked["named"]
        .as_array()
        .expect("it works here")
        .iter()
        .map(|wrong| wrong["why"].as_str().expect("it works here").to_owned())
        .collect();
    why.sort();
    assert_eq!(
        why,
        [
            "it differs from its row",
            "it is ahead of its row",
            "it is another key's",
            "it is no value",
            "it is older than `applied` says",
        ]
    );
}

#[tokio::test]
async fn a_purge_makes_everything_cold_deletes_it_and_leaves_other_stores_alone() {
    let (mine, yours) = (Stage::shared().await, Stage::shared().await);
    let (mut my, mut your) = (mine.projector().await, yours.projector().await);
    for (stage, projector) in [(&mine, &mut my), (&yours, &mut your)] {
        stage.register(0..10).await;
        stage.settle(projector).await;
        assert_eq!(stage.warm().await.filled, 10);
    }
    let partition = mine.partition(&mine.user(1));
    let before = mine.mark(partition).await.expect("it works here");
    let tools = mine.tools().await;
    let nobody = purge(&tools, Some(&tenant("nobody")))
        .await
        .expect("it works here");
    assert_eq!((nobody.made_cold, nobody.deleted), (0, 0));
    let purged = purge(&tools, None).await.expect("it works here");
    assert_eq!((purged.made_cold, purged.deleted), (4, 10));
    assert_ne!(
        mine.mark(partition).await.expect("it works here").epoch,
        before.epoch
    );
    assert_eq!(mine.name(1).await, None);
    assert_eq!(yours.name(1).await.as_deref(), Some("user-1"));
    // The projector goes on under the new epoch.
    mine.rename(1, "Ada").await;
    mine.settle(&mut my).await;
    assert_eq!(mine.warm().await.filled, 10);
    assert_eq!(mine.name(1).await.as_deref(), Some("Ada"));
    assert_eq!(mine.check().await.wrong, 0);
    let output = run(&mine, &["purge", "--tenant", "acme", "--output", "json"]);
    let purged: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it works here");
    assert_eq!(
        (&purged["made_cold"], &purged["deleted"]),
        (&0.into(), &10.into())
    );
    let output = run(&mine, &["warm", "--limit", "4", "--output", "json"]);
    let warmed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it works here");
    assert_eq!(
        (&warmed["looked_at"], &warmed["filled"]),
        (&4.into(), &4.into())
    );
}

fn run(stage: &Stage, words: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_projector"))
        .arg("cache")
        .args(words)
        .env("DATABASE_URL", stage.database.url())
        .env(
            "REDIS_URL",
            secrecy::ExposeSecret::expose_secret(&stage.settings.url),
        )
        .env("REDIS_TIMEOUT", "5s")
        .output()
        .expect("it works here")
}
