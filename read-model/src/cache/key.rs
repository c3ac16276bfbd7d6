//! How keys are spelt. Everything that one script touches has the hash tag `{tenant:owner}`, so
//! that it is in one slot of a Redis Cluster; the store's id comes first, so that several stores
//! (and tests) can share one Redis.

use std::fmt;
use std::sync::Arc;

use events::{Partition, TenantId};
use uuid::Uuid;

/// The part that all keys of a store begin with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The namespace of the store with this id (`event_store.settings.store_id`).
    #[must_use]
    pub fn of_store(store_id: Uuid) -> Self {
        Self(format!("runnel:{}", store_id.simple()).into())
    }

    /// The text, without a colon at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What `scan` finds the values and leases by, of one tenant or of all.
    #[must_use]
    pub fn values_pattern(&self, tenant: Option<&TenantId>) -> String {
        match tenant {
            Some(tenant) => format!("{}:{{{tenant}:*", self.0),
            None => format!("{}:{{*", self.0),
        }
    }
}

/// The keys of one view, generation and incarnation. What is void (another incarnation) or shown no
/// more (another generation) thus has other keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace {
    namespace: Namespace,
    view: &'static str,
    suffix: String,
    epochless: String,
}

impl Keyspace {
    /// Keys of `view`, in the store's current incarnation and the view's active generation.
    #[must_use]
    pub fn new(
        namespace: Namespace,
        view: &'static str,
        schema: u16,
        incarnation: i32,
        generation: i32,
    ) -> Self {
        Self {
            namespace,
            view,
            suffix: format!("i{incarnation}g{generation}v{schema}"),
            epochless: format!("i{incarnation}g{generation}"),
        }
    }

    /// The key of a value. `owner` and `id` hold no colon, space or brace (they are UUIDs so far).
    #[must_use]
    pub fn value(&self, tenant: &TenantId, owner: &str, id: &str) -> ValueKey {
        let Self {
            namespace,
            view,
            suffix,
            ..
        } = self;
        ValueKey(format!(
            "{}:{{{tenant}:{owner}}}:{view}:{id}:{suffix}",
            namespace.0
        ))
    }

    /// The key of `applied` of a partition.
    #[must_use]
    pub fn applied(&self, partition: Partition) -> String {
        let Self {
            namespace,
            view,
            epochless,
            ..
        } = self;
        format!("{}:applied:{view}:{partition}:{epochless}", namespace.0)
    }
}

/// The key of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValueKey(String);

impl ValueKey {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the lease under which the value is filled.
    #[must_use]
    pub fn lease(&self) -> String {
        format!("{}{LEASE_SUFFIX}", self.0)
    }

    /// Takes a key apart that `scan` gave; nothing for a lease and for what is no key of ours.
    #[must_use]
    pub fn parse(namespace: &Namespace, text: &str) -> Option<(Self, Parts)> {
        let rest = text.strip_prefix(namespace.as_str())?.strip_prefix(":{")?;
        let (tag, rest) = rest.split_once("}:")?;
        let (tenant, owner) = tag.split_once(':')?;
        let mut words = rest.split(':');
        let parts = Parts {
            tenant: TenantId::parse(tenant).ok()?,
            owner: owner.to_owned(),
            view: words.next()?.to_owned(),
            id: words.next()?.to_owned(),
            suffix: words.next()?.to_owned(),
        };
        let key = Self(text.to_owned());
        words.next().is_none().then_some((key, parts))
    }
}

const LEASE_SUFFIX: &str = ":lease";

impl fmt::Display for ValueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The parts of a value's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Whose value.
    pub tenant: TenantId,
    /// Whom in the tenant it belongs to.
    pub owner: String,
    /// The view.
    pub view: String,
    /// The id in the view.
    pub id: String,
    /// Incarnation, generation and schema, as in `i1g3v1`.
    pub suffix: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_store_tenant_owner_view_id_incarnation_generation_and_schema() {
        let namespace = Namespace::of_store(Uuid::from_u128(1));
        let keys = Keyspace::new(namespace.clone(), "user_view", 1, 2, 3);
        let tenant = TenantId::parse("acme").expect("a tenant");
        let key = keys.value(&tenant, "u1", "u1");
        let store = "runnel:00000000000000000000000000000001";
        assert_eq!(
            key.as_str(),
            format!("{store}:{{acme:u1}}:user_view:u1:i2g3v1")
        );
        assert_eq!(
            key.lease(),
            format!("{store}:{{acme:u1}}:user_view:u1:i2g3v1:lease")
        );
        assert_eq!(
            keys.applied(Partition(7)),
            format!("{store}:applied:user_view:7:i2g3")
        );
        let (parsed, parts) = ValueKey::parse(&namespace, key.as_str()).expect("our key");
        assert_eq!(
            (parsed, parts.id.as_str(), parts.suffix.as_str()),
            (key.clone(), "u1", "i2g3v1")
        );
        assert!(ValueKey::parse(&namespace, &key.lease()).is_none());
        assert!(ValueKey::parse(&namespace, &keys.applied(Partition(7))).is_none());
    }
}
