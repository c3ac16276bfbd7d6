//! What every command needs while it runs.

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::User;
use event_store::EventStore;
use event_store::aggregates::Aggregates;
use events::{StreamId, TenantId};
use platform::secret::SecretKey;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::email_keys::EmailKeys;
use crate::idempotency::{Fingerprints, InFlight};

/// An aggregate whose commands this service runs.
pub(crate) trait Hosted: Aggregate + Clone + 'static {
    /// Where its states are kept.
    fn aggregates(service: &Service) -> &Aggregates<Self>;
    /// The stream of one of them.
    fn stream(tenant: &TenantId, id: Uuid) -> StreamId;
}

impl Hosted for User {
    fn aggregates(service: &Service) -> &Aggregates<Self> {
        &service.0.users
    }

    fn stream(tenant: &TenantId, id: Uuid) -> StreamId {
        StreamId::user(tenant, id)
    }
}

/// Shared by all workers; a clone is cheap.
#[derive(Clone)]
pub(crate) struct Service(Arc<Inner>);

struct Inner {
    store: EventStore,
    users: Aggregates<User>,
    in_flight: InFlight,
    fingerprints: Fingerprints,
    email_keys: EmailKeys,
    tasks: TaskTracker,
    runtime: Handle,
    deadline: Duration,
}

impl Service {
    /// Commands will run on the runtime that this is called on: an actix worker's own runtime ends
    /// with the worker, and would take commands with it whose clients have gone.
    pub(crate) fn new(
        store: EventStore,
        users: Aggregates<User>,
        secret: &SecretKey,
        deadline: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            users,
            in_flight: InFlight::default(),
            fingerprints: Fingerprints::new(secret),
            email_keys: EmailKeys::new(secret),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            deadline,
        }))
    }

    pub(crate) fn store(&self) -> &EventStore {
        &self.0.store
    }

    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.0.in_flight
    }

    pub(crate) fn fingerprints(&self) -> &Fingerprints {
        &self.0.fingerprints
    }

    pub(crate) fn email_keys(&self) -> &EmailKeys {
        &self.0.email_keys
    }

    /// The commands that run.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.0.deadline
    }
}
