//! Two servers, a way to each, and the processes that know only the front door.

use testkit::Cluster;
use testkit::pipeline::proxy::Proxy;
use testkit::pipeline::{Node, Pipeline, Service};

use crate::reader::Reader;

/// Who was cut off asks again soon.
const SETTINGS: &str = "fsync = off
shared_buffers = 32MB
wal_retrieve_retry_interval = 200ms";

/// The maintenance database is as good as any: the servers are the test's own.
pub(super) const DATABASE: &str = "postgres";

pub(super) struct Stage {
    pub(super) primary: Cluster,
    pub(super) standby: Cluster,
    pub(super) replication: Proxy,
    pub(super) front: Proxy,
    pub(super) pipeline: Pipeline,
    pub(super) commands: Vec<Node>,
    pub(super) query: Node,
    pub(super) projectors: Vec<Node>,
}

impl Stage {
    /// Every process gets these settings.
    pub(super) async fn build(settings: &[(&str, &str)]) -> Self {
        let primary = Cluster::start("test", SETTINGS).await.expect("a primary");
        let direct = primary.options(DATABASE);
        let replication = Proxy::start(&direct).await;
        let front = Proxy::start(&direct).await;
        let through = |proxy: &Proxy| proxy.url(&direct).parse().expect("a URL of ours");
        let pipeline = Pipeline::create_on(through(&front)).await;
        let standby = Cluster::standby_of(&primary, &through(&replication)).await;
        let standby = standby.expect("a standby");
        let (command, query, projector) = tokio::join!(
            pipeline.start_with(Service::CommandApi, settings),
            pipeline.start_with(Service::QueryApi, settings),
            pipeline.start_with(Service::Projector, settings),
        );
        Self {
            primary,
            standby,
            replication,
            front,
            pipeline,
            commands: vec![command],
            query,
            projectors: vec![projector],
        }
    }

    /// One who reads from this node.
    pub(super) fn reader(&self, node: &Node) -> Reader {
        Reader::of(&self.pipeline, node)
    }
}
