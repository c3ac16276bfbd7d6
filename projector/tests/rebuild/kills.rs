//! The command line's own process, killed at random moments and run again: equal to live.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use testkit::eventually;
use uuid::Uuid;

use crate::people::mix;
use crate::world::{PATIENCE, World};

const EVENTS_DEFAULT: usize = 50_000;

/// Appended at a time.
const EVENTS_AT_ONCE: usize = 50_000;

const KILLS_DEFAULT: usize = 3;

/// A kill comes at most so long after the start; a run that was quicker is begun anew.
const KILLED_WITHIN: u64 = 2_500;

/// `RUNNEL_KILLS` and `RUNNEL_REBUILD_EVENTS`: `make kills` asks for more.
fn asked(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

pub(crate) fn projector(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_projector"));
    command
        .args(arguments)
        .env_clear()
        .env("RUNNEL_HOME", "/nonexistent")
        .env("DATABASE_URL", world.database.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) const REBUILD: &[&str] = &[
    "rebuild",
    "user_view",
    "--lease",
    "1s",
    "--parallelism",
    "1",
    "--live-lag-max",
    "100years",
    "--output",
    "json",
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Kills it within its time; whether it still ran.
async fn killed(mut child: Child, seed: u64) -> bool {
    tokio::time::sleep(Duration::from_millis(mix(seed) % KILLED_WITHIN)).await;
    let ran = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    ran
}

/// Runs it again until the dead one's lease has run out.
pub(crate) async fn rebuilt(world: &World) -> Output {
    eventually(PATIENCE, || async {
        let output = projector(world, REBUILD).output().unwrap();
        let errors = text(&output.stderr);
        if errors.contains("is being rebuilt by another process") {
            return Err(errors);
        }
        Ok(output)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_again_and_again_and_run_again_equals_live() {
    let (mut world, engine) = World::live(0).await;
    let mut left = asked("RUNNEL_REBUILD_EVENTS", EVENTS_DEFAULT);
    while left > 0 {
        let some = left.min(EVENTS_AT_ONCE);
        world.append(some).await;
        left -= some;
    }
    world.settle(&engine).await;
    let kills = asked("RUNNEL_KILLS", KILLS_DEFAULT);
    let seed = Uuid::new_v4().as_u64_pair().0;
    let (mut killed_runs, mut runs) = (0, 0);
    while killed_runs < kills {
        runs += 1;
        assert!(runs < 50, "no run is slow enough to be killed");
        let child = projector(&world, REBUILD).spawn().unwrap();
        if killed(child, seed.wrapping_add(runs)).await {
            killed_runs += 1;
        }
        engine.step().await;
    }
    let output = rebuilt(&world).await;
    assert!(
        output.status.success(),
        "seed {seed}: {}",
        text(&output.stderr)
    );
    let last = text(&output.stdout).lines().last().unwrap().to_owned();
    let report: serde_json::Value = serde_json::from_str(&last).unwrap();
    let generation = i32::try_from(report["generation"].as_i64().unwrap()).unwrap();
    assert_eq!(report["switched"], true);
    world.assert_equal(1, generation).await;
    let shown: i64 = sqlx::query_scalar("select count(*) from read_model.user_view")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(shown, i64::try_from(world.people.users.len()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_what_was_proven_and_exits_with_an_error_when_it_was_not() {
    let (world, _engine) = World::live(500).await;
    let run = |arguments: &[&str]| projector(&world, arguments).output().unwrap();
    let verified = run(&["verify", "user_view"]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    assert!(text(&verified.stdout).contains("every row equals generation 1's"));
    let rebuilt = run(&["rebuild", "user_view"]);
    assert!(rebuilt.status.success(), "{}", text(&rebuilt.stderr));
    assert!(text(&rebuilt.stdout).contains("generation 3 of user_view is shown"));
    let back = run(&["rollback", "user_view"]);
    assert!(back.status.success(), "{}", text(&back.stderr));
    let planned = run(&["gc", "user_view", "--with-last-standby"]);
    assert!(text(&planned.stdout).contains("would drop generation 3 (standby)"));
    let dropped = run(&["gc", "user_view", "--with-last-standby", "--yes"]);
    assert!(dropped.status.success(), "{}", text(&dropped.stderr));
    assert_eq!(world.generations().await, [(1, "active".to_owned())]);

    world
        .execute("delete from read_model.user_view_g1 where id = (select min(id::text)::uuid from read_model.user_view_g1)")
        .await;
    for verb in ["verify", "rebuild"] {
        let refused = run(&[verb, "user_view"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            text(&refused.stderr).contains("missing in what is shown"),
            "{}",
            text(&refused.stderr)
        );
        assert_eq!(world.generations().await[0], (1, "active".to_owned()));
        if verb == "verify" {
            run(&["gc", "user_view", "--yes"]);
        }
    }
}
