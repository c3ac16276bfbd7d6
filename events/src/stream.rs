//! The name of a stream: one aggregate of one tenant.

use std::fmt;

use uuid::Uuid;

use crate::address::{Partition, PartitionCount};
use crate::scope::TenantId;

/// The aggregate type of a user's stream.
pub const USER: &str = "user";

/// One aggregate of one tenant, and the routing key that says what it is ordered together with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The kind of aggregate, such as `user`.
    pub aggregate_type: &'static str,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The aggregate's id, canonical text.
    pub id: String,
    /// What it is ordered by; `tenant/routing key` is also the Kafka record key.
    pub routing_key: String,
}

impl StreamId {
    /// The stream of a user; its routing key is the user id.
    #[must_use]
    pub fn user(tenant: &TenantId, id: Uuid) -> Self {
        let id = id.to_string();
        Self {
            aggregate_type: USER,
            tenant: tenant.clone(),
            routing_key: id.clone(),
            id,
        }
    }

    /// The name in the store, `tenant/id`: the tenant is inside, so no look-up by name can mix
    /// tenants.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.tenant, self.id)
    }

    /// The partition it lives in.
    #[must_use]
    pub fn partition(&self, count: PartitionCount) -> Partition {
        count.partition_of(&self.tenant, &self.routing_key)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}/{}", self.aggregate_type, self.tenant, self.id)
    }
}
