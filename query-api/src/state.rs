//! What the handlers of all worker threads share.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use events::TenantId;
use events::user_fields::{Email, EmailKey};
use platform::http::{Problem, within};
use platform::secret::HmacKey;

use crate::config::QuerySettings;
use crate::demand::Demand;
use crate::failure::{Failure, problem};
use crate::limits::Limits;
use crate::reader::Reader;

/// The shared state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) reader: Arc<Reader>,
    pub(crate) settings: QuerySettings,
    pub(crate) read_deadline: Duration,
    pub(crate) limits: Limits,
    pub(crate) email_key: HmacKey,
}

impl State {
    /// What the request demands of its answer.
    pub(crate) fn demand(&self, request: &HttpRequest) -> Result<Demand, Problem> {
        Demand::read(request.headers(), &self.settings)
    }

    /// Runs a read within the deadline and says what became of it.
    pub(crate) async fn run<T>(
        &self,
        demand: &Demand,
        read: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Problem> {
        let read = within(self.read_deadline, read).await?;
        read.map_err(|failure| problem(failure, demand))
    }

    /// What an address is found by in its tenant. One key version is live today; when a second one
    /// is, its hash is looked for, too.
    pub(crate) fn email_hash(&self, tenant: &TenantId, email: &Email) -> [u8; 32] {
        let [tenant, address] = EmailKey::parts(tenant, email);
        self.email_key.authenticate(&[&tenant, &address])
    }
}
