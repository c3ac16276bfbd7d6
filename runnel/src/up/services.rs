//! The services in this one process, wired without a network between them: the append wakes the
//! projector, and what the projector applied wakes the reads that wait for it.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use platform::admin::{self, Readiness};
use platform::shutdown::Shutdown;
use query_api::News;

use super::settings::UpSettings;

/// Built services; their ports are bound.
pub(super) struct Services {
    command: command_api::Application,
    query: query_api::Application,
    projector: projector::Application,
    admin: actix_web::dev::Server,
    /// Where each answers.
    pub(super) urls: Urls,
}

/// Base URLs.
pub(super) struct Urls {
    pub(super) command: String,
    pub(super) query: String,
    pub(super) admin: String,
}

impl Services {
    /// Builds them in the order of a write's way.
    ///
    /// # Errors
    /// When one cannot be built, such as over a port that is taken.
    pub(super) async fn build(
        settings: UpSettings,
        readiness: &Readiness,
    ) -> anyhow::Result<Services> {
        let command_listen = settings.command.command.listen;
        let (query_listen, admin_listen) = (settings.query.query.listen, settings.admin.listen);
        let admin = TcpListener::bind(admin_listen)
            .with_context(|| format!("cannot listen on {admin_listen} (ADMIN_LISTEN)"))?;
        let admin_port = admin.local_addr()?.port();
        let admin = admin::serve(admin, readiness.clone())?;
        let command = command_api::Application::build(settings.command, readiness).await?;
        let wiring = projector::Wiring {
            heads: Some(command.heads_changed()),
            readiness: readiness.clone(),
            // The lock on the home is the lock on its cluster.
            sole: settings.own_database,
        };
        let projector = projector::Application::build(settings.projector, wiring).await?;
        let news = News::InProcess(projector.subscribe());
        let query = query_api::Application::build(settings.query, news, readiness).await?;
        let urls = Urls {
            command: base_url(command_listen, command.port()),
            query: base_url(query_listen, query.port()),
            admin: base_url(admin_listen, admin_port),
        };
        Ok(Services {
            command,
            query,
            projector,
            admin,
            urls,
        })
    }

    /// Serves until the shutdown, or until a service fails: then the others stop, too. The
    /// projector goes on until both APIs have answered what they had accepted, because reads may
    /// wait for it; the admin port answers to the end.
    ///
    /// # Errors
    /// The first service's that failed.
    pub(super) async fn run(self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let Services {
            command,
            query,
            projector,
            admin,
            ..
        } = self;
        let admin_handle = admin.handle();
        let admin = tokio::spawn(admin);
        let drained = Shutdown::new();
        let apis = async {
            let commands = ending_all(shutdown, command.run_until(shutdown.stopped()));
            let queries = ending_all(shutdown, query.run_until(shutdown.stopped()));
            let ended = tokio::join!(commands, queries);
            drained.stop();
            ended
        };
        let projections = ending_all(shutdown, projector.run_until(drained.stopped()));
        let ((commands, queries), projections) = tokio::join!(apis, projections);
        admin_handle.stop(true).await;
        admin.await.context("the admin port panicked")??;
        commands.context("the command API failed")?;
        queries.context("the query API failed")?;
        projections.context("the projector failed")
    }
}

/// Runs a service; when it ends, by failure or by itself, everything else is told to stop.
async fn ending_all<T>(shutdown: &Shutdown, service: impl Future<Output = T>) -> T {
    let ended = service.await;
    shutdown.stop();
    ended
}

/// A listener on all addresses is reached by loopback from here.
fn base_url(listen: SocketAddr, port: u16) -> String {
    let ip = listen.ip();
    let host = match (ip.is_unspecified(), ip.is_ipv6()) {
        (true, false) => "127.0.0.1".to_owned(),
        (true, true) => "[::1]".to_owned(),
        (false, true) => format!("[{ip}]"),
        (false, false) => ip.to_string(),
    };
    format!("http://{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_can_be_pasted_whatever_was_listened_to() {
        let url = |listen: &str| base_url(listen.parse().unwrap(), 8080);
        assert_eq!(url("127.0.0.1:0"), "http://127.0.0.1:8080");
        assert_eq!(url("0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(url("[::]:8080"), "http://[::1]:8080");
        assert_eq!(url("[::1]:8080"), "http://[::1]:8080");
    }
}
