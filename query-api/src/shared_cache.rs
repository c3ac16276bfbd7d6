//! The cache that all query processes share: what Redis says of users, judged by the contract in
//! [`read_model::cache`], and how a missing value is filled in. Whatever goes wrong here means "ask
//! PostgreSQL"; nothing here can fail a read.

use std::sync::Arc;

use events::{Address, Partition, TokenEntry};
use platform::config::RedisSettings;
use platform::metrics::QUEUE_DEPTH;
use platform::redis_client::RedisClient;
use read_model::cache::commands::{self, LookedUp, Sealed};
use read_model::cache::{Envelope, Keyspace, Mark, Opened, ValueKey, envelope, nonce, scripts};
use read_model::user_view::{UserKey, UserRow, cached};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics;
use crate::outlook::Outlook;
use crate::user_entry::UserEntry;

/// Fills under way at once; at more than these, what is missing stays missing.
const FILLS_MAX: usize = 256;

/// The name of the gauge of fills under way.
const FILLS: &str = "cache_fills";

/// Redis, for the reads of all worker threads.
#[derive(Debug)]
pub(crate) struct SharedCache {
    pub(crate) client: RedisClient,
    settings: RedisSettings,
    fills: Arc<Semaphore>,
    runtime: Handle,
}

/// The keys of one generation in one incarnation, as an outlook showed them.
#[derive(Debug)]
pub(crate) struct Shelf {
    keys: Keyspace,
    incarnation: i32,
    generation: i32,
}

/// What Redis had of one user.
#[derive(Clone, Debug)]
pub(crate) enum Finding {
    /// A value that says of itself that it is this user's.
    Value(Value),
    /// Nothing that anybody vouches for; it can be filled in.
    Vacant(Vacancy),
    /// Nothing, and nothing can be filled in.
    Nothing,
}

/// A row of Redis.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) row: UserRow,
    /// What it is true as of: the mark that was read before it, or its own `as_of` when that is
    /// later.
    pub(crate) stamp: TokenEntry,
    pub(crate) revision: i32,
    pub(crate) generation: i32,
}

/// Where a value is missing, and the mark that was read before.
#[derive(Clone, Debug)]
pub(crate) struct Vacancy {
    user: UserKey,
    key: ValueKey,
    mark: Mark,
    generation: i32,
}

/// Leases under which missing values can be filled in.
#[derive(Debug)]
pub(crate) struct Fill {
    nonce: String,
    vacancies: Vec<Vacancy>,
    _permit: OwnedSemaphorePermit,
}

impl Shelf {
    /// The keys that the outlook's generation has; none while nothing is served, or in a store that
    /// has no id.
    #[must_use]
    pub(crate) fn of(outlook: &Outlook) -> Option<Self> {
        let generation = outlook.standing.as_ref()?.generation;
        let incarnation = outlook.incarnations.current();
        let namespace = outlook.namespace.clone()?;
        Some(Self {
            keys: cached::keyspace(namespace, incarnation, generation),
            incarnation,
            generation,
        })
    }
}

impl SharedCache {
    /// A cache that connects when it is first asked. Connections and fills live on the runtime that
    /// this is called on.
    ///
    /// # Errors
    /// When the URL is none.
    pub(crate) fn new(settings: RedisSettings) -> Result<Self, redis::RedisError> {
        QUEUE_DEPTH.with_label_values(&[FILLS]).set(0);
        Ok(Self {
            client: RedisClient::new(&settings, &scripts::ALL)?,
            settings,
            fills: Arc::new(Semaphore::new(FILLS_MAX)),
            runtime: Handle::current(),
        })
    }

