//! Settings: defaults, and everything that is wrong at once.

use std::time::Duration;

use platform::config::{
    AdminArgs, AuthArgs, DatabaseArgs, Environment, HttpArgs, InvalidSettings, JwksSource, Mode,
    Problems, ProcessArgs, RateLimitSettings, SecretArgs, ShutdownArgs, TelemetryArgs, load,
};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    secret: SecretArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    shutdown: ShutdownArgs,
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

const SECRET: &str = "0101010101010101010101010101010101010101010101010101010101010101";

const IDENTITY: [(&str, &str); 6] = [
    (
        "DATABASE_URL",
        "postgres://runnel:pass@localhost:5432/runnel",
    ),
    ("JWKS", "https://issuer.example/jwks.json"),
    ("JWT_ISSUER", "issuer"),
    ("JWT_AUDIENCE", "audience"),
    ("SECRET_KEY", SECRET),
    ("RUNNEL_HOME", "/nowhere"),
];

fn cli(changes: &[(&str, &str)]) -> Cli {
    let pairs = IDENTITY.iter().chain(changes).copied();
    load::<Cli>(["test"], Environment::from_pairs(pairs))
        .unwrap()
        .0
}

fn validate(cli: &Cli) -> Result<(), InvalidSettings> {
    let mut problems = Problems::default();
    let process = cli.process.validate(&mut problems);
    cli.http.validate(&mut problems);
    cli.database.validate(&mut problems);
    cli.auth.validate(&mut problems);
    cli.secret.validate(process.mode, &mut problems);
    cli.telemetry.validate(&mut problems);
    cli.shutdown.validate("3s", &mut problems);
    cli.admin.validate("127.0.0.1:9080", &mut problems);
    problems.check()
}

fn wrong(changes: &[(&str, &str)]) -> Vec<String> {
    let invalid = validate(&cli(changes)).err();
    invalid
        .into_iter()
        .flat_map(|invalid| invalid.0)
        .map(|wrong| wrong.name)
        .collect()
}

#[test]
fn the_defaults_are_those_of_the_documents() {
    let cli = cli(&[]);
    validate(&cli).unwrap();
    let mut problems = Problems::default();
    let seconds = Duration::from_secs;
    let http = cli.http.validate(&mut problems);
    assert_eq!(
        (http.head_timeout, http.read_timeout),
        (seconds(2), seconds(5))
    );
    assert_eq!(
        (http.write_timeout, http.keep_alive),
        (seconds(10), seconds(60))
    );
    assert_eq!((http.body_max, http.connections_max), (64 << 10, 4096));
    assert_eq!(http.read_deadline, seconds(5));
    assert_eq!(
        http.rate_limit,
        Some(RateLimitSettings {
            per_second: 1000,
            burst: 2000
        })
    );
    assert!(http.trusted_proxies.is_empty() && http.cors_origins.is_empty());
    let database = cli.database.validate(&mut problems);
    let pools = database.pools;
    assert_eq!((pools.command, pools.query, pools.relay), (8, 8, 2));
    assert_eq!((pools.projector, pools.admin), (4, 2));
    assert_eq!(database.acquire_timeout, seconds(1));
    assert_eq!(
        (database.connection_lifetime, database.idle_timeout),
        (seconds(300), seconds(30))
    );
    assert_eq!(database.session.statement, seconds(2));
    assert_eq!(database.session.lock, Duration::from_millis(500));
    assert_eq!(database.session.idle_in_transaction, seconds(5));
    let auth = cli.auth.validate(&mut problems);
    assert!(matches!(auth.jwks, JwksSource::Url(_)));
    assert_eq!(
        (auth.leeway, auth.token_cache_ttl),
        (seconds(30), seconds(60))
    );
    let telemetry = cli.telemetry.validate(&mut problems);
    assert_eq!((telemetry.sample_ratio, telemetry.batch_max), (0.1, 512));
    assert_eq!(telemetry.batch_delay, seconds(5));
    assert_eq!(telemetry.runtime_stats_interval, seconds(30));
    let shutdown = cli.shutdown.validate("3s", &mut problems);
    assert_eq!((shutdown.wait, shutdown.grace), (seconds(3), seconds(25)));
    let process = cli.process.validate(&mut problems);
    assert_eq!(process.mode, Mode::Development);
    assert!(process.worker_threads >= 1 && process.memory_limit > 0);
}

