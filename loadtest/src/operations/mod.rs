//! What a virtual user can do: one file an operation, and one line here. An operation is one
//! request, and the judgement of its answer by what the user had been told when it was sent.

mod activity;
mod batch;
mod find;
mod list;
mod list_region;
pub(crate) mod page;
mod read;
mod read_foreign;
mod read_missing;
pub(crate) mod read_own;
mod read_unchanged;
pub(crate) mod register;
mod update;
mod verdict;

use std::sync::Arc;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::client::{Answer, Request};
use crate::crowd::{Crowd, VirtualUser};
use crate::keys::Keys;

pub use verdict::Fault;

/// Every operation, by the names that scenarios use.
pub const ALL: [&dyn Operation; 12] = [
    &register::Register,
    &update::Update,
    &activity::Activity,
    &read::Read,
    &read_own::ReadOwn,
    &read_unchanged::ReadUnchanged,
    &read_missing::ReadMissing,
    &read_foreign::ReadForeign,
    &batch::Batch,
    &find::Find,
    &list::List,
    &list_region::ListRegion,
];

/// The operation of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static dyn Operation> {
    ALL.into_iter().find(|operation| operation.name() == name)
}

/// Something that a virtual user does.
pub trait Operation: std::fmt::Debug + Send + Sync {
    /// As scenarios and reports name it.
    fn name(&self) -> &'static str;

    /// The request, and how its answer is judged.
    fn begin(&self, turn: &mut Turn<'_>) -> Begun;
}

/// A request, and how its answer is judged.
pub struct Begun {
    /// What is sent.
    pub request: Request,
    /// Looks at the answer. What it needs to know it took along when the request was made.
    pub judge: Judge,
}

/// Looks at an answer: what it did, or what is wrong with it.
pub type Judge = Box<dyn FnOnce(&Answer) -> Result<Effect, Fault> + Send>;

/// What a good answer means for the rest of the run.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// The account has this version now: somebody may watch when it is seen.
    Written(Arc<VirtualUser>, u64),
}

/// A virtual user's move.
#[derive(Debug)]
pub struct Turn<'t> {
    /// Everybody.
    pub crowd: &'t Crowd,
    /// Whose move it is; `register` puts the new account here.
    pub user: Arc<VirtualUser>,
    /// How others are chosen.
    pub keys: Keys,
    /// The share of commands with an `Idempotency-Key`.
    pub idempotency_keys: f64,
    /// For choices.
    pub random: &'t mut ChaCha8Rng,
}

impl Turn<'_> {
    /// Somebody, by the scenario's distribution.
    fn somebody(&mut self) -> Arc<VirtualUser> {
        let users = self.crowd.users();
        Arc::clone(&users[self.keys.draw(users.len(), self.random)])
    }

    /// Somebody of the user's own tenant.
    fn neighbour(&mut self) -> Arc<VirtualUser> {
        let (somebody, tenants) = (self.somebody(), self.crowd.tenants());
        if somebody.tenant == self.user.tenant {
            return somebody;
        }
        // Users stand tenant by tenant in turn: the nearest rank that is of this tenant.
        let users = self.crowd.users();
        let nth = self.keys.draw(users.len(), self.random) / tenants;
        let index = nth * tenants + self.user.tenant;
        Arc::clone(users.get(index).unwrap_or(&self.user))
    }

    /// An id that nobody has: no seed makes it, for a load that runs again finds the accounts of
    /// the one before.
    fn fresh_id(&self) -> String {
        Uuid::new_v4().to_string()
    }

    /// A command, with a key now and then.
    fn keyed(&mut self, mut request: Request) -> Request {
        if self.random.random::<f64>() < self.idempotency_keys {
            request.idempotency_key = Some(self.fresh_id());
        }
        request
    }
}
