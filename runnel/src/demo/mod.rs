//! `runnel demo`: registers a few hundred users over HTTP with a running `runnel up`, reads every
//! one back with the token of its own write, and shows what came.

mod client;
mod people;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use platform::auth::{DEV_AUDIENCE, DEV_ISSUER};
use platform::config::Problems;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::client::Client;
use self::people::Person;
use crate::home::{Home, HomeArgs};
use crate::token;

const AT_ONCE: usize = 32;
const SHOWN: usize = 5;

/// What the demo does, and with whom.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// How many users to register
    #[arg(long, default_value = "300")]
    pub users: String,
    /// Their tenant
    #[arg(long, default_value = token::TENANT_DEFAULT)]
    pub tenant: String,
    /// Where commands are accepted; `runnel up` writes it to RUNNEL_HOME/env
    #[arg(long, env = "COMMAND_URL", default_value = "http://127.0.0.1:8080")]
    pub command_url: String,
    /// Where reads are answered
    #[arg(long, env = "QUERY_URL", default_value = "http://127.0.0.1:8081")]
    pub query_url: String,
    /// The `iss` of the tokens
    #[arg(long, env = "JWT_ISSUER", default_value = DEV_ISSUER)]
    pub jwt_issuer: String,
    /// The `aud` of the tokens
    #[arg(long, env = "JWT_AUDIENCE", default_value = DEV_AUDIENCE)]
    pub jwt_audience: String,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap shows the text of a flattened field as help"
    )]
    pub home: HomeArgs,
}

/// One user's way through both APIs.
struct Round {
    person: Person,
    read: Value,
    register_time: Duration,
    read_time: Duration,
}

/// Runs the demo.
///
/// # Errors
/// When something does not answer, or a read is not what was written.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let users = problems.number("--users", &args.users, 1..=100_000);
    problems.check_or_exit();
    let home = Home::open(&args.home.runnel_home)?;
    let signer = token::signer(&home)?.for_audience(&args.jwt_issuer, &args.jwt_audience);
    let client = Client::new(signer, &args.tenant, &args.command_url, &args.query_url)?;
    let client = Arc::new(client);
    say(&format!(
        "Registering {users} users with {} …",
        args.command_url
    ))?;
    let begun = Instant::now();
    let rounds = all_rounds(&client, users).await?;
    say(&summary(&rounds, begun.elapsed()))?;
    let region = rounds[0].person.region;
    let list = client.region(region, SHOWN).await?;
    say(&format!(
        "\nThe {SHOWN} of {region} who were active last, from the list:\n"
    ))?;
    say(&listed(&list)?)
}

async fn all_rounds(client: &Arc<Client>, users: usize) -> anyhow::Result<Vec<Round>> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for person in people::crowd().take(users) {
        let (client, places) = (Arc::clone(client), Arc::clone(&places));
        tasks.spawn(async move {
            let _place = places.acquire_owned().await?;
            round(&client, person).await
        });
    }
    let mut rounds = Vec::with_capacity(users);
    while let Some(done) = tasks.join_next().await {
        rounds.push(done??);
    }
    Ok(rounds)
}

/// Writes and reads back. The read carries the write's token, so it is never older than it.
async fn round(client: &Client, person: Person) -> anyhow::Result<Round> {
    let begun = Instant::now();
    let token = client.register(&person).await?;
    let register_time = begun.elapsed();
    let begun = Instant::now();
    let read = client.read(&person, &token).await?;
    let read_time = begun.elapsed();
    let same = |field: &str, wrote: &str| read[field].as_str() == Some(wrote);
    ensure!(
        same("id", &person.id.to_string())
            && same("name", &person.name)
            && same("email", &person.email),
        "what was read is not what was written: {read}"
    );
    Ok(Round {
        person,
        read,
        register_time,
        read_time,
    })
}

fn summary(rounds: &[Round], elapsed: Duration) -> String {
    let median = |time: fn(&Round) -> Duration| {
        let mut times: Vec<Duration> = rounds.iter().map(time).collect();
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1000.0
    };
    let rate = rounds.len() as f64 / elapsed.as_secs_f64();
    let mut text = format!(
        "Registered {n} users and read every one back, each not older than its own write:\n  \
         {rate:.0} users/s with {AT_ONCE} at once; median {register:.1} ms to write, \
         {read:.1} ms to read it back through the projection\n\nSome of them, as read:\n",
        n = rounds.len(),
        register = median(|round| round.register_time),
        read = median(|round| round.read_time),
    );
    for round in rounds.iter().take(SHOWN) {
        text.push_str(&format!("\n  {}", card(&round.read)));
    }
    text
}

fn listed(list: &Value) -> anyhow::Result<String> {
    let items = list["items"].as_array().context("the list has no items")?;
    let cards: Vec<String> = items
        .iter()
        .map(|item| format!("  {}", card(item)))
        .collect();
    Ok(cards.join("\n"))
}

/// A user on one line.
fn card(user: &Value) -> String {
    let field = |name: &str| user[name].as_str().unwrap_or("–").to_owned();
    format!(
        "{:<22} {:<9} {:<48} {}",
        field("name"),
        field("region"),
        field("email"),
        field("bio")
    )
}

fn say(text: &str) -> anyhow::Result<()> {
    Ok(platform::output::write(format!("{text}\n").as_bytes())?)
}
