//! The in-process cache: users and pages, stored as the bytes that are sent, bounded by bytes and
//! stamped with the positions that they are true as of.
//!
//! An entry is fresh for `CACHE_L1_FRESH` after its fill, unless the projector says before that its
//! row changed. Afterwards it is kept, and served only while the database fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::header::HeaderValue;
use bytes::Bytes;
use events::{TenantId, TokenEntry};
use moka::Expiry;
use moka::ops::compute::Op;
use moka::sync::Cache;
use read_model::Applied;
use read_model::user_view::UserKey;
use read_model::user_view::reads::ActivityKey;
use uuid::Uuid;

use crate::config::QuerySettings;
use crate::user_entry::UserEntry;

/// Of the cache's memory, the part of pages: a quarter.
const PAGES_PART: u64 = 4;

/// Which page. Only operators and admins read pages, and they see the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    /// The tenant.
    pub(crate) tenant: TenantId,
    /// What was asked for.
    pub(crate) query: PageQuery,
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PageQuery {
    /// Users of a region that were active since, after a key.
    Region {
        /// The region.
        region: String,
        /// Active since, microseconds since 1970.
        since: Option<i64>,
        /// `last_active` (microseconds) and id of the last item before.
        after: Option<(i64, Uuid)>,
        /// At most so many.
        limit: u16,
    },
    /// Users of the tenant, after an id.
    Tenant {
        /// The last item before.
        after: Option<Uuid>,
        /// At most so many.
        limit: u16,
    },
    /// Users with an address, by its hash.
    Email([u8; 32]),
}

impl PageQuery {
    /// The key of a region's page in the form that the read takes.
    #[must_use]
    pub(crate) fn activity_key(after: Option<(i64, Uuid)>) -> ActivityKey {
        after.map_or(ActivityKey::START, |(micros, id)| ActivityKey {
            last_active: chrono::DateTime::from_timestamp_micros(micros)
                .unwrap_or(ActivityKey::START.last_active),
            id,
        })
    }
}

/// A page as it is sent.
#[derive(Debug)]
pub(crate) struct Page {
    /// The body.
    pub(crate) bytes: Bytes,
    /// The strong ETag: the hash of the body.
    pub(crate) etag: HeaderValue,
    /// What it is true as of.
    pub(crate) as_of: Vec<TokenEntry>,
    /// The same as a header.
    pub(crate) as_of_text: HeaderValue,
    /// The first parked position of a key of the tenant, by partition.
    pub(crate) parked: Vec<(events::Partition, i64)>,
    /// Until when it is fresh.
    pub(crate) fresh: Freshness,
}

/// Until when an entry is fresh.
#[derive(Debug)]
pub(crate) struct Freshness {
    until: Instant,
    touched: AtomicBool,
}

impl Freshness {
    /// Fresh from `read_at`, the moment before the read, for so long.
    #[must_use]
    pub(crate) fn from(read_at: Instant, length: Duration) -> Self {
        Self {
            until: read_at + length,
            touched: AtomicBool::new(false),
        }
    }

    /// Whether the entry may be served as it is.
    #[must_use]
    pub(crate) fn is_fresh(&self) -> bool {
        !self.touched.load(Ordering::Acquire) && Instant::now() < self.until
    }

    /// The row changed.
    pub(crate) fn touch(&self) {
        self.touched.store(true, Ordering::Release);
    }
}

/// The cache.
#[derive(Debug)]
pub(crate) struct L1 {
    users: Cache<UserKey, Arc<UserEntry>>,
    pages: Cache<PageKey, Arc<Page>>,
    /// How long an entry is fresh.
    pub(crate) fresh: Duration,
}

/// What is there is kept for stale answers; that there is nothing is remembered while it is fresh.
struct KeepStale {
    stale: Duration,
    fresh: Duration,
}

impl Expiry<UserKey, Arc<UserEntry>> for KeepStale {
    fn expire_after_create(
        &self,
        _: &UserKey,
        entry: &Arc<UserEntry>,
        _: Instant,
    ) -> Option<Duration> {
        Some(if entry.row.is_some() {
            self.stale
        } else {
            self.fresh
        })
    }

    fn expire_after_update(
        &self,
        key: &UserKey,
        entry: &Arc<UserEntry>,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, entry, now)
    }
}

impl L1 {
    /// An empty cache.
    #[must_use]
    pub(crate) fn new(settings: &QuerySettings) -> Self {
        let pages_max = settings.cache_max / PAGES_PART;
        let expiry = KeepStale {
            stale: settings.cache_stale_max,
            fresh: settings.cache_fresh,
        };
        Self {
            users: Cache::builder()
                .max_capacity(settings.cache_max - pages_max)
                .weigher(|_, entry: &Arc<UserEntry>| entry.weight())
                .expire_after(expiry)
                .build(),
            pages: Cache::builder()
                .max_capacity(pages_max)
                .weigher(|_, page: &Arc<Page>| {
                    u32::try_from(page.bytes.len() + 512).unwrap_or(u32::MAX)
                })
                .time_to_live(settings.cache_stale_max)
                .build(),
            fresh: settings.cache_fresh,
        }
    }

    /// A user, fresh or not.
    #[must_use]
    pub(crate) fn user(&self, key: &UserKey) -> Option<Arc<UserEntry>> {
        self.users.get(key)
    }

    /// A page, fresh or not.
    #[must_use]
    pub(crate) fn page(&self, key: &PageKey) -> Option<Arc<Page>> {
        self.pages.get(key)
    }

    /// Keeps a user that was read, unless a later reading is there.
    pub(crate) fn keep_user(&self, entry: &Arc<UserEntry>) {
        let kept = self
            .users
            .entry_by_ref(&entry.key)
            .and_compute_with(|there| match there {
                Some(there) if there.value().is_later_than(entry) => Op::Nop,
                _ => Op::Put(Arc::clone(entry)),
            });
        drop(kept);
    }

    /// Keeps a page that was read.
    pub(crate) fn keep_page(&self, key: PageKey, page: &Arc<Page>) {
        self.pages.insert(key, Arc::clone(page));
    }

    /// The projector applied a batch: what it touched is not fresh any more, and that there was
    /// nothing is forgotten. Pages change too often to be told; they are fresh for a moment only.
    pub(crate) fn applied(&self, news: &Applied) {
        for key in news.touched.iter().filter_map(UserKey::touched) {
            let Some(entry) = self.users.get(&key) else {
                continue;
            };
            let stamp = entry.stamp.address;
            if stamp.partition == news.partition && stamp.position >= news.position {
                continue;
            }
            match entry.row {
                Some(_) => entry.fresh.touch(),
                None => self.users.invalidate(&key),
            }
        }
    }

    /// Forgets everything: the store has another history now.
    pub(crate) fn clear(&self) {
        self.users.invalidate_all();
        self.pages.invalidate_all();
    }

    /// How many entries there are, about.
    #[must_use]
    pub(crate) fn entries(&self) -> u64 {
        self.users.entry_count() + self.pages.entry_count()
    }
}
