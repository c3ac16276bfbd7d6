//! The load: sessions of several tenants that ask until they are stopped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chaos::history::Recorder;
use testkit::pipeline::canary::Canaries;
use testkit::pipeline::{Client, Node, Who};
use tokio::task::JoinHandle;

use super::dice::Dice;
use super::request::Asker;
use super::session::{Session, Users, read_one};
use super::system::System;

const TENANTS: usize = 3;
/// After the last write, before what is at rest is read: longer than any cache is fresh.
const REST: Duration = Duration::from_secs(3);

struct Tenant {
    canaries: Canaries,
    bearer: String,
    users: Users,
}

pub(super) struct Clients {
    tenants: Vec<Tenant>,
    stop: Arc<AtomicBool>,
    sessions: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Clients {
    pub(super) fn start(system: &System, recorder: &Recorder, seed: u64, count: usize) -> Self {
        let tenants: Vec<Tenant> = (0..TENANTS)
            .map(|_| {
                let canaries = Canaries::new();
                Tenant {
                    bearer: system.tokens.sign(&canaries.tenant, Who::Admin),
                    canaries,
                    users: Users::default(),
                }
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let sessions = (0_u64..).take(count).zip(tenants.iter().cycle());
        let sessions = sessions.map(|(number, tenant)| {
            let mut session = Session {
                asker: asker(tenant, format!("session-{number}"), recorder, false),
                canaries: tenant.canaries.clone(),
                users: tenant.users.clone(),
                commands: system.commands.iter().map(Node::url).collect(),
                queries: system.queries.iter().map(Node::url).collect(),
                dice: Dice::new(seed ^ (number + 1)),
                seen: BTreeMap::new(),
                versions: BTreeMap::new(),
            };
            let stop = stop.clone();
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    session.step().await;
                }
            })
        });
        let sessions = std::sync::Mutex::new(sessions.collect());
        Self {
            tenants,
            stop,
            sessions,
        }
    }

    /// The texts of each tenant.
    pub(super) fn canaries(&self) -> BTreeMap<String, Vec<String>> {
        let texts = |tenant: &Tenant| {
            let all = tenant.canaries.all().map(str::to_owned).to_vec();
            (tenant.canaries.tenant.clone(), all)
        };
        self.tenants.iter().map(texts).collect()
    }

    /// Stops the sessions, each after its request.
    pub(super) async fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let sessions = self.sessions.lock();
        let sessions = std::mem::take(&mut *sessions.unwrap_or_else(PoisonError::into_inner));
        for session in sessions {
            session.await.expect("a session does not panic");
        }
    }

    /// Reads every user on every node.
    pub(super) async fn read_at_rest(&self, system: &System, recorder: &Recorder) {
        tokio::time::sleep(REST).await;
        for tenant in &self.tenants {
            let asker = asker(tenant, "at rest".to_owned(), recorder, true);
            let users = tenant.users.lock();
            let users = users.unwrap_or_else(PoisonError::into_inner).clone();
            for user in users {
                for node in &system.queries {
                    asker.ask(&node.url(), &read_one(user)).await;
                }
            }
        }
    }
}

fn asker(tenant: &Tenant, session: String, recorder: &Recorder, is_settled: bool) -> Asker {
    Asker {
        session,
        tenant: tenant.canaries.tenant.clone(),
        bearer: tenant.bearer.clone(),
        client: Client::new(),
        recorder: recorder.clone(),
        is_settled,
    }
}
