//! How long until a write is seen: a few writes a second are followed by reads without a token,
//! one after the other, until one shows them. Clients without tokens see what these see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::client::{Answer, Request};
use crate::crowd::VirtualUser;
use crate::run::Running;

/// The pause between two looks: what it costs in precision it saves in load.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A write that is not seen by then counts as not seen.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// Decides which writes are followed.
#[derive(Debug)]
pub(crate) struct Watcher {
    began: Instant,
    spacing: Option<Duration>,
    /// When the next one may be followed, in microseconds since `began`.
    next: AtomicU64,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Watcher {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            began: Instant::now(),
            spacing: Duration::from_secs(1).checked_div(per_second),
            next: AtomicU64::new(0),
        }
    }

    /// Follows this write, unless one was followed just now.
    pub(crate) fn follow(
        &self,
        running: &Arc<Running>,
        user: &Arc<VirtualUser>,
        version: u64,
        acknowledged: Instant,
    ) {
        if !self.takes(acknowledged) {
            return;
        }
        let (running, user) = (Arc::clone(running), Arc::clone(user));
        let tasks = running.tasks.clone();
        tasks.spawn(async move {
            let looking = seen(&running, &user, version);
            tokio::select! {
                seen = tokio::time::timeout(SEEN_WITHIN, looking) => {
                    let after = seen.ok().map(|at| at.saturating_duration_since(acknowledged));
                    running.recorder.visible(after);
                }
                () = running.give_up.cancelled() => {}
            }
        });
    }

    fn takes(&self, at: Instant) -> bool {
        let Some(spacing) = self.spacing else {
            return false;
        };
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let now = micros(at.saturating_duration_since(self.began));
        let next = self.next.load(Ordering::Relaxed);
        now >= next
            && self
                .next
                .compare_exchange(
                    next,
                    now + micros(spacing),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }
}

/// Looks until it is shown; when that was. An error is no sight, and the next look may be one.
async fn seen(running: &Running, user: &VirtualUser, version: u64) -> Instant {
    let world = &running.world;
    loop {
        let path = format!("/v1/users/{}", user.id);
        let request = Request::get(path, world.crowd.credential(user));
        if let Ok(answer) = world.client.send_beside(&request).await
            && shows(&answer, version)
        {
            return Instant::now();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn shows(answer: &Answer, version: u64) -> bool {
    let shown: Option<Versioned> = serde_json::from_slice(&answer.body).ok();
    answer.status == 200 && shown.is_some_and(|shown| shown.version >= version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_are_followed_and_no_more() {
        let watcher = Watcher::new(10);
        let taken =
            (0..1000).filter(|ms| watcher.takes(watcher.began + Duration::from_millis(*ms)));
        assert_eq!(taken.count(), 10);
        assert!(!Watcher::new(0).takes(Instant::now()));
    }
}
