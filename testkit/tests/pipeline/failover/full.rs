//! Kafka and Redis beside the store: what they held of the tail before it was lost, and that nobody
//! is shown it afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use events::record::Record;
use serde_json::Value;
use testkit::database::TEST_PARTITIONS;
use testkit::pipeline::Service;
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::ledger::Line;
use testkit::topic_log::{self, Finding};
use testkit::{OwnRedis, TestTopic, eventually};
use uuid::Uuid;

use super::lost::tokens_say_what_became_of_them;
use super::stage::Stage;
use super::watch::Names;
use super::{GONE, SHOWN, each_is};
use crate::leases::Leases;
use crate::relay::{RELAYED_WITHIN, relayed};
use crate::served::{counted, equals_postgres, redis_serves};

const FED_BY_KAFKA: &str = "projection_events_total{projection=\"user_view\",source=\"kafka\"}";
const FED_WITHIN: Duration = Duration::from_secs(60);
/// How long Kafka may fail to give its records.
const HELD_WITHIN: Duration = Duration::from_secs(60);

/// The servers.
pub(super) struct Full {
    topic: TestTopic,
    redis: OwnRedis,
}

/// What they hold at one moment.
pub(super) struct Holding {
    records: Vec<Record>,
    values: Vec<CachedUser>,
}

struct CachedUser {
    key: String,
    row: Value,
}

impl Full {
    pub(super) async fn start() -> Self {
        let (topic, redis) = (TestTopic::create().await, OwnRedis::start());
        Self { topic, redis }
    }

    pub(super) fn settings(&self) -> [(&str, &str); 4] {
        [
            ("KAFKA_BROKERS", self.topic.brokers()),
            ("KAFKA_TOPIC", self.topic.name()),
            ("RELAY_LEASE", "2s"),
            ("REDIS_URL", self.redis.url()),
        ]
    }

    /// A second command-api and a second projector take their shares of the leases: after the cut,
    /// so that those are lost with the tail.
    pub(super) async fn join(&self, stage: &mut Stage) {
        let settings = self.settings();
        let (command, projector) = tokio::join!(
            stage.pipeline.start_with(Service::CommandApi, &settings),
            stage.pipeline.start_with(Service::Projector, &settings),
        );
        stage.commands.push(command);
        stage.projectors.push(projector);
        Leases::of_relay(&stage.pipeline).are_shared([2, 2]).await;
        Leases::of_projector(&stage.pipeline)
            .are_shared([2, 2])
            .await;
    }

    /// Waits until both servers hold each of these users.
    pub(super) async fn come_to_hold(&self, users: &[Uuid]) {
        eventually(RELAYED_WITHIN, || async {
            let holding = self
                .look()
                .await
                .map_err(|finding| format!("{finding:?}"))?;
            let missing = |user: &&Uuid| !holding.has(&user.to_string());
            let missing: Vec<_> = users.iter().filter(missing).collect();
            missing
                .is_empty()
                .then_some(())
                .ok_or(format!("{missing:?}"))
        })
        .await;
    }

    pub(super) async fn hold(&self) -> Holding {
        eventually(HELD_WITHIN, || self.look()).await
    }

    /// Kafka may fail one look.
    async fn look(&self) -> Result<Holding, Finding> {
        let mut records = vec![];
        for partition in 0..TEST_PARTITIONS {
            records.extend(topic_log::read(&self.topic, partition).await?);
        }
        let keys = self
            .redis
            .run(&["--scan", "--pattern", "*}:user_view:*"])
            .lines()
            .filter(|key| !key.ends_with(":lease"))
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let values = keys.into_iter().filter_map(|key| {
            let value = self.redis.run(&["get", &key]);
            let (_, row) = value.split_once('\n')?;
            let row = serde_json::from_str(row).expect("a row is JSON");
            Some(CachedUser { key, row })
        });
        let values = values.collect();
        Ok(Holding { records, values })
    }

    /// `before` is what they held of the tail when the old primary had died.
    pub(super) async fn judge(
        &self,
        stage: &Stage,
        before: &Holding,
        (users, phantoms): (&[Uuid], &[Uuid]),
        (kept, lost): (&[Line], &[Line]),
    ) {
        relayed(&stage.pipeline, &self.topic).await;
        let log = stage.pipeline.event_log().await;
        let names = Names::of(&log);
        before.has_lost(&names, phantoms, lost);

        let settings = self.settings();
        let newcomer = stage.pipeline.start_with(Service::QueryApi, &settings);
        let newcomer = newcomer.await;
        let nodes = [&stage.query, &newcomer];
        equals_postgres(&stage.pipeline, &nodes, users).await;
        redis_serves(&stage.pipeline, &nodes, users).await;
        for node in nodes {
            let reader = stage.reader(node);
            each_is(&reader, phantoms, GONE).await;
            tokens_say_what_became_of_them(&reader, kept, lost).await;
        }
        self.hold().await.has_nothing_but(&names);
        let check = ["cache", "check", "--redis-url", self.redis.url()];
        stage.pipeline.run("projector", &check).await;
    }
}

impl Holding {
    fn has(&self, user: &str) -> bool {
        let is_of_user = |record: &Record| record.event.aggregate_id == user;
        self.records.iter().any(is_of_user)
            && self.values.iter().any(|value| value.row["id"] == user)
    }

    /// Of what readers ask for now; what they asked for before the promotion stays until it
    /// expires.
    fn has_nothing_but(&self, names: &Names) {
        let is_current = |value: &&CachedUser| value.key.contains(":i2g");
        let current: Vec<_> = self.values.iter().filter(is_current).collect();
        assert!(!current.is_empty(), "nothing is in Redis");
        let lost = current.iter().find(|value| !names.have(&value.row));
        let lost = lost.map(|value| (&value.key, &value.row));
        assert_eq!(lost, None, "a lost row is in Redis");
    }

    /// Else the test would prove nothing: not only what began in the lost tail was in both, but
    /// changes of what is kept, too.
    fn has_lost(&self, names: &Names, phantoms: &[Uuid], lost: &[Line]) {
        let lost: BTreeSet<_> = lost.iter().map(|line| line.request_id.as_str()).collect();
        let is_lost = |record: &&Record| {
            let metadata: Value = serde_json::from_str(record.event.metadata.get()).expect("JSON");
            let request = metadata["request_id"].as_str();
            request.is_some_and(|request| lost.contains(request))
        };
        let relayed = self.records.iter().filter(is_lost).count();
        assert!(
            relayed > 2 * phantoms.len(),
            "only {relayed} lost events were relayed"
        );
        let cached = self.values.iter().filter(|value| !names.have(&value.row));
        let cached = cached.count();
        assert!(
            cached > phantoms.len(),
            "only {cached} lost rows were in Redis"
        );
    }
}

/// What is written comes through Kafka again, and is shown.
pub(super) async fn kafka_feeds(stage: &Stage, writer: &Writer, user: Uuid) {
    let before = fed_by_kafka(stage).await;
    let (node, reader) = (stage.commands[0].url(), stage.reader(&stage.query));
    eventually(FED_WITHIN, || async {
        let rename = Command::rename(user, &format!("fed {}", Uuid::new_v4()));
        let answer = writer.send(&node, rename).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let path = format!("/{user}");
        reader.answers(&path, answer.token(), SHOWN).await;
        let now = fed_by_kafka(stage).await;
        (now > before).then_some(()).ok_or((before, now))
    })
    .await;
}

async fn fed_by_kafka(stage: &Stage) -> f64 {
    let mut fed = 0.0;
    for node in &stage.projectors {
        fed += counted(node, FED_BY_KAFKA).await;
    }
    fed
}
