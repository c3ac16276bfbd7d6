//! A session: one client that asks one thing after the other and sends back what it was given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chaos::history::{Kind, Operation, Outcome};
use events::ConsistencyToken;
use events::token::TokenEntry;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::pipeline::canary::Canaries;
use uuid::Uuid;

use super::dice::Dice;
use super::request::{Ask, Asker};

/// Between two requests of a session: enough that two cores have time for the damage, too.
const PAUSE: Duration = Duration::from_millis(15);
/// After a connection that was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// How often a request with a key is sent again when its outcome is unknown.
const ATTEMPTS_MAX: usize = 4;
/// Users of a tenant; from then on sessions change those that there are.
const USERS_MAX: usize = 40;

/// The users of a tenant that are known to be registered; its sessions share them.
pub(super) type Users = Arc<Mutex<Vec<Uuid>>>;

pub(super) struct Session {
    pub(super) asker: Asker,
    pub(super) canaries: Canaries,
    pub(super) users: Users,
    pub(super) commands: Vec<String>,
    pub(super) queries: Vec<String>,
    pub(super) dice: Dice,
    /// Where the session has come to, by partition.
    pub(super) seen: BTreeMap<u16, TokenEntry>,
    pub(super) versions: BTreeMap<Uuid, i64>,
}

impl Session {
    /// Asks the next thing.
    pub(super) async fn step(&mut self) {
        let known = self.known();
        let roll = self.dice.roll(100);
        let operation = match (known.is_empty(), roll) {
            (true, _) => self.register().await,
            (_, 0..8) if known.len() < USERS_MAX => self.register().await,
            (_, 0..40) => self.change(&known, roll).await,
            (_, _) => self.read(&known, roll).await,
        };
        let is_refused = operation.status.is_none();
        tokio::time::sleep(if is_refused { REFUSED_PAUSE } else { PAUSE }).await;
    }

