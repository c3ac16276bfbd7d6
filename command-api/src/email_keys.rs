//! Turns an address into what it is unique by, so that no aggregate and no claim holds the address.

use events::TenantId;
use events::user_fields::{Email, EmailKey};
use platform::secret::{HmacKey, SecretKey};

/// Makes keys of addresses, a different one in each tenant.
pub(crate) struct EmailKeys(HmacKey);

impl EmailKeys {
    pub(crate) fn new(secret: &SecretKey) -> Self {
        Self(secret.derive(EmailKey::LABEL))
    }

    pub(crate) fn of(&self, tenant: &TenantId, email: &Email) -> EmailKey {
        let [tenant, address] = EmailKey::parts(tenant, email);
        let hash = self.0.authenticate(&[&tenant, &address]);
        EmailKey {
            hash,
            key_version: EmailKey::VERSION,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_key_in_its_tenant_and_another_in_each_other() {
        let keys = EmailKeys::new(&SecretKey::from_bytes([1; 32]));
        let key = |tenant, email| {
            let tenant = TenantId::parse(tenant).expect("a tenant");
            keys.of(&tenant, &Email::parse(email).expect("an address"))
        };
        assert_eq!(
            key("acme", "Ada@Example.org"),
            key("acme", "ada@example.ORG")
        );
        assert_ne!(
            key("acme", "ada@example.org"),
            key("beta", "ada@example.org")
        );
        assert_ne!(
            key("acme", "ada@example.org"),
            key("acme", "bob@example.org")
        );
    }
}
