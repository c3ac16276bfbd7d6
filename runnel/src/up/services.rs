//! The services in this one process, wired without a network between them.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use platform::admin::{self, Readiness};
use platform::shutdown::Shutdown;

use super::settings::UpSettings;

/// Built services; their ports are bound.
pub(super) struct Services {
    command: command_api::Application,
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
    pub(super) async fn build(settings: UpSettings, readiness: &Readiness) -> anyhow::Result<Services> {
        let (command_listen, admin_listen) = (settings.command.command.listen, settings.admin.listen);
        let admin = TcpListener::bind(admin_listen)
            .with_context(|| format!("cannot listen on {admin_listen} (ADMIN_LISTEN)"))?;
        let admin_port = admin.local_addr()?.port();
        let admin = admin::serve(admin, readiness.clone())?;
        let command = command_api::Application::build(settings.command, readiness).await?;
        let urls = Urls {
            command: base_url(command_listen, command.port()),
            query: String::new(),
            admin: base_url(admin_listen, admin_port),
        };
        Ok(Services { command, admin, urls })
    }

    /// Serves until the shutdown.
    pub(super) async fn run(self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let admin = self.admin.handle();
        let admin_task = tokio::spawn(self.admin);
        self.command.run_until(shutdown.stopped_owned()).await?;
        admin.stop(true).await;
        admin_task.await??;
        Ok(())
    }
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
