//! A Kafka broker of this run's own, or one that is given, and a fresh topic there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/kafka");
const ADMIN_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Broker {
    /// Where our own keeps its data.
    folder: Option<PathBuf>,
    pub(super) brokers: String,
    pub(super) topic: String,
}

impl Broker {
    /// Starts one when none is given, and makes the topic with the settings that Runnel's needs.
    pub(super) async fn start(given: Option<&str>, partitions: u16) -> anyhow::Result<Self> {
        let topic = format!("runnel.bench.{}", uuid::Uuid::new_v4().simple());
        let mut broker = Self {
            folder: None,
            brokers: given.unwrap_or_default().to_owned(),
            topic,
        };
        if given.is_none() {
            let folder = std::env::temp_dir().join(&broker.topic);
            broker.brokers = script("start", &folder)?;
            broker.folder = Some(folder);
        }
        broker.make_topic(partitions).await?;
        Ok(broker)
    }

    async fn make_topic(&self, partitions: u16) -> anyhow::Result<()> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let admin: AdminClient<DefaultClientContext> = config.create()?;
        let replication = TopicReplication::Fixed(1);
        let topic = NewTopic::new(&self.topic, i32::from(partitions), replication)
            .set("cleanup.policy", "delete")
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1")
            .set("unclean.leader.election.enable", "false")
            .set("max.message.bytes", "1048576");
        let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT));
        for made in admin.create_topics([&topic], &options).await? {
            if let Err((topic, code)) = made {
                bail!("topic {topic} was not made: {code}");
            }
        }
        Ok(())
    }
}

impl Drop for Broker {
    /// What fails here stays in the folder for temporary files.
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            drop(script("stop", folder));
            drop(std::fs::remove_dir_all(folder));
        }
    }
}

fn script(verb: &str, folder: &Path) -> anyhow::Result<String> {
    let output = Command::new(SCRIPT).arg(verb).arg(folder).output();
    let output = output.context("running scripts/kafka")?;
    if !output.status.success() {
        bail!(
            "scripts/kafka {verb}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
