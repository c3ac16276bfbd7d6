//! Pages as bytes: `{"items":[…],"older":"…"}`, the cursor null at the end.

use bytes::Bytes;
use events::{Partition, TokenEntry};
use read_model::user_view::UserRow;
use read_model::user_view::fields::{FieldSet, Served};
use serde::Serialize;

use crate::cursor::Cursors;
use crate::l1::{Freshness, Page, PageKey, PageQuery};
use crate::user_entry::{as_of, header};

#[derive(Serialize)]
struct Body<'r> {
    items: Vec<Served<'r>>,
    older: Option<String>,
}

/// The body of a page, of up to one row more than it shows: that one says that there are more.
pub(crate) fn render(cursors: &Cursors, key: &PageKey, mut rows: Vec<UserRow>) -> Bytes {
    let limit = match &key.query {
        PageQuery::Region { limit, .. } | PageQuery::Tenant { limit, .. } => usize::from(*limit),
        PageQuery::Email(_) => rows.len(),
    };
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| more);
    let last = last.map(|row| (row.last_active.timestamp_micros(), row.id));
    let body = Body {
        items: rows.iter().map(|row| Served(row, FieldSet::ALL)).collect(),
        older: last.map(|last| cursors.sign(&key.tenant, &key.query, last)),
    };
    let json = serde_json::to_vec(&body);
    Bytes::from(json.expect("rows hold texts, numbers and times only"))
}

/// A page of its body.
pub(crate) fn page(
    bytes: Bytes,
    stamp: Vec<TokenEntry>,
    parked: Vec<(Partition, i64)>,
    fresh: Freshness,
) -> Page {
    Page {
        etag: header(&etag(&bytes)),
        as_of_text: header(&as_of(&stamp)),
        as_of: stamp,
        bytes,
        parked,
        fresh,
    }
}

/// The strong, opaque ETag of a body: its hash.
pub(crate) fn etag(body: &[u8]) -> String {
    let hash = blake3::hash(body);
    format!("\"{}\"", &hash.to_hex()[..32])
}