    /// What there is of these users, in their order; none when Redis did not answer.
    pub(crate) async fn look_up(
        self: &Arc<Self>,
        shelf: &Shelf,
        users: &[(UserKey, Partition)],
    ) -> Option<Vec<Finding>> {
        let mut partitions: Vec<Partition> = users.iter().map(|(_, one)| *one).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let marks: Vec<String> = partitions
            .iter()
            .map(|partition| shelf.keys.applied(*partition))
            .collect();
        let keys: Vec<ValueKey> = users
            .iter()
            .map(|(user, _)| cached::value_key(&shelf.keys, user))
            .collect();
        let pipeline = commands::look_up(&marks, &keys);
        let answer = self.client.call::<LookedUp>(&pipeline).await.ok()?;
        let (marks, values) = answer.value;
        if marks.len() != partitions.len() || values.len() != users.len() {
            return None;
        }
        let mark = |text: &Option<String>| {
            let mark = Mark::parse(text.as_deref()?)?;
            mark.is_of_run(&answer.run_id).then_some(mark)
        };
        let marks: Vec<Option<Mark>> = marks.iter().map(mark).collect();
        let found = users.iter().zip(keys).zip(values);
        let judged = found.map(|(((user, partition), key), bytes)| {
            let at = partitions.binary_search(partition).ok();
            let Some(mark) = at.and_then(|at| marks[at].as_ref()) else {
                return Finding::Nothing;
            };
            self.judge(shelf, (user, *partition), key, mark, bytes.as_deref())
        });
        Some(judged.collect())
    }

    fn judge(
        self: &Arc<Self>,
        shelf: &Shelf,
        (user, partition): (&UserKey, Partition),
        key: ValueKey,
        mark: &Mark,
        bytes: Option<&[u8]>,
    ) -> Finding {
        let vacant = |key| {
            Finding::Vacant(Vacancy {
                user: user.clone(),
                key,
                mark: mark.clone(),
                generation: shelf.generation,
            })
        };
        let Some(bytes) = bytes else {
            return vacant(key);
        };
        let value = match envelope::open(&key, mark.epoch, bytes) {
            Opened::Cold => return vacant(key),
            Opened::Foreign => None,
            Opened::Value(envelope, body) => {
                let row = cached::decode(user, body);
                row.zip(stamp(shelf, partition, mark, &envelope))
                    .map(|(row, stamp)| Value {
                        row,
                        stamp,
                        revision: envelope.revision,
                        generation: shelf.generation,
                    })
            }
        };
        match value {
            Some(value) => Finding::Value(value),
            None => {
                self.forget_foreign(key);
                Finding::Nothing
            }
        }
    }

    /// Somebody else's value, or none at all, lay under a user's key.
    fn forget_foreign(self: &Arc<Self>, key: ValueKey) {
        metrics::foreign_value();
        tracing::error!(
            view = read_model::user_view::NAME,
            "a foreign value in Redis; deleted"
        );
        let mut pipeline = redis::pipe();
        commands::forget(&mut pipeline, &key);
        let shared = Arc::clone(self);
        self.runtime.spawn(async move {
            // What stays is found again by the next reader.
            let _ = shared.client.call::<(i64,)>(&pipeline).await;
        });
    }

    /// Takes leases for what is missing; the rows must be read afterwards. None when no lease was
    /// given.
    pub(crate) async fn begin_fill(&self, vacancies: Vec<Vacancy>) -> Option<Fill> {
        if vacancies.is_empty() {
            return None;
        }
        let permit = Arc::clone(&self.fills).try_acquire_owned().ok()?;
        let mut fill = Fill::begin(permit);
        let mut pipeline = redis::pipe();
        for vacancy in &vacancies {
            commands::take_lease(&mut pipeline, &vacancy.key, &fill.nonce);
        }
        let given = self.client.call::<Vec<bool>>(&pipeline).await.ok()?.value;
        let leased = vacancies.into_iter().zip(given).filter(|(_, given)| *given);
        fill.vacancies = leased.map(|(vacancy, _)| vacancy).collect();
        (!fill.vacancies.is_empty()).then_some(fill)
    }

