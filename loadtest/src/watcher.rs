//! How long until a write is seen: a few writes a second are followed by reads without a token,
//! one after the other, until one shows them. Clients without tokens see what these see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::client::{Answer, Request};
use crate::crowd::VirtualUser;
use crate::micros::micros;
use crate::run::Running;

/// The shortest pause between two looks: what it costs in precision it saves in load.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// Of the time that was waited, the part that is waited until the next look: a lag is known to so
/// much, and who waits long looks seldom.
const PAUSE_PART: u32 = 20;
/// Writes that are followed at the same time.
const FOLLOWED_MAX: usize = 32;
/// A write that is not seen by then counts as not seen.
pub(crate) const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// Decides which writes are followed.
#[derive(Debug)]
pub(crate) struct Watcher {
    began: Instant,
    spacing: Option<Duration>,
    /// When the next one may be followed, in microseconds since `began`.
    next: AtomicU64,
    followed: Arc<Semaphore>,
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
            followed: Arc::new(Semaphore::new(FOLLOWED_MAX)),
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
        let Ok(place) = Arc::clone(&self.followed).try_acquire_owned() else {
            return;
        };
        let (running, user) = (Arc::clone(running), Arc::clone(user));
        let tasks = running.tasks.clone();
        tasks.spawn(async move {
            let mut answered = false;
            let looking = seen(&running, &user, (version, acknowledged), &mut answered);
            tokio::select! {
                seen = tokio::time::timeout(SEEN_WITHIN, looking) => match seen {
                    Ok(at) => {
                        let after = at.saturating_duration_since(acknowledged);
                        running.recorder.visible(Some(after));
                    }
                    // Where nobody answered, nobody could see.
                    Err(_) if answered => running.recorder.visible(None),
                    Err(_) => {}
                },
                () = running.give_up.cancelled() => {}
            }
            drop(place);
        });
    }

    fn takes(&self, at: Instant) -> bool {
        let Some(spacing) = self.spacing else {
            return false;
        };
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
async fn seen(
    running: &Running,
    user: &VirtualUser,
    (version, acknowledged): (u64, Instant),
    answered: &mut bool,
) -> Instant {
    let world = &running.world;
    loop {
        let path = format!("/v1/users/{}", user.id);
        let request = Request::get(path, world.crowd.credential(user));
        running.recorder.looked();
        if let Ok(answer) = world.client.send_beside(&request).await {
            *answered |= matches!(answer.status, 200 | 404);
            if shows(&answer, version) {
                return Instant::now();
            }
        }
        let pause = PAUSE_MIN.max(acknowledged.elapsed() / PAUSE_PART);
        tokio::time::sleep(pause).await;
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
