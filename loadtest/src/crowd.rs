//! The virtual users: who they are, what they hold, and what they have been told so far. What a
//! user has been told is what the next answer is judged by.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::operations::page::Walk;
use crate::scenario::Population;
use crate::tokens::TenantTokens;

/// Regions that users live in.
pub const REGIONS: [&str; 5] = ["eu-west", "eu-north", "us-east", "us-west", "ap-south"];

/// Somebody who sends requests.
#[derive(Debug)]
pub struct VirtualUser {
    /// The id of the account, canonical text.
    pub id: String,
    /// Index of the tenant.
    pub tenant: usize,
    /// The account's own token of role `user`, when it has one.
    pub own: Option<Arc<str>>,
    /// Where the account was registered with.
    pub email: String,
    /// Where it was registered.
    pub region: &'static str,
    seen: Mutex<Seen>,
}

/// What a session has been told about its own account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The highest version in any answer that came with a token.
    pub version: u64,
    /// The token of that answer: a read that sends it back must show at least that version.
    pub token: Option<String>,
    /// The last `ETag` of a read.
    pub etag: Option<String>,
    /// The last text that was written, and the version that it made.
    pub bio: Option<(u64, String)>,
    /// The address, as the last read showed it; that of the registration until then.
    pub email: Option<String>,
}

impl VirtualUser {
    /// Somebody who has been told nothing yet.
    #[must_use]
    pub fn new(id: String, tenant: usize, own: Option<Arc<str>>, region: &'static str) -> Self {
        let email = format!("{}@load.example", id.replace('-', ""));
        Self {
            id,
            tenant,
            own,
            email,
            region,
            seen: Mutex::new(Seen::default()),
        }
    }

    /// What the session has been told.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// An answer with a version and a token came. Of equal versions the last token is kept: either
    /// of them promises that version.
    pub fn told(&mut self, version: u64, token: Option<&str>) {
        if version >= self.version
            && let Some(token) = token
        {
            self.version = version;
            self.token = Some(token.to_owned());
        }
    }
}

/// A tenant's people.
#[derive(Debug)]
struct Tenant {
    admins: Vec<Arc<str>>,
    next: AtomicUsize,
    /// By list: where the walk through it has come to.
    places: Mutex<HashMap<&'static str, Arc<Place>>>,
}

/// Where the next one goes on with a list that many walk through together.
#[derive(Debug, Default)]
pub struct Place(Mutex<Option<Walk>>);

impl Place {
    /// Goes on from here; who comes meanwhile begins anew.
    pub(crate) fn take(&self) -> Walk {
        let mut walk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        walk.take().unwrap_or_default()
    }

    /// The next one goes on from there.
    pub(crate) fn leave(&self, walk: Walk) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(walk);
    }
}

/// All of them.
#[derive(Debug)]
pub struct Crowd {
    tenants: Vec<Tenant>,
    users: Vec<Arc<VirtualUser>>,
    texts: AtomicU64,
    homes: Arc<Homes>,
}

/// The tenant of each account of the population, by its id.
pub type Homes = HashMap<String, usize>;

impl Crowd {
    /// The population over these tenants. Those who have a token of their own come first.
    #[must_use]
    pub fn new(population: &Population, tokens: &[TenantTokens]) -> Self {
        let tenants = tokens.iter().map(|tokens| Tenant {
            admins: tokens
                .admins
                .iter()
                .map(|admin| Arc::clone(&admin.text))
                .collect(),
            next: AtomicUsize::new(0),
            places: Mutex::default(),
        });
        let user = |index: usize| {
            let (tenant, nth) = (index % tokens.len(), index / tokens.len());
            let own = tokens[tenant].users.get(nth);
            let id = own.map_or_else(|| Uuid::new_v4().to_string(), |own| own.subject.clone());
            let own = own.map(|own| Arc::clone(&own.text));
            Arc::new(VirtualUser::new(
                id,
                tenant,
                own,
                REGIONS[index % REGIONS.len()],
            ))
        };
        let users: Vec<_> = (0..population.users).map(user).collect();
        let homes = users.iter().map(|user| (user.id.clone(), user.tenant));
        Self {
            tenants: tenants.collect(),
            homes: Arc::new(homes.collect()),
            users,
            texts: AtomicU64::new(0),
        }
    }

    /// The population; the index is the rank of [`crate::keys::Keys`].
    #[must_use]
    pub fn users(&self) -> &[Arc<VirtualUser>] {
        &self.users
    }

    /// Who belongs where.
    #[must_use]
    pub fn homes(&self) -> &Arc<Homes> {
        &self.homes
    }

    /// How many tenants there are.
    #[must_use]
    pub fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// A token of role admin, another one each time, so that no principal's rate limit is met
    /// before all are.
    #[must_use]
    pub fn admin(&self, tenant: usize) -> &Arc<str> {
        let tenant = &self.tenants[tenant];
        let next = tenant.next.fetch_add(1, Ordering::Relaxed);
        &tenant.admins[next % tenant.admins.len()]
    }

    /// The place in the list of that name.
    pub(crate) fn place(&self, list: &'static str, tenant: usize) -> Arc<Place> {
        let places = self.tenants[tenant].places.lock();
        let mut places = places.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(list).or_default())
    }

    /// The user's own token, or an admin's.
    #[must_use]
    pub fn credential<'c>(&'c self, user: &'c VirtualUser) -> &'c Arc<str> {
        let own = user.own.as_ref();
        own.unwrap_or_else(|| self.admin(user.tenant))
    }

    /// A text that nobody wrote before in this run.
    #[must_use]
    pub fn fresh_text(&self) -> String {
        let number = self.texts.fetch_add(1, Ordering::Relaxed);
        format!("Text {number} of a load test; whoever reads this reads what was written last.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_answer_that_comes_late_lowers_nothing() {
        let mut seen = Seen::default();
        seen.told(3, Some("1.0.30"));
        seen.told(2, Some("1.0.20"));
        assert_eq!((seen.version, seen.token.as_deref()), (3, Some("1.0.30")));
        seen.told(4, None);
        assert_eq!((seen.version, seen.token.as_deref()), (3, Some("1.0.30")));
    }
}
