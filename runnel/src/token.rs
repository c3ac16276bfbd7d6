//! `runnel token`: tokens for development, signed with the keys of `runnel keys`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use events::TenantId;
use platform::auth::{Claims, DEV_AUDIENCE, DEV_ISSUER, DevKeys, Role, TokenSigner};
use platform::config::{Problems, parse_duration};
use uuid::Uuid;

use crate::home::{Home, write_private};

/// The tenant of tokens when none is named.
pub const TENANT_DEFAULT: &str = "demo";

const LIFETIME_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
const COUNT_MAX: u32 = 1_000_000;

/// What the tokens say.
#[derive(Debug, Clone, clap::Args)]
pub struct TokenArgs {
    /// What the bearer may do: user, operator or admin
    #[arg(long, default_value = "user")]
    pub role: String,
    /// The tenant whose data the bearer sees
    #[arg(long, default_value = TENANT_DEFAULT)]
    pub tenant: String,
    /// The user id, or a service's name; default: a new id for each token
    #[arg(long)]
    pub sub: Option<String>,
    /// How many tokens, one a line
    #[arg(long, default_value = "1")]
    pub count: String,
    /// Write them to this file (0600) instead of standard output
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// How long they are valid
    #[arg(long, default_value = "12h")]
    pub ttl: String,
    /// The `iss` that they carry
    #[arg(long, env = "JWT_ISSUER", default_value = DEV_ISSUER)]
    pub jwt_issuer: String,
    /// The `aud` that they carry
    #[arg(long, env = "JWT_AUDIENCE", default_value = DEV_AUDIENCE)]
    pub jwt_audience: String,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap shows the text of a flattened field as help"
    )]
    pub home: crate::home::HomeArgs,
}

/// Signs and writes the tokens.
///
/// # Errors
/// When there are no keys, or the tokens cannot be written.
pub fn run(args: &TokenArgs) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let role: Role = problems.parsed("--role", args.role.parse());
    let lifetime = problems.parsed("--ttl", parse_duration(&args.ttl));
    problems.require(
        !lifetime.is_zero() && lifetime <= LIFETIME_MAX,
        "--ttl",
        "is not between 1s and 366days",
    );
    problems.parsed("--tenant", TenantId::parse(&args.tenant).map(drop));
    let count = problems.number("--count", &args.count, 1..=COUNT_MAX);
    problems.check_or_exit();
    let home = Home::open(&args.home.runnel_home)?;
    let signer = signer(&home)?.for_audience(&args.jwt_issuer, &args.jwt_audience);
    let mut text = String::new();
    for _ in 0..count {
        let sub = args
            .sub
            .clone()
            .unwrap_or_else(|| Uuid::now_v7().to_string());
        let claims = Claims {
            tenant: args.tenant.clone(),
            sub,
            role,
        };
        text.push_str(&signer.sign(&claims, lifetime)?);
        text.push('\n');
    }
    write(&text, args.out.as_deref())
}

/// The development signer of a home.
///
/// # Errors
/// When the home has no keys.
pub fn signer(home: &Home) -> anyhow::Result<TokenSigner> {
    let folder = home.keys();
    DevKeys::in_folder(&folder)
        .signer()
        .with_context(|| format!("no key in {}; `runnel keys` makes one", folder.display()))
}

fn write(text: &str, out: Option<&Path>) -> anyhow::Result<()> {
    match out {
        Some(path) => write_private(path, text.as_bytes()),
        None => Ok(platform::output::write(text.as_bytes())?),
    }
}
