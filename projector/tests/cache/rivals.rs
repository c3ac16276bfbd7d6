//! Two projectors that take partitions from each other while users change and readers fill: what is
//! in Redis at the end equals its row, or is absent (I11); and meanwhile no reader is shown less
//! than it was promised.

use std::time::Duration;

use uuid::Uuid;

use crate::stage::{Projector, Stage};

const USERS: u32 = 24;
const ROUNDS: u32 = 60;

fn dice(sides: u128) -> u128 {
    Uuid::new_v4().as_u128() % sides
}

async fn doze() {
    let millis = u64::try_from(dice(12)).expect("a small number, a row that is there");
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Works, is late with Redis, and gives its partitions away now and then with effects still queued.
async fn live(projector: &mut Projector) {
    for _ in 0..ROUNDS {
        projector.engine.step().await;
        doze().await;
        if dice(4) == 0 {
            projector.engine.leave().await;
            doze().await;
        }
        if dice(3) > 0 {
            projector.follower.step().await;
        }
    }
}

async fn change(stage: &Stage) {
    for round in 0..ROUNDS * 3 {
        let number =
            u32::try_from(dice(u128::from(USERS))).expect("a small number, a row that is there");
        stage.rename(number, &format!("round {round}")).await;
        doze().await;
    }
}

/// The version that PostgreSQL shows is in what is read for its position afterwards, or a miss.
async fn read(stage: &Stage) {
    let snapshot = "select u.version, c.position from read_model.user_view u, \
        projection.checkpoint c where u.id = $1 and c.projection = 'user_view' \
        and c.generation = 1 and c.partition = $2";
    for _ in 0..ROUNDS * 2 {
        let number =
            u32::try_from(dice(u128::from(USERS))).expect("a small number, a row that is there");
        let user = stage.user(number);
        let (version, position): (i64, i64) = sqlx::query_as(snapshot)
            .bind(user.id)
            .bind(stage.partition(&user).as_i32())
            .fetch_one(&stage.pool)
            .await
            .expect("a small number, a row that is there");
        if let Some((row, good_for)) = stage.read(number).await
            && good_for >= position
        {
            assert!(row.version >= version, "{} after {version}", row.version);
        }
        if dice(8) == 0 {
            stage.warm().await;
        }
        doze().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_projectors_that_trade_partitions_leave_no_value_that_differs_from_its_row() {
    let stage = Stage::shared().await;
    stage.register(0..USERS).await;
    let mut one = stage.projector().await;
    stage.settle(&mut one).await;
    stage.warm().await;
    let mut two = stage.projector().await;
    tokio::join!(live(&mut one), live(&mut two), change(&stage), read(&stage));
    // One goes; what it had queued is written late, into the other's work.
    one.engine.leave().await;
    two.engine.step().await;
    one.follower.step().await;
    stage.settle(&mut two).await;
    stage.warm().await;
    let checked = stage.check().await;
    assert_eq!((checked.wrong, checked.named), (0, vec![]));
    assert_eq!(checked.right, u64::from(USERS));
}
