//! Ours: the group commit, with the entries that command-api makes.

use event_store::entry::{Answer, Claim, KeyedOutcome, OutcomeKey};
use event_store::{AppendSettings, Appender, EventStore};
use events::user_fields::EmailKey;
use events::{Metadata, Role, Scope, TenantId};
use sqlx::postgres::PgPoolOptions;
use testkit::Cluster;
use uuid::Uuid;

use super::AppendArgs;
use super::cell::{self, Batches, Cell, Contender};
use super::databases::{MEASURED, OURS};
use super::decider::{self, Decider};
use super::writer::Writer;
use crate::figure::float;
use crate::gauge::Gauge;
use crate::people::People;

/// What command-api writes beside an event: the request, its trace and who asked.
pub(super) const METADATA: [(&str, &str); 3] = [
    ("request_id", "0193e5c4-7a01-7c3e-9b52-0d4f6a1e2b3c"),
    (
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    ("principal", "0193e5c4-7a01-7c3e-9b52-aaaaaaaaaaaa"),
];

const POOL: u32 = 4;

/// The open store with its lanes.
pub(super) struct Store {
    store: EventStore,
    appender: Appender,
    pool: sqlx::PgPool,
}

impl Store {
    /// Opens a fresh copy.
    ///
    /// # Errors
    /// Of the server.
    pub(super) async fn open(cluster: &Cluster, args: &AppendArgs) -> anyhow::Result<Self> {
        cluster.fresh(MEASURED, OURS).await?;
        let options = cluster.options(MEASURED);
        let pool = PgPoolOptions::new()
            .min_connections(POOL)
            .max_connections(POOL)
            .connect_with(options.clone())
            .await?;
        let store = EventStore::open(pool.clone()).await?;
        let settings = AppendSettings {
            lanes: args.lanes,
            ..AppendSettings::default()
        };
        let appender = Appender::start(store.clone(), options, settings)?;
        Ok(Self {
            store,
            appender,
            pool,
        })
    }

    /// Ends the lanes and the pool.
    pub(super) async fn close(self) {
        self.appender.shutdown().await;
        self.pool.close().await;
    }

    /// A writer that hands its entries to the append; it goes on until the gauge stops it.
    pub(super) fn writer(
        &self,
        number: u16,
        extras: Extras,
        gauge: Gauge,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + 'static + use<> {
        let appender = self.appender.clone();
        let writer = Writer::new(number, appender, self.store.partitions(), extras);
        writer.run(usize::from(number), gauge)
    }
}

/// Measures it once.
///
/// # Errors
/// Of the server or of a command.
pub(super) async fn run(
    cluster: &Cluster,
    args: &AppendArgs,
    contender: Contender,
    level: u16,
) -> anyhow::Result<Cell> {
    let store = Store::open(cluster, args).await?;
    let gauge = Gauge::new();
    let which = (contender, level);
    let cell = if contender == Contender::Events {
        let writers = (0..level).map(|number| store.writer(number, Extras::NONE, gauge.clone()));
        cell::measure(cluster, args, which, batches, writers, &gauge).await?
    } else {
        let extras = Extras {
            claims: true,
            keys_percent: args.keys_percent,
        };
        let aggregates = decider::aggregates(store.store.clone(), store.appender.clone());
        let writers = (0..level).map(|number| {
            let decider = Decider::new(number, aggregates.clone(), extras);
            decider.run(usize::from(number), gauge.clone())
        });
        cell::measure(cluster, args, which, batches, writers, &gauge).await?
    };
    store.close().await;
    Ok(cell)
}

/// What the lanes put into transactions, as their own metric says.
pub(super) fn batches() -> Batches {
    let families = prometheus::gather();
    let family = families
        .iter()
        .find(|family| family.name() == "append_batch_events");
    let Some(metric) = family.and_then(|family| family.get_metric().first()) else {
        return Batches::default();
    };
    let histogram = metric.get_histogram();
    Batches {
        events: histogram.get_sample_sum(),
        transactions: float(histogram.get_sample_count()),
    }
}

/// What a command does beside its events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extras {
    /// A registration claims its address.
    pub(super) claims: bool,
    /// Of a hundred commands so many carry an idempotency key.
    pub(super) keys_percent: u64,
}

impl Extras {
    /// What stock can do, too.
    pub(super) const NONE: Self = Self {
        claims: false,
        keys_percent: 0,
    };

    /// Whether the next command carries a key.
    pub(super) fn is_keyed(&self, people: &mut People) -> bool {
        people.below(100) < self.keys_percent
    }
}

/// On whose behalf everything is written.
pub(super) fn scope() -> Scope {
    let tenant = TenantId::parse("acme").expect("a tenant");
    Scope {
        tenant,
        principal: METADATA[2].1.to_owned(),
        role: Role::Admin,
    }
}

/// What command-api writes beside every event.
pub(super) fn metadata() -> Metadata {
    let text = |index: usize| Some(METADATA[index].1.to_owned());
    Metadata {
        request_id: text(0),
        traceparent: text(1),
        principal: text(2),
    }
}

/// The claims that command-api makes of a decision's keys.
pub(super) fn claims(keys: &[EmailKey], owner: &str) -> Vec<Claim> {
    let claim = |key: &EmailKey| Claim {
        kind: "email",
        key_hash: key.hash,
        key_version: key.key_version,
        owner: owner.to_owned(),
    };
    keys.iter().map(claim).collect()
}

/// An idempotency key that was never used, with its answers.
pub(super) fn keyed_outcome(scope: &Scope, id: &str) -> KeyedOutcome {
    let key = Uuid::new_v4();
    let answer = |status, code| Answer {
        status,
        code,
        id: Some(id.to_owned()),
    };
    KeyedOutcome {
        key: OutcomeKey {
            principal: scope.principal.clone(),
            route: "PATCH /v1/users/{id}",
            key: key.to_string(),
        },
        fingerprint: *blake3::hash(key.as_bytes()).as_bytes(),
        decided: answer(200, None),
        claim_taken: answer(409, Some("email_taken")),
        id_taken: answer(409, Some("id_taken")),
    }
}
