//! What a request allocates, and whether a process under load grows.
//!
//! Allocations are counted in a process of their own, in which our service runs with its
//! middleware, its log and its metrics, and nothing else: see `bench-counted`. Nothing is
//! subtracted: what tasks in the background and new connections allocate meanwhile is in the
//! figure. Memory is that of the ordinary program, with its own allocator.
//!
//! | module | its part |
//! |---|---|
//! | [`counted`] | a counted service and its counters |
//! | [`resident`] | the memory of a process, again and again |

mod counted;
mod resident;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use sqlx::Connection as _;
use testkit::Cluster;
use uuid::Uuid;

use self::counted::{Allocated, Counted};
use self::resident::Resident;
use crate::figure::{Mark, Row};
use crate::http::{self, Load, Watched};
use crate::output::say;
use crate::query::{self, Gets, Stage};
use crate::services::Log;
use crate::{machine, registrations};

/// The marks of the design: bytes a hit, and the last quarter's memory by the first one's.
const HIT_BYTES: Mark = Mark::AtMost(1024.0);
const GROWTH: Mark = Mark::AtMost(1.05);

/// Of the look-ups, so many must be hits.
const HITS_MIN: f64 = 0.99;

/// Before memory is looked at: caches fill, connections get their buffers.
const SETTLE: Duration = Duration::from_secs(5);

/// Sizes of the benchmark; the defaults are those of docs/performance.md.
#[derive(Args, Clone, Debug)]
pub(crate) struct MemoryArgs {
    /// Hits that are counted.
    #[arg(long, default_value_t = 50_000)]
    hits: usize,
    /// Commands that are counted.
    #[arg(long, default_value_t = 20_000)]
    commands: usize,
    /// Connections while it is counted, and so commands at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Users that are asked for.
    #[arg(long, default_value_t = 1_000)]
    users: usize,
    /// Seconds of load while the memory is looked at.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs the benchmark; its rows of the table.
///
/// # Errors
/// When a server or a service fails: then there are no figures.
pub(crate) async fn run(args: MemoryArgs) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start("bench", &machine::server_settings(false)).await?;
    let mut admin = cluster.admin().await?;
    say(&machine::describe(&mut admin, cluster.folder()).await?)?;
    admin.close().await?;
    let stage = Stage::build(&cluster, args.connections, args.users).await?;
    let hit = hits(&stage, &args).await?;
    let command = commands(&stage, &args).await?;
    let resident = under_load(&stage, &cluster, &args).await?;
    Ok(vec![
        Row::alone("allocated per query hit", "B", hit.bytes, HIT_BYTES),
        Row::reported("allocated per command", "B", command.bytes),
        Row::ratio(
            "memory of query-api under load, last quarter by first",
            "MiB",
            (&[resident.last], &[resident.first]),
            GROWTH,
        ),
    ])
}

async fn hits(stage: &Stage, args: &MemoryArgs) -> anyhow::Result<Allocated> {
    // A hit is what is counted, and neither a miss nor a look whether it is still one.
    let fresh = [("CACHE_L1_FRESH", query::FRESH.to_owned())];
    let counted = Counted::start(&stage.deployment, "query-api", "QUERY_LISTEN", &fresh).await?;
    let address = counted.service.data;
    let of_user = |number: usize| {
        let token = &stage.tokens[number % stage.tokens.len()];
        let id = stage.users[number % stage.users.len()];
        query::request(address, token, id)
    };
    let load = load(address, 200, args.connections);
    http::each(&load, (0..stage.users.len()).map(of_user)).await?;
    let answer = http::fetch(address, &of_user(0)).await?;
    let before = (counted.look_ups("").await?, counted.look_ups("l1").await?);
    let requests: Vec<_> = (0..args.hits).map(of_user).collect();
    let allocated = counted
        .during(http::each(&load, requests), args.hits)
        .await?;
    let all = counted.look_ups("").await? - before.0;
    let hits = counted.look_ups("l1").await? - before.1;
    ensure!(
        hits >= HITS_MIN * all,
        "of {all} look-ups only {hits} were hits"
    );
    say(&format!(
        "\n{} query hits over {} connections: {} a hit; the answer has {} bytes, {} of them its \
         body{}\n",
        args.hits,
        args.connections,
        allocated.words(),
        answer.head.len() + answer.body.len(),
        answer.body.len(),
        HIT_BYTES.judge(allocated.bytes),
    ))?;
    Ok(allocated)
}

async fn commands(stage: &Stage, args: &MemoryArgs) -> anyhow::Result<Allocated> {
    let counted = Counted::start(&stage.deployment, "command-api", "COMMAND_LISTEN", &[]).await?;
    let address = counted.service.data;
    let of_new_user = |number: usize| {
        let token = &stage.tokens[number % stage.tokens.len()];
        registrations::request(address, token, Uuid::now_v7())
    };
    let load = load(address, 201, args.connections);
    http::each(&load, (0..args.connections * 10).map(of_new_user)).await?;
    let requests: Vec<_> = (0..args.commands).map(of_new_user).collect();
    let run = http::each(&load, requests);
    let allocated = counted.during(run, args.commands).await?;
    say(&format!(
        "{} commands over {} connections: {} a command\n",
        args.commands,
        args.connections,
        allocated.words(),
    ))?;
    Ok(allocated)
}

/// As deployed: answers get old, and are read again.
async fn under_load(
    stage: &Stage,
    cluster: &Cluster,
    args: &MemoryArgs,
) -> anyhow::Result<Resident> {
    let service = stage
        .deployment
        .query_api(Log::Requests, &[])?
        .ready()
        .await?;
    let time = Duration::from_secs(args.seconds);
    let load = Load {
        warm_up: SETTLE,
        time,
        ..load(service.data, 200, args.connections)
    };
    let watched = Watched {
        server: service.pid(),
        beside: &[],
        postmaster: cluster.pid(),
        database: query::DATABASE,
    };
    let gets = |number: usize| {
        let (token, users) = (&stage.tokens[number], stage.users.clone());
        Gets::new(service.data, token, users, number)
    };
    let (measured, resident) = tokio::try_join!(
        http::closed(&load, &watched, gets),
        Resident::watch(service.pid(), SETTLE, time),
    )?;
    say(&format!(
        "query-api under {:.0} requests/s for {} s: {}{}\n",
        measured.rate(),
        args.seconds,
        resident.words(),
        GROWTH.judge(resident.last / resident.first),
    ))?;
    Ok(resident)
}

fn load(address: SocketAddr, expected: u16, connections: usize) -> Load {
    Load {
        address,
        expected,
        connections,
        warm_up: Duration::ZERO,
        time: Duration::ZERO,
    }
}
