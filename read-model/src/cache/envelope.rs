//! The bytes of a value: one line that says what it is, then the body. The scripts read epoch and
//! `as_of` in that line; readers compare the key, because a reply may be another's (connections
//! have mixed up replies before).

use events::ConsistencyToken;

use super::{Epoch, ValueKey};

/// The layout of the first line. The scripts know it, too.
const LAYOUT: &str = "1";

/// What a value says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The key generation in which it was written.
    pub epoch: Epoch,
    /// The checkpoints that the row was read or written with.
    pub as_of: ConsistencyToken,
    /// The revision of the fold that made the row; part of an `ETag`.
    pub revision: i32,
}

/// A value that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened<'v> {
    /// It is what was asked for.
    Value(Envelope, &'v [u8]),
    /// It was written in another epoch: nothing vouches for it.
    Cold,
    /// It belongs to another key, or is no value at all: delete it, count it, never show it.
    Foreign,
}

/// A value: `1 <epoch> <as_of> <revision> <key>`, a line feed, the body.
#[must_use]
pub fn seal(key: &ValueKey, envelope: &Envelope, body: &[u8]) -> Vec<u8> {
    let Envelope {
        epoch,
        as_of,
        revision,
    } = envelope;
    let mut bytes = format!("{LAYOUT} {epoch} {as_of} {revision} {key}\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Opens what was found under `key` while `epoch` was the epoch of its partition.
#[must_use]
pub fn open<'v>(key: &ValueKey, epoch: Epoch, bytes: &'v [u8]) -> Opened<'v> {
    match split(bytes) {
        Some((_, of, _)) if of != key.as_str() => Opened::Foreign,
        Some((envelope, ..)) if envelope.epoch != epoch => Opened::Cold,
        Some((envelope, _, body)) => Opened::Value(envelope, body),
        None => Opened::Foreign,
    }
}

/// What the first line says, the key in it, and the body.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(Envelope, &str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, body) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
    let mut words = line.splitn(5, ' ');
    if words.next()? != LAYOUT {
        return None;
    }
    let envelope = Envelope {
        epoch: words.next()?.parse().ok()?,
        as_of: words.next()?.parse().ok()?,
        revision: words.next()?.parse().ok()?,
    };
    Some((envelope, words.next()?, body))
}

#[cfg(test)]
mod tests {
    use events::TenantId;
    use uuid::Uuid;

    use super::*;
    use crate::cache::{Keyspace, Namespace};

    #[test]
    fn a_value_opens_under_its_own_key_and_epoch_only() {
        let keys = Keyspace::new(Namespace::of_store(Uuid::nil()), "user_view", 1, 1, 1);
        let tenant = TenantId::parse("acme").expect("a tenant");
        let (mine, yours) = (keys.value(&tenant, "a", "a"), keys.value(&tenant, "b", "b"));
        let envelope = Envelope {
            epoch: Epoch::random(),
            as_of: "1.3.1042".parse().expect("a token"),
            revision: 1,
        };
        let bytes = seal(&mine, &envelope, b"{\n}");
        let epoch = envelope.epoch;
        assert_eq!(
            open(&mine, epoch, &bytes),
            Opened::Value(envelope, b"{\n}".as_slice())
        );
        assert_eq!(open(&mine, Epoch::random(), &bytes), Opened::Cold);
        assert_eq!(open(&yours, epoch, &bytes), Opened::Foreign);
        assert_eq!(open(&mine, epoch, b"nonsense"), Opened::Foreign);
        assert_eq!(open(&mine, epoch, b""), Opened::Foreign);
    }
}