    fn known(&self) -> Vec<Uuid> {
        let users = self.users.lock();
        users.unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn register(&mut self) -> Operation {
        let (user, canaries) = (Uuid::new_v4(), &self.canaries);
        let body = json!({
            "id": user,
            "email": format!("{}.{}@example.org", user.simple(), &canaries.email[..24]),
            "name": format!("{} 0", canaries.name),
            "region": canaries.region,
            "bio": canaries.bio,
        });
        let ask = command(
            "register",
            Method::POST,
            "/v1/users".to_owned(),
            user,
            Some(body),
        );
        let operation = self.insist(ask).await;
        if operation.outcome == Outcome::Ok {
            let users = self.users.lock();
            users.unwrap_or_else(PoisonError::into_inner).push(user);
        }
        operation
    }

    async fn change(&mut self, known: &[Uuid], roll: usize) -> Operation {
        let user = known[self.dice.roll(known.len())];
        let path = format!("/v1/users/{user}");
        let name = format!("{} {}", self.canaries.name, Uuid::new_v4().simple());
        let rename = command(
            "rename",
            Method::PATCH,
            path.clone(),
            user,
            Some(json!({ "name": name })),
        );
        match roll {
            0..24 => self.insist(rename).await,
            24..28 => {
                let operation = self.insist(rename.clone()).await;
                self.repeat(rename, &operation).await
            }
            28..32 => {
                let mut ask = rename;
                ask.if_match = self.versions.get(&user).copied();
                self.insist(ask).await
            }
            32..36 => {
                let address = format!("{}.{}@example.org", Uuid::new_v4().simple(), &name[..24]);
                let body = Some(json!({ "email": address }));
                let path = format!("{path}/email");
                self.insist(command("change_email", Method::PUT, path, user, body))
                    .await
            }
            _ => {
                let path = format!("{path}/activity");
                let mut ask = command("activity", Method::POST, path, user, None);
                ask.kind = Kind::Touch;
                self.insist(ask).await
            }
        }
    }

    /// Sends a command with a key until its outcome is known, each time to any node.
    async fn insist(&mut self, mut ask: Ask) -> Operation {
        if ask.key.is_none() {
            ask.key = Some(Uuid::new_v4().to_string());
        }
        // Some clients know no keys; what they do not hear they never learn.
        if self.dice.roll(4) == 0 && ask.what == "rename" {
            ask.key = None;
        }
        let mut attempts = 1;
        loop {
            let operation = self.command(&ask).await;
            let is_open = operation.outcome == Outcome::Unknown
                || operation.code.as_deref() == Some("request_in_flight");
            if !is_open || ask.key.is_none() || attempts == ATTEMPTS_MAX {
                return operation;
            }
            attempts += 1;
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }

    /// The same once more under its key, and then another request under it.
    async fn repeat(&mut self, mut ask: Ask, done: &Operation) -> Operation {
        let (Some(key), Outcome::Ok) = (&done.key, done.outcome) else {
            return done.clone();
        };
        ask.key = Some(key.clone());
        self.command(&ask).await;
        ask.body = Some(json!({ "name": format!("{} another", self.canaries.name) }));
        self.command(&ask).await
    }

    async fn command(&mut self, ask: &Ask) -> Operation {
        let node = self.commands[self.dice.roll(self.commands.len())].clone();
        let operation = self.asker.ask(&node, ask).await;
        if operation.outcome == Outcome::Ok {
            self.learn(&operation);
            if let (Some(user), Some(version)) = (operation.user, operation.version) {
                self.versions.insert(user, version);
            }
        }
        operation
    }

    async fn read(&mut self, known: &[Uuid], roll: usize) -> Operation {
        let mut any = || known[self.dice.roll(known.len())];
        let mut ask = match roll {
            0..80 => read_one(any()),
            80..92 => {
                let ids = [any(), any(), any()].map(|id| id.to_string()).join(",");
                read(Kind::ReadIds, "read_ids", format!("/v1/users?ids={ids}"))
            }
            _ => {
                let region = &self.canaries.region;
                let path = format!("/v1/users?region={region}&active_since=2020-01-01T00:00:00Z");
                read(Kind::ReadRegion, "read_region", path)
            }
        };
        if self.dice.roll(3) > 0 && !self.seen.is_empty() {
            let entries = self.seen.values().copied().collect();
            ask.sent = Some(ConsistencyToken::new(entries).to_string());
        }
        let node = self.queries[self.dice.roll(self.queries.len())].clone();
        let operation = self.asker.ask(&node, &ask).await;
        if operation.outcome == Outcome::Ok && operation.stale.is_none() {
            self.learn(&operation);
        }
        operation
    }

    /// Keeps the highest address of each partition.
    fn learn(&mut self, operation: &Operation) {
        let token = operation.token.as_deref().unwrap_or_default();
        let token: ConsistencyToken = token.parse().unwrap_or_default();
        for entry in token.entries() {
            let partition = entry.address.partition.0;
            let seen = self.seen.entry(partition).or_insert(*entry);
            *seen = (*seen).max(*entry);
        }
    }
}

fn command(
    what: &'static str,
    method: Method,
    path: String,
    user: Uuid,
    body: Option<Value>,
) -> Ask {
    Ask {
        kind: Kind::Change,
        what,
        method,
        path,
        body,
        user: Some(user),
        key: None,
        if_match: None,
        sent: None,
    }
}

/// A user by its id.
pub(super) fn read_one(user: Uuid) -> Ask {
    Ask {
        user: Some(user),
        ..read(Kind::Read, "read", format!("/v1/users/{user}"))
    }
}

fn read(kind: Kind, what: &'static str, path: String) -> Ask {
    Ask {
        kind,
        what,
        method: Method::GET,
        path,
        body: None,
        user: None,
        key: None,
        if_match: None,
        sent: None,
    }
}