    /// Sends what was read under the leases, behind the answer's back.
    pub(crate) fn finish_fill(self: &Arc<Self>, fill: Fill, read: &[Arc<UserEntry>]) {
        let find = |vacancy: &Vacancy| read.iter().find(|entry| entry.key == vacancy.user).cloned();
        let fillable: Vec<_> = fill
            .vacancies
            .iter()
            .filter_map(|vacancy| Some((vacancy.clone(), find(vacancy)?)))
            .filter(|(vacancy, entry)| vacancy.takes(entry))
            .collect();
        if fillable.is_empty() {
            return;
        }
        let shared = Arc::clone(self);
        self.runtime.spawn(async move {
            let mut pipeline = redis::pipe();
            for (vacancy, entry) in &fillable {
                vacancy.fill(&mut pipeline, &fill.nonce, entry, &shared.settings);
            }
            // What was refused, or not heard of, is missing still.
            let _ = shared.client.call::<Vec<String>>(&pipeline).await;
            drop(fill);
        });
    }
}

impl Fill {
    fn begin(permit: OwnedSemaphorePermit) -> Self {
        QUEUE_DEPTH.with_label_values(&[FILLS]).inc();
        Self {
            nonce: nonce(),
            vacancies: Vec::new(),
            _permit: permit,
        }
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        QUEUE_DEPTH.with_label_values(&[FILLS]).dec();
    }
}

impl Vacancy {
    /// Whether what was read may stand here: a row of this generation that nothing parked is
    /// missing from, at least as late as the mark promises.
    fn takes(&self, entry: &UserEntry) -> bool {
        entry.row.is_some()
            && entry.parked.is_none()
            && entry.generation == self.generation
            && self.mark.may_fill(entry.stamp.address.position)
    }

    fn fill(
        &self,
        pipeline: &mut redis::Pipeline,
        nonce: &str,
        entry: &UserEntry,
        settings: &RedisSettings,
    ) {
        let Some(row) = &entry.row else { return };
        let envelope = Envelope {
            epoch: self.mark.epoch,
            as_of: events::ConsistencyToken::new(vec![entry.stamp]),
            revision: entry.revision,
        };
        let sealed = Sealed {
            key: &self.key,
            envelope: &envelope,
            body: &cached::encode(row),
            ttl: settings.ttl_user,
        };
        commands::fill(pipeline, nonce, sealed);
    }
}

/// What a value is true as of; none when it does not say it of its user's partition.
fn stamp(
    shelf: &Shelf,
    partition: Partition,
    mark: &Mark,
    envelope: &Envelope,
) -> Option<TokenEntry> {
    let own = envelope
        .as_of
        .entries()
        .iter()
        .find(|entry| entry.address.partition == partition)?;
    if own.address.position >= mark.position {
        return Some(*own);
    }
    Some(TokenEntry {
        incarnation: shelf.incarnation,
        address: Address {
            partition,
            position: mark.position,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use read_model::cache::{Epoch, Namespace};
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn at_256_fills_what_is_missing_stays_missing() {
        let shared = SharedCache::new(RedisSettings {
            url: testkit::servers::redis_url().into(),
            timeout: Duration::from_secs(3),
            ttl_user: Duration::from_secs(60),
        })
        .expect("a URL");
        let keys = cached::keyspace(Namespace::of_store(Uuid::new_v4()), 1, 1);
        let vacancy = |number| {
            let tenant = testkit::history::tenant("acme");
            let id = Uuid::from_u128(number);
            let user = UserKey { tenant, id };
            vec![Vacancy {
                key: cached::value_key(&keys, &user),
                user,
                mark: Mark {
                    epoch: Epoch::random(),
                    position: 1,
                    run_id: String::new(),
                },
                generation: 1,
            }]
        };
        let first = shared.begin_fill(vacancy(1)).await;
        assert!(first.is_some());
        assert!(shared.begin_fill(vacancy(1)).await.is_none(), "leased");
        let rest = u32::try_from(FILLS_MAX - 1).expect("few");
        let rest = shared.fills.acquire_many(rest).await.expect("never closed");
        assert!(shared.begin_fill(vacancy(2)).await.is_none(), "full");
        drop(rest);
        assert!(shared.begin_fill(vacancy(2)).await.is_some());
    }
}
