//! Who holds how many leases, of the relay or of the projection engine.

use std::time::Duration;

use sqlx::PgPool;
use testkit::eventually;
use testkit::pipeline::Pipeline;

/// How long a hand-over may take on a busy machine; it waits for no lease to run out.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(60);

/// The leases of one kind.
pub(crate) struct Leases {
    pool: PgPool,
    table: &'static str,
}

impl Leases {
    pub(crate) fn of_relay(pipeline: &Pipeline) -> Self {
        Self {
            pool: pipeline.pool(),
            table: "event_store.relay_lease",
        }
    }

    pub(crate) fn of_projector(pipeline: &Pipeline) -> Self {
        Self {
            pool: pipeline.pool(),
            table: "projection.lease",
        }
    }

    /// Waits until each process that holds any holds so many, the least first.
    pub(crate) async fn are_shared<const N: usize>(&self, shares: [i64; N]) {
        eventually(HANDED_OVER_WITHIN, || async {
            let held = self.held().await;
            (held == shares).then_some(()).ok_or(held)
        })
        .await;
    }

    async fn held(&self) -> Vec<i64> {
        let held = format!(
            "select count(*) from {} where owner is not null and expires_at > clock_timestamp()
             group by owner order by 1",
            self.table
        );
        let held = sqlx::query_scalar(&held).fetch_all(&self.pool);
        held.await.expect("the leases")
    }
}
