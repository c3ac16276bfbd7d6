//! The fold of a whole partition in memory, for rebuilds: the same rows as `apply` writes, by one
//! COPY.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::mem::size_of;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::RecordedEvent;
use events::stream::USER;
use sqlx::PgConnection;

use super::{UserRow, fold_event};
use crate::projection::{ApplyError, BulkFold, Target};

/// Text is sent in pieces of about this size.
const PIECE_BYTES: usize = 256 * 1024;

/// What a row costs in the map besides its texts.
const ROW_BYTES: usize = size_of::<UserRow>() + 2 * size_of::<i64>();

/// The users of one partition. A stream is known by its number there, which is cheaper to look up
/// than tenant and id, and says the same.
#[derive(Default)]
pub(super) struct UserBulk {
    rows: HashMap<i64, UserRow>,
    bytes: usize,
}

#[async_trait]
impl BulkFold for UserBulk {
    fn fold(&mut self, events: &[RecordedEvent]) -> Result<(), ApplyError> {
        for recorded in events.iter().filter(|one| one.aggregate_type == USER) {
            let before = self.rows.remove(&recorded.stream_no);
            self.bytes -= before.as_ref().map_or(0, bytes);
            let row = fold_event(before, recorded)?;
            self.bytes += bytes(&row);
            self.rows.insert(recorded.stream_no, row);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    async fn copy(
        self: Box<Self>,
        connection: &mut PgConnection,
        target: Target,
    ) -> Result<u64, ApplyError> {
        let statement = format!(
            "copy read_model.user_view_g{} (tenant, id, home, version, status, email, email_hash,
                email_key_version, name, region, bio, display_name, avatar_url, created_at,
                last_active) from stdin",
            target.generation
        );
        let mut copy = connection.copy_in_raw(&statement).await?;
        let mut piece = String::with_capacity(PIECE_BYTES * 2);
        for row in self.rows.values() {
            line(&mut piece, target.partition.as_i32(), row);
            if piece.len() >= PIECE_BYTES {
                copy.send(piece.as_bytes()).await?;
                piece.clear();
            }
        }
        copy.send(piece.as_bytes()).await?;
        Ok(copy.finish().await?)
    }
}

fn bytes(row: &UserRow) -> usize {
    let texts = [
        &row.email,
        &row.name,
        &row.bio,
        &row.display_name,
        &row.avatar_url,
    ];
    let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
    ROW_BYTES + row.tenant.as_str().len() + row.region.len() + texts
}

/// One line of COPY's text format.
fn line(to: &mut String, home: i32, row: &UserRow) {
    text(to, row.tenant.as_str());
    let (id, version, status) = (row.id, row.version, row.status as i16);
    put(to, format_args!("\t{id}\t{home}\t{version}\t{status}\t"));
    optional(to, row.email.as_deref());
    match &row.email_key {
        None => to.push_str("\t\\N\t\\N\t"),
        Some(key) => {
            to.push_str("\t\\\\x");
            for byte in key.hash {
                put(to, format_args!("{byte:02x}"));
            }
            put(to, format_args!("\t{}\t", key.key_version));
        }
    }
    optional(to, row.name.as_deref());
    to.push('\t');
    text(to, &row.region);
    for field in [&row.bio, &row.display_name, &row.avatar_url] {
        to.push('\t');
        optional(to, field.as_deref());
    }
    time(to, row.created_at);
    time(to, row.last_active);
    to.push('\n');
}

fn time(to: &mut String, time: DateTime<Utc>) {
    to.push('\t');
    put(
        to,
        format_args!("{}", time.format("%Y-%m-%d %H:%M:%S%.6f+00")),
    );
}

fn optional(to: &mut String, value: Option<&str>) {
    match value {
        Some(value) => text(to, value),
        None => to.push_str("\\N"),
    }
}

/// Backslash, tab and the line ends mean something to COPY.
fn text(to: &mut String, value: &str) {
    let special = |byte: u8| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r');
    if !value.bytes().any(special) {
        return to.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => to.push_str("\\\\"),
            '\t' => to.push_str("\\t"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            other => to.push(other),
        }
    }
}

fn put(to: &mut String, what: std::fmt::Arguments<'_>) {
    to.write_fmt(what)
        .expect("a String takes whatever is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_copy_is_escaped() {
        let mut line = String::new();
        text(&mut line, "a\\b\tc\nd\re\u{308}");
        assert_eq!(line, "a\\\\b\\tc\\nd\\re\u{308}");
        line.clear();
        optional(&mut line, None);
        assert_eq!(line, "\\N");
        line.clear();
        optional(&mut line, Some("\\N"));
        assert_eq!(line, "\\\\N", "a text is never null");
    }
}
