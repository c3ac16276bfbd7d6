//! Cursors: where a page ended, signed for the list that it belongs to. They hold a key and no
//! address, so they survive the deletion of their item and do not expire.

use events::TenantId;
use platform::secret::{HmacKey, SecretKey};
use uuid::Uuid;

use crate::l1::PageQuery;

/// The label under which the secret yields the key of cursors.
const LABEL: &str = "cursor 1";

/// Signs and opens cursors.
#[derive(Clone, Debug)]
pub(crate) struct Cursors {
    key: HmacKey,
}

/// A text that is no cursor of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidCursor;

impl Cursors {
    /// Of the process's secret.
    #[must_use]
    pub(crate) fn new(secret: &SecretKey) -> Self {
        Self {
            key: secret.derive(LABEL),
        }
    }

    /// The cursor behind the item (`last_active` in microseconds, id) of a list.
    #[must_use]
    pub(crate) fn sign(&self, tenant: &TenantId, query: &PageQuery, last: (i64, Uuid)) -> String {
        let mut bytes = Vec::with_capacity(40);
        bytes.extend_from_slice(&last.0.to_be_bytes());
        bytes.extend_from_slice(last.1.as_bytes());
        bytes.extend_from_slice(&self.list(tenant, query));
        self.key.sign(&bytes)
    }

    /// The item behind which the page begins.
    ///
    /// # Errors
    /// [`InvalidCursor`] for anything but a cursor that this list gave.
    pub(crate) fn open(
        &self,
        tenant: &TenantId,
        query: &PageQuery,
        text: &str,
    ) -> Result<(i64, Uuid), InvalidCursor> {
        let bytes = self.key.open(text).map_err(|_| InvalidCursor)?;
        let (micros, rest) = bytes.split_first_chunk::<8>().ok_or(InvalidCursor)?;
        let (id, list) = rest.split_first_chunk::<16>().ok_or(InvalidCursor)?;
        if list != self.list(tenant, query) {
            return Err(InvalidCursor);
        }
        Ok((i64::from_be_bytes(*micros), Uuid::from_bytes(*id)))
    }

    /// Which list, in 16 bytes: a cursor of another tenant or of other conditions is none of it.
    /// The limit may change from page to page.
    fn list(&self, tenant: &TenantId, query: &PageQuery) -> [u8; 16] {
        let tenant = tenant.as_str().as_bytes();
        let whole = match query {
            PageQuery::Region { region, since, .. } => {
                let since = since.unwrap_or(i64::MIN).to_be_bytes();
                self.key
                    .authenticate(&[b"region", tenant, region.as_bytes(), &since])
            }
            PageQuery::Tenant { .. } => self.key.authenticate(&[b"tenant", tenant]),
            PageQuery::Email(hash) => self.key.authenticate(&[b"email", tenant, hash]),
        };
        let (list, _) = whole
            .split_first_chunk::<16>()
            .expect("a hash has 32 bytes");
        *list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str, since: Option<i64>) -> PageQuery {
        PageQuery::Region {
            region: name.to_owned(),
            since,
            after: None,
            limit: 20,
        }
    }

    #[test]
    fn a_cursor_opens_only_for_the_list_that_gave_it() {
        let cursors = Cursors::new(&SecretKey::from_bytes([1; 32]));
        let tenant = |name| TenantId::parse(name).expect("a tenant");
        let last = (1_234_567, Uuid::from_u128(7));
        let text = cursors.sign(&tenant("acme"), &region("eu-west", None), last);
        let open = |name, query: &PageQuery, text: &str| cursors.open(&tenant(name), query, text);
        assert_eq!(open("acme", &region("eu-west", None), &text), Ok(last));
        assert_eq!(
            open("globex", &region("eu-west", None), &text),
            Err(InvalidCursor)
        );
        assert_eq!(
            open("acme", &region("eu-north", None), &text),
            Err(InvalidCursor)
        );
        assert_eq!(
            open("acme", &region("eu-west", Some(0)), &text),
            Err(InvalidCursor)
        );
        let whole = PageQuery::Tenant {
            after: None,
            limit: 20,
        };
        assert_eq!(open("acme", &whole, &text), Err(InvalidCursor));
        for at in 0..text.len() {
            let mut tampered = text.clone().into_bytes();
            tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
            let tampered = String::from_utf8(tampered).expect("ASCII");
            assert_eq!(
                open("acme", &region("eu-west", None), &tampered),
                Err(InvalidCursor)
            );
        }
        for text in ["", "x", "AAAA"] {
            assert_eq!(
                open("acme", &region("eu-west", None), text),
                Err(InvalidCursor)
            );
        }
    }
}
