//! What is sent to Redis, as pipelines; who sends them has a budget and a breaker. The scripts of
//! [`super::scripts::ALL`] must be loaded.

use std::time::Duration;

use redis::{Pipeline, Script};

use super::scripts::{FILL_SCRIPT, MOVE_SCRIPT, WRITE_SCRIPT};
use super::{Envelope, LEASE_TTL, MARK_TTL, Mark, ValueKey, envelope};

/// What [`look_up`] answers: the marks and the values in the order asked for.
pub type LookedUp = (Vec<Option<String>>, Vec<Option<Vec<u8>>>);

/// Reads `applied` keys and then values, in one pipeline. Neither may be empty.
#[must_use]
pub fn look_up(applied: &[String], values: &[ValueKey]) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.mget(applied);
    let values: Vec<&str> = values.iter().map(ValueKey::as_str).collect();
    pipeline.mget(values);
    pipeline
}

/// Asks for the lease of a missing value; answers a `bool` each: whether it was given.
pub fn take_lease(pipeline: &mut Pipeline, key: &ValueKey, nonce: &str) {
    let set = pipeline.cmd("SET").arg(key.lease()).arg(nonce);
    set.arg("NX").arg("PX").arg(milliseconds(LEASE_TTL));
}

/// A value to send, and how long it may stay.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'v> {
    /// Its key.
    pub key: &'v ValueKey,
    /// What it says of itself.
    pub envelope: &'v Envelope,
    /// The row.
    pub body: &'v [u8],
    /// The TTL.
    pub ttl: Duration,
}

/// Fills a missing value under its lease; answers a text each: `set`, `kept` (a later one was
/// there), `apart` (neither was later: deleted) or `refused` (the lease is gone).
pub fn fill(pipeline: &mut Pipeline, nonce: &str, sealed: Sealed<'_>) {
    evaluate(pipeline, &FILL_SCRIPT, sealed.key).arg(nonce);
    value(pipeline, sealed);
}

/// Writes a value through; answers a text each: `set`, `kept`, `apart`, `absent` (nothing was
/// there, and nothing is) or `cold` (another epoch's was there: deleted).
pub fn write_through(pipeline: &mut Pipeline, sealed: Sealed<'_>) {
    evaluate(pipeline, &WRITE_SCRIPT, sealed.key);
    value(pipeline, sealed);
}

/// Deletes a value and its lease; answers how many keys there were.
pub fn forget(pipeline: &mut Pipeline, key: &ValueKey) {
    pipeline.cmd("DEL").arg(key.as_str()).arg(key.lease());
}

/// The answer of [`move_applied`] when the mark was moved; otherwise it is what stands there,
/// empty for nothing.
pub const MOVED: &str = "moved";

/// Moves `applied` from one of `from` to `to`; `None` stands for "there is none".
#[must_use]
pub fn move_applied(applied: &str, from: &[Option<&Mark>], to: &Mark) -> Pipeline {
    let mut pipeline = redis::pipe();
    let call = pipeline.cmd("EVALSHA").arg(MOVE_SCRIPT.get_hash()).arg(1);
    call.arg(applied)
        .arg(to.to_string())
        .arg(milliseconds(MARK_TTL));
    for mark in from {
        call.arg(mark.map(Mark::to_string).unwrap_or_default());
    }
    pipeline
}

fn evaluate<'p>(pipeline: &'p mut Pipeline, script: &Script, key: &ValueKey) -> &'p mut Pipeline {
    let call = pipeline.cmd("EVALSHA").arg(script.get_hash()).arg(2);
    call.arg(key.as_str()).arg(key.lease())
}

fn value(pipeline: &mut Pipeline, sealed: Sealed<'_>) {
    let Envelope { epoch, as_of, .. } = sealed.envelope;
    let bytes = envelope::seal(sealed.key, sealed.envelope, sealed.body);
    pipeline.arg(bytes).arg(epoch.to_string());
    pipeline
        .arg(as_of.to_string())
        .arg(milliseconds(sealed.ttl));
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
