//! What is done to the system. Each fault ends when everything is ready again.

use std::fmt;
use std::time::Duration;

use testkit::pipeline::Node;
use testkit::pipeline::process::Signal;

use super::Server;
use super::dice::Dice;
use super::system::System;

/// How long something hangs: longer than the leases of the run, which are 2 s.
const PAUSE: Duration = Duration::from_millis(2_500);
/// How long something is away before it is started again.
const AWAY: Duration = Duration::from_millis(600);

/// A kind of process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Command,
    Projector,
    Query,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    what: What,
    /// Which of the two processes.
    number: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Kill(Role),
    Pause(Role),
    Roll(Role),
    KillPostgres,
    PausePostgres,
    FlushRedis,
    KillRedis,
    PauseRedis,
    DeleteTopic,
    KillKafka,
    PauseKafka,
}

const ALL: [What; 17] = [
    What::Kill(Role::Command),
    What::Kill(Role::Projector),
    What::Kill(Role::Query),
    What::Pause(Role::Command),
    What::Pause(Role::Projector),
    What::Pause(Role::Query),
    What::Roll(Role::Command),
    What::Roll(Role::Projector),
    What::Roll(Role::Query),
    What::KillPostgres,
    What::PausePostgres,
    What::FlushRedis,
    What::KillRedis,
    What::PauseRedis,
    What::DeleteTopic,
    What::KillKafka,
    What::PauseKafka,
];

/// Every kind in each round, in another order each.
pub(super) fn order(dice: &mut Dice, rounds: usize, without: &[Server]) -> Vec<Fault> {
    let has = |what: &What| match what {
        What::FlushRedis | What::KillRedis | What::PauseRedis => !without.contains(&Server::Redis),
        What::DeleteTopic | What::KillKafka | What::PauseKafka => !without.contains(&Server::Kafka),
        _ => true,
    };
    let mut order = vec![];
    for _ in 0..rounds {
        let mut round: Vec<What> = ALL.into_iter().filter(has).collect();
        dice.shuffle(&mut round);
        order.extend(round.into_iter().map(|what| Fault {
            what,
            number: dice.roll(2),
        }));
    }
    order
}

impl Fault {
    /// What is counted as one.
    pub(super) fn kind(self) -> &'static str {
        match self.what {
            What::Kill(_) | What::KillPostgres | What::KillRedis | What::KillKafka => "kill",
            What::Pause(_) | What::PausePostgres | What::PauseRedis | What::PauseKafka => "pause",
            What::Roll(_) => "rolling restart",
            What::FlushRedis => "flush",
            What::DeleteTopic => "topic deleted",
        }
    }

    /// Does it, and waits until everything is ready again.
    pub(super) async fn strike(self, system: &mut System) {
        match self.what {
            What::Kill(role) => {
                let node = &mut nodes(system, role)[self.number];
                node.kill();
                tokio::time::sleep(AWAY).await;
                node.start_again().await;
            }
            What::Pause(role) => {
                let process = nodes(system, role)[self.number].process();
                process.signal(Signal::Stop);
                tokio::time::sleep(PAUSE).await;
                process.signal(Signal::Continue);
            }
            What::Roll(role) => {
                for node in nodes(system, role) {
                    node.stop().await;
                    node.start_again().await;
                }
            }
            What::KillPostgres => {
                system.postgres.kill();
                tokio::time::sleep(AWAY).await;
                system.postgres.start_again().await;
            }
            What::PausePostgres => pause_postgres(system.postgres.pid()).await,
            What::FlushRedis | What::KillRedis | What::PauseRedis => redis(self.what, system).await,
            What::DeleteTopic | What::KillKafka | What::PauseKafka => {
                kafka(self.what, system).await;
            }
        }
    }
}

fn nodes(system: &mut System, role: Role) -> &mut [Node] {
    match role {
        Role::Command => &mut system.commands,
        Role::Projector => &mut system.projectors,
        Role::Query => &mut system.queries,
    }
}

/// The whole server hangs: those of its processes that there are now.
async fn pause_postgres(postmaster: u32) {
    let mut all = vec![postmaster];
    all.extend(children(postmaster));
    // One that has ended meanwhile needs no signal.
    for pid in &all {
        drop(Signal::Stop.send(*pid));
    }
    tokio::time::sleep(PAUSE).await;
    for pid in all {
        drop(Signal::Continue.send(pid));
    }
}

/// The processes that this one has started.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.collect()
}

async fn redis(what: What, system: &System) {
    let server = system.redis.as_ref().expect("no such fault without Redis");
    match what {
        What::FlushRedis => super::cache::flush(server.address()).await,
        What::KillRedis => {
            server.kill().expect("a running Redis");
            tokio::time::sleep(AWAY).await;
            server.start_again().expect("Redis starts again");
        }
        _ => {
            server.signal(Signal::Stop).expect("a running Redis");
            tokio::time::sleep(PAUSE).await;
            server.signal(Signal::Continue).expect("a paused Redis");
        }
    }
}

async fn kafka(what: What, system: &System) {
    let (server, topic) = system.kafka.as_ref().expect("no such fault without Kafka");
    match what {
        What::DeleteTopic => {
            topic.delete().await;
            tokio::time::sleep(AWAY).await;
            topic.make().await;
        }
        What::KillKafka => {
            server.kill().expect("a running Kafka");
            tokio::time::sleep(AWAY).await;
            server.start_again().expect("Kafka starts again");
        }
        _ => {
            server.signal(Signal::Stop).expect("a running Kafka");
            tokio::time::sleep(PAUSE).await;
            server.signal(Signal::Continue).expect("a paused Kafka");
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = |role| match role {
            Role::Command => "command-api",
            Role::Projector => "projector",
            Role::Query => "query-api",
        };
        match self.what {
            What::Kill(of) => write!(f, "kill -9 {} {}", role(of), self.number),
            What::Pause(of) => write!(f, "pause {} {}", role(of), self.number),
            What::Roll(of) => write!(f, "SIGTERM each {} in turn", role(of)),
            What::KillPostgres => f.write_str("kill -9 PostgreSQL"),
            What::PausePostgres => f.write_str("pause PostgreSQL"),
            What::FlushRedis => f.write_str("FLUSHALL"),
            What::KillRedis => f.write_str("kill -9 Redis"),
            What::PauseRedis => f.write_str("pause Redis"),
            What::DeleteTopic => f.write_str("delete the topic and make it again"),
            What::KillKafka => f.write_str("kill -9 Kafka"),
            What::PauseKafka => f.write_str("pause Kafka"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_the_order_and_another_changes_it() {
        let order = |seed| order(&mut Dice::new(seed), 2, &[]);
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
        assert_eq!(order(7).len(), 2 * ALL.len());
    }

    #[test]
    fn without_a_server_none_of_its_faults_come() {
        let order = order(&mut Dice::new(7), 1, &[Server::Kafka, Server::Redis]);
        assert_eq!(order.len(), ALL.len() - 6);
    }
}
