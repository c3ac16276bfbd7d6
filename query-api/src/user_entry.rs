//! One user in the in-process cache: the row, and the bytes of each field set that was asked for.

use std::sync::{PoisonError, RwLock};

use actix_web::http::header::HeaderValue;
use bytes::Bytes;
use events::{ConsistencyToken, TokenEntry};
use platform::http::version_tag;
use read_model::user_view::fields::{FieldSet, Served};
use read_model::user_view::{UserKey, UserRow};

use crate::l1::Freshness;

/// Field sets whose bytes are kept: all, the public ones, and two that clients name.
const RENDERED_MAX: usize = 4;

/// What an entry weighs beside its texts: structures, headers, the key.
const OVERHEAD: usize = 600;

/// A user, or the knowledge that there is none.
#[derive(Debug)]
pub(crate) struct UserEntry {
    /// Which user.
    pub(crate) key: UserKey,
    /// The row.
    pub(crate) row: Option<UserRow>,
    /// What it is true as of.
    pub(crate) stamp: TokenEntry,
    /// The revision of the fold.
    pub(crate) revision: i32,
    /// The generation that it was read from.
    pub(crate) generation: i32,
    /// The stamp as a header.
    pub(crate) as_of: HeaderValue,
    /// `"v7.3"`: version of the stream, generation of the rows, and after a fork of the store the
    /// incarnation that the checkpoint is of.
    pub(crate) etag: HeaderValue,
    /// The first parked position of the user's key.
    pub(crate) parked: Option<i64>,
    /// Until when it is fresh.
    pub(crate) fresh: Freshness,
    rendered: RwLock<Vec<(FieldSet, Bytes)>>,
}

/// What a row was read with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadAt {
    /// What it is true as of.
    pub(crate) stamp: TokenEntry,
    /// The revision of the fold that made it.
    pub(crate) revision: i32,
    /// The generation.
    pub(crate) generation: i32,
}

impl UserEntry {
    /// An entry of what was read.
    #[must_use]
    pub(crate) fn new(
        key: UserKey,
        row: Option<UserRow>,
        read_at: ReadAt,
        parked: Option<i64>,
        fresh: Freshness,
    ) -> Self {
        let ReadAt {
            stamp,
            revision,
            generation,
        } = read_at;
        let version = row.as_ref().map_or(0, |row| row.version);
        Self {
            key,
            row,
            stamp,
            revision,
            generation,
            as_of: header(&as_of(&[stamp])),
            etag: header(&version_tag(version, Some(generation), stamp.incarnation)),
            parked,
            fresh,
            rendered: RwLock::default(),
        }
    }

    /// The row with these fields as JSON; serialised the first time only.
    #[must_use]
    pub(crate) fn bytes(&self, fields: FieldSet) -> Option<Bytes> {
        let known = self.rendered.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = known.iter().find(|(set, _)| *set == fields) {
            return Some(bytes.clone());
        }
        drop(known);
        let row = self.row.as_ref()?;
        let json = serde_json::to_vec(&Served(row, fields));
        let bytes = Bytes::from(json.expect("a row holds texts, numbers and times only"));
        let mut rendered = self
            .rendered
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // The oldest goes: what is asked for often comes back, and rare sets keep nobody out.
        if rendered.len() >= RENDERED_MAX {
            rendered.remove(0);
        }
        rendered.push((fields, bytes.clone()));
        Some(bytes)
    }

    /// Takes over the bytes of an earlier reading of the same row: a revalidation.
    pub(crate) fn inherit(&self, before: &Self) {
        if self.row == before.row {
            let rendered = before
                .rendered
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            *self
                .rendered
                .write()
                .unwrap_or_else(PoisonError::into_inner) = rendered.clone();
        }
    }

    /// Whether this reading shows more than the other one.
    #[must_use]
    pub(crate) fn is_later_than(&self, other: &Self) -> bool {
        let of = |entry: &Self| (entry.stamp.incarnation, entry.stamp.address.position);
        of(self) > of(other)
    }

    /// Bytes, about: the row and its representations.
    #[must_use]
    pub(crate) fn weight(&self) -> u32 {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let texts = self.row.as_ref().map_or(0, |row| {
            [
                &row.email,
                &row.name,
                &row.bio,
                &row.display_name,
                &row.avatar_url,
            ]
            .into_iter()
            .map(text)
            .sum::<usize>()
                + row.region.len()
        });
        // The row, and up to as many representations, with their field names.
        let bytes = OVERHEAD + texts + RENDERED_MAX * (texts + 300);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// Positions as the text of a token. A partition without any event stands at 0 and is named, too:
/// every read says what it is true as of.
#[must_use]
pub(crate) fn as_of(entries: &[TokenEntry]) -> String {
    ConsistencyToken::new(entries.to_vec()).to_string()
}

/// A header of digits and ASCII punctuation.
#[must_use]
pub(crate) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("tokens and ETags are visible ASCII")
}