#[test]
fn every_wrong_setting_is_listed_at_once() {
    let changes = [
        ("RUNNEL_ENV", "staging"),
        ("WORKER_THREADS", "0"),
        ("MEMORY_LIMIT", "lots"),
        ("HTTP_HEAD_TIMEOUT", "2"),
        ("HTTP_BODY_MAX", "64 parsecs"),
        ("RATE_LIMIT_BURST", "0"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("CORS_ORIGINS", "https://a.example/path"),
        ("DB_POOL_QUERY", "0"),
        ("DB_LOCK_TIMEOUT", "3s"),
        ("JWKS", "http://elsewhere.example/jwks.json"),
        ("JWT_LEEWAY", "31s"),
        ("SECRET_KEY", "short"),
        ("RUST_LOG", "info,=="),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "not a url"),
        ("TRACE_SAMPLE_RATIO", "2"),
        ("SHUTDOWN_WAIT", "soon"),
        ("ADMIN_LISTEN", "9080"),
    ];
    let (mut found, mut expected) = (wrong(&changes), changes.map(|(name, _)| name.to_owned()));
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_is_missing_is_named() {
    let empty = Environment::from_pairs([("RUNNEL_HOME", "/nowhere")]);
    let (cli, _) = load::<Cli>(["test"], empty).unwrap();
    let text = validate(&cli).unwrap_err().to_string();
    for name in [
        "DATABASE_URL",
        "JWKS",
        "JWT_ISSUER",
        "JWT_AUDIENCE",
        "SECRET_KEY",
    ] {
        assert!(text.contains(&format!("\n  {name}: is required")), "{text}");
    }
    assert!(text.starts_with("5 wrong settings:"), "{text}");
}

#[test]
fn no_message_holds_a_secret() {
    let bad_url = [
        ("DATABASE_URL", "mysql://runnel:hunter2@localhost/x"),
        ("SECRET_KEY", "hunter2"),
    ];
    let text = validate(&cli(&bad_url)).unwrap_err().to_string();
    assert!(
        text.contains("DATABASE_URL") && text.contains("SECRET_KEY"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    let mut problems = Problems::default();
    let debug = format!("{:?}", cli(&[]).database.validate(&mut problems));
    assert!(!debug.contains("pass@"), "{debug}");
}

#[test]
fn a_secret_may_stand_in_a_file_but_not_in_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(
        wrong(&[("SECRET_KEY", ""), ("SECRET_KEY_FILE", path)]),
        Vec::<String>::new()
    );
    assert_eq!(wrong(&[("SECRET_KEY_FILE", path)]), ["SECRET_KEY"]);
    let missing = [("SECRET_KEY", ""), ("SECRET_KEY_FILE", "/nowhere/key")];
    assert_eq!(wrong(&missing), ["SECRET_KEY_FILE"]);
}

#[test]
fn production_refuses_the_development_secret() {
    let dev = format!("dev:{SECRET}");
    assert_eq!(wrong(&[("SECRET_KEY", &dev)]), Vec::<String>::new());
    assert_eq!(
        wrong(&[("SECRET_KEY", &dev), ("RUNNEL_ENV", "production")]),
        ["SECRET_KEY"]
    );
}

#[test]
fn a_rate_of_0_turns_the_limit_off() {
    let mut problems = Problems::default();
    let http = cli(&[("RATE_LIMIT_PER_SECOND", "0")])
        .http
        .validate(&mut problems);
    assert!(problems.is_empty() && http.rate_limit.is_none());
}
