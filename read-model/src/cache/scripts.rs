//! The scripts. All keys of one call have the same hash tag. They compare `as_of` vectors, entry by
//! entry; incarnations are left out, because the key names one already.

use std::sync::LazyLock;

use redis::Script;

/// Reads the first line of a value and compares vectors.
macro_rules! with_compare {
    ($body:literal) => {
        concat!(
            "local function header(value)
  return string.match(value, '^1 (%x+) (%S+) ')
end
local function positions(as_of)
  local at = {}
  for partition, position in string.gmatch(as_of, '%d+%.(%d+)%.(%d+)') do
    at[partition] = tonumber(position)
  end
  return at
end
local function covers(a, b)
  for partition, position in pairs(b) do
    if (a[partition] or 0) < position then return false end
  end
  return true
end
",
            $body
        )
    };
}

/// A write-through. Keys: value, lease; arguments: the new value, its epoch, its `as_of`, the TTL
/// in milliseconds. It never creates: see rule 4 of the contract.
const WRITE: &str = with_compare!(
    "redis.call('DEL', KEYS[2])
local stored = redis.call('GET', KEYS[1])
if not stored then return 'absent' end
local epoch, as_of = header(stored)
if epoch ~= ARGV[2] then
  redis.call('DEL', KEYS[1])
  return 'cold'
end
local before, after = positions(as_of), positions(ARGV[3])
if covers(before, after) then return 'kept' end
if covers(after, before) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
  return 'set'
end
redis.call('DEL', KEYS[1])
return 'apart'"
);

/// A fill. Keys: value, lease; arguments: the lease's nonce, the value, its epoch, its `as_of`, the
/// TTL in milliseconds.
const FILL: &str = with_compare!(
    "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 'refused' end
redis.call('DEL', KEYS[2])
local stored = redis.call('GET', KEYS[1])
if stored then
  local epoch, as_of = header(stored)
  if epoch == ARGV[3] then
    local before, after = positions(as_of), positions(ARGV[4])
    if covers(before, after) then return 'kept' end
    if not covers(after, before) then
      redis.call('DEL', KEYS[1])
      return 'apart'
    end
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[5])
return 'set'"
);

/// Moves `applied`. Key: applied; arguments: the new mark, the TTL in milliseconds, and the marks
/// that may stand there, where an empty one is none. Answers `moved`, or what does stand there.
const MOVE: &str = "\
local found = redis.call('GET', KEYS[1]) or ''
for index = 3, #ARGV do
  if found == ARGV[index] then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 'moved'
  end
end
return found";

pub(super) static WRITE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(WRITE));
pub(super) static FILL_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(FILL));
pub(super) static MOVE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(MOVE));

/// What a connection loads before it is used, so that calls need only the scripts' hashes.
pub const ALL: [&str; 3] = [WRITE, FILL, MOVE];
