//! A rebuild's process that is stopped in the middle of its switch, as by a debugger or a frozen
//! machine: the server ends the switch, so readers wait for a moment and no longer.

use std::process::{Child, Command};
use std::time::Duration;

use testkit::eventually;

use crate::kills::{REBUILD, projector, rebuilt};
use crate::switches::{reader, shown};
use crate::world::{PATIENCE, World};

/// `idle_in_transaction_session_timeout` of a switch is one second; the rest is for a busy machine.
const READERS_WAIT_MAX: Duration = Duration::from_secs(10);

/// Killed when it is dropped: a stopped process would stay.
struct Process(Child);

impl Process {
    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many sessions hold the view for themselves, or wait to.
async fn switches(world: &World, granted: bool) -> i64 {
    let locks = "select count(*) from pg_locks
        where relation = 'read_model.user_view'::regclass and mode = 'AccessExclusiveLock'
            and granted = $1";
    let locks = sqlx::query_scalar(locks).bind(granted);
    locks.fetch_one(&world.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stopped_in_its_switch_does_not_keep_readers_out() {
    let (world, _engine) = World::live(500).await;
    let mut in_the_way = reader(&world).await;
    let mut process = Process(projector(&world, REBUILD).spawn().unwrap());
    loop {
        eventually(PATIENCE, || async {
            let waiting = switches(&world, false).await;
            if waiting == 1 { Ok(()) } else { Err(waiting) }
        })
        .await;
        process.signal("-STOP");
        in_the_way.rollback().await.unwrap();
        if switches(&world, true).await == 1 {
            break;
        }
        // The server had given way a moment before: once more.
        in_the_way = reader(&world).await;
        process.signal("-CONT");
    }
    let reading = tokio::time::timeout(READERS_WAIT_MAX, reader(&world)).await;
    let reading = reading.expect("readers are let in again");
    reading.rollback().await.unwrap();
    assert_eq!(shown(&world).await, 1);

    process.signal("-CONT");
    assert_eq!(process.0.wait().unwrap().code(), Some(1));
    assert_eq!(shown(&world).await, 1);
    let next = rebuilt(&world).await;
    assert!(next.status.success());
    assert_eq!(shown(&world).await, 2);
}
