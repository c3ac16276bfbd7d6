//! Streams whose number was read from a row: a number never changes within an incarnation, so
//! appending to a known stream needs no look-up. Nothing enters here but what a committed row said.

use moka::sync::Cache;

use crate::key_hash::StreamKey;

/// How many streams are remembered; one takes about 150 bytes.
const KNOWN_STREAMS_MAX: u64 = 200_000;

/// What a row said about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownStream {
    /// Its number: the position of its first event.
    pub(crate) number: i64,
    /// A version that it had.
    pub(crate) version: i64,
    /// The position of the event of that version.
    pub(crate) position: i64,
}

/// The streams that this process has read, by incarnation.
#[derive(Clone, Debug)]
pub(crate) struct KnownStreams(Cache<StreamKey, (i32, KnownStream)>);

impl KnownStreams {
    pub(crate) fn new() -> Self {
        Self(Cache::new(KNOWN_STREAMS_MAX))
    }

    /// What is known in `incarnation`; what was read in another is as good as unknown.
    pub(crate) fn get(&self, incarnation: i32, key: StreamKey) -> Option<KnownStream> {
        let (read_in, known) = self.0.get(&key)?;
        (read_in == incarnation).then_some(known)
    }

    pub(crate) fn learn(&self, incarnation: i32, key: StreamKey, known: KnownStream) {
        self.0.insert(key, (incarnation, known));
    }
}
