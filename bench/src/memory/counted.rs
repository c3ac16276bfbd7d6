//! A service in the program that counts its allocations, and its counters before and after a run.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::figure::float;
use crate::services::{Deployment, Service, Setting};

const READ_WITHIN: Duration = Duration::from_secs(5);

/// A running one.
pub(super) struct Counted {
    pub(super) service: Service,
    counters: SocketAddr,
}

/// What a request allocated, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Allocated {
    pub(super) allocations: f64,
    pub(super) bytes: f64,
}

/// Since the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    allocations: u64,
    bytes: u64,
}

impl Counted {
    /// Starts the service of this name, which `listen` tells where to listen.
    pub(super) async fn start(
        deployment: &Deployment,
        name: &str,
        listen: &'static str,
        settings: &[Setting],
    ) -> anyhow::Result<Self> {
        let (service, counters) = deployment.counted(name, listen, settings)?;
        let service = service.ready().await?;
        Ok(Self { service, counters })
    }

    /// What each of `count` requests allocates while this runs.
    pub(super) async fn during(
        &self,
        run: impl Future<Output = anyhow::Result<()>>,
        count: usize,
    ) -> anyhow::Result<Allocated> {
        let before = self.read().await?;
        run.await?;
        let after = self.read().await?;
        Ok(after.since(before).of_each(u64::try_from(count)?))
    }

    /// Look-ups of users in the caches: all of the first one's, or a layer's hits.
    pub(super) async fn look_ups(&self, hits_of: &str) -> anyhow::Result<f64> {
        let label = match hits_of {
            "" => "kind=\"user\",layer=\"l1\"".to_owned(),
            layer => format!("layer=\"{layer}\",result=\"hit\""),
        };
        self.service.metric("cache_requests_total", &label).await
    }

    async fn read(&self) -> anyhow::Result<Counters> {
        let line = async {
            let mut line = String::new();
            let mut stream = TcpStream::connect(self.counters).await?;
            stream.read_to_string(&mut line).await?;
            anyhow::Ok(line)
        };
        let line = tokio::time::timeout(READ_WITHIN, line).await;
        Counters::parse(&line.context("the counters do not answer")??)
    }
}

impl Counters {
    fn parse(line: &str) -> anyhow::Result<Self> {
        let (allocations, bytes) = line.trim().split_once(' ').context("two counters")?;
        Ok(Self {
            allocations: allocations.parse()?,
            bytes: bytes.parse()?,
        })
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            allocations: self.allocations - earlier.allocations,
            bytes: self.bytes - earlier.bytes,
        }
    }

    fn of_each(self, count: u64) -> Allocated {
        Allocated {
            allocations: float(self.allocations) / float(count),
            bytes: float(self.bytes) / float(count),
        }
    }
}

impl Allocated {
    pub(super) fn words(self) -> String {
        let Self { allocations, bytes } = self;
        format!("{bytes:.0} B in {allocations:.1} allocations")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_allocates_what_the_counters_rose_by_divided_by_how_many_there_were() {
        let before = Counters::parse("100 4096\n").unwrap();
        let after = Counters::parse("400 14096\n").unwrap();
        let allocated = after.since(before).of_each(100);
        assert_eq!(allocated.words(), "100 B in 3.0 allocations");
        assert!(Counters::parse("100").is_err());
    }
}
