//! A process that serves: where it is reached, and how it is started again in the same place.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::binaries;
use super::client::Client;
use super::process::{Process, Signal};
use crate::eventually;
use crate::spare_port;

/// How long a process may take to become ready, on a busy machine and not optimised.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a process may take to stop after SIGTERM; its own grace is 25 s.
const STOPPED_WITHIN: Duration = Duration::from_secs(35);

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The write API.
    CommandApi,
    /// The projection engine.
    Projector,
    /// The read API.
    QueryApi,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommandApi => "command-api",
            Self::Projector => "projector",
            Self::QueryApi => "query-api",
        })
    }
}

/// A process on ports of its own.
pub struct Node {
    service: Service,
    environment: Vec<(String, String)>,
    log: PathBuf,
    data: u16,
    admin: u16,
    process: Process,
}

impl Node {
    /// Starts a process with these settings and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start(
        service: Service,
        mut environment: Vec<(String, String)>,
        log: PathBuf,
    ) -> Self {
        let (data, admin) = (spare_port(), spare_port());
        let listen = |port: u16| format!("127.0.0.1:{port}");
        environment.push(("ADMIN_LISTEN".to_owned(), listen(admin)));
        match service {
            Service::CommandApi => environment.push(("COMMAND_LISTEN".to_owned(), listen(data))),
            Service::QueryApi => environment.push(("QUERY_LISTEN".to_owned(), listen(data))),
            Service::Projector => {}
        }
        let process = Process::spawn(&binaries::path(&service.to_string()), &environment, &log);
        let mut node = Self {
            service,
            environment,
            log,
            data,
            admin,
            process,
        };
        node.ready().await;
        node
    }

    /// The base URL of its API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.data)
    }

    /// The base URL of its admin port.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGKILL; nothing serves there until [`Self::start_again`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again in the same place, with the same settings.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start_again(&mut self) {
        let binary = binaries::path(&self.service.to_string());
        self.process = Process::spawn(&binary, &self.environment, &self.log);
        self.ready().await;
    }

    /// SIGTERM, and waits for its end, which must be a good one.
    ///
    /// # Panics
    /// When it does not stop, or says that something went wrong.
    pub async fn stop(&mut self) {
        self.process.signal(Signal::Terminate);
        let status = self.process.wait(STOPPED_WITHIN).await;
        assert!(
            status.success(),
            "{} ended with {status} after SIGTERM",
            self.service
        );
    }

    /// Its metrics, in the text format.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self) -> String {
        let answer = Client::new()
            .get(&format!("{}/metrics", self.admin_url()))
            .await;
        answer.expect("metrics").text()
    }

    async fn ready(&mut self) {
        let (client, url) = (Client::new(), format!("{}/readyz", self.admin_url()));
        let service = self.service;
        eventually(READY_WITHIN, || {
            assert!(
                self.process.is_running(),
                "{service} ended at its start:\n{}",
                self.process.log()
            );
            let (client, url) = (client.clone(), url.clone());
            async move {
                match client.get(&url).await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    other => Err(format!("{service} is not ready: {other:?}")),
                }
            }
        })
        .await;
    }
}
