//! The yardstick of a command: cqrs-es with postgres-es as their documents say, behind the handler
//! and the middleware that ours has: the same token, body, limits, log and metrics, the same domain
//! deciding, the same answer but for the consistency token, of which it knows nothing. It checks
//! no claim on the address and remembers no key.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};

use actix_web::http::header::{ETAG, LOCATION};
use actix_web::{HttpResponse, web};
use anyhow::Context as _;
use chrono::{SubsecRound as _, Utc};
use clap::Args;
use cqrs_es::AggregateError;
use domain::User;
use domain::user::{Now, RegisterUser};
use events::TenantId;
use events::user_fields::{AvatarUrl, Bio, Email, EmailKey, Name, Region};
use platform::admin::Readiness;
use platform::auth::{Claims, Role, Verifier};
use platform::config::{
    AuthArgs, DatabaseArgs, HttpArgs, Problems, ProcessArgs, ShutdownArgs, TelemetryArgs,
};
use platform::http::{
    Api, Fields, HttpCode, HttpStack, Problem, RequestContext, StrictBody, StrictJson, serve,
    version_tag,
};
use platform::secret::{HmacKey, SecretKey};
use platform::telemetry;
use postgres_es::{PostgresCqrs, postgres_cqrs};
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgPoolOptions;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

/// What it is called in its log and metrics.
const SERVICE: &str = "stock";

/// As in `bench append`.
const POOL: u32 = 16;

/// What the hidden process needs to know: what a service is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct StockArgs {
    #[arg(long, env = "BENCH_LISTEN")]
    listen: SocketAddr,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    shutdown: ShutdownArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// Serves until it is killed.
///
/// # Errors
/// When a setting is wrong, the database is away or the address is taken.
pub(crate) async fn serve_stock(args: StockArgs) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let process = args.process.validate(&mut problems);
    let http = args.http.validate(&mut problems);
    let auth = args.auth.validate(&mut problems);
    let database = args.database.validate(&mut problems);
    let shutdown = args.shutdown.validate("3s", &mut problems);
    let telemetry = args.telemetry.validate(&mut problems);
    problems.check_or_exit();
    let guard = telemetry::init(SERVICE, &telemetry)?;
    let pool = PgPoolOptions::new()
        .min_connections(POOL)
        .max_connections(POOL)
        .connect(database.url.expose_secret())
        .await
        .context("connecting to the database")?;
    let now = Now(Utc::now().trunc_subsecs(6));
    let cqrs: web::Data<PostgresCqrs<User>> =
        web::Data::new(postgres_cqrs(pool.clone(), vec![], now));
    let keys = SecretKey::from_bytes([7; 32]).derive(EmailKey::LABEL);
    let keys = web::Data::new(keys);
    let verifier = Verifier::start(auth, process.mode).await?;
    let stack = HttpStack::new(SERVICE, http, verifier, &Readiness::default());
    let api = Api {
        openapi: utoipa::openapi::OpenApiBuilder::new().build(),
        routes: move |config: &mut ServiceConfig<'_>| {
            config.app_data(cqrs.clone()).app_data(keys.clone());
            config.map(|config| config.route("/v1/users", web::post().to(register)));
        },
    };
    let listener = TcpListener::bind(args.listen)?;
    let workers = process.worker_threads;
    serve(&stack, listener, workers, shutdown.grace, api)?.await?;
    guard.flush().await;
    Ok(())
}

async fn register(
    claims: Claims,
    context: RequestContext,
    body: StrictJson<Registration>,
    cqrs: web::Data<PostgresCqrs<User>>,
    keys: web::Data<HmacKey>,
) -> Result<HttpResponse, Problem> {
    let id = body.value.id;
    if claims.role != Role::Admin && claims.sub != id.to_string() {
        return Err(Problem::new(HttpCode::Forbidden));
    }
    let command = body.value.command(&claims, &keys)?;
    let id = id.to_string();
    let metadata = metadata(&claims, &context);
    cqrs.execute_with_metadata(&id, command.into(), metadata)
        .await
        .map_err(|error| problem(&error))?;
    let mut response = HttpResponse::Created();
    response.insert_header((ETAG, version_tag(1, None, 1)));
    response.insert_header((LOCATION, format!("/v1/users/{id}")));
    Ok(response.json(serde_json::json!({ "id": id, "version": 1 })))
}

fn metadata(claims: &Claims, context: &RequestContext) -> HashMap<String, String> {
    let mut metadata = HashMap::from([
        ("request_id".to_owned(), context.request_id.to_string()),
        ("principal".to_owned(), claims.sub.clone()),
    ]);
    if let Some(traceparent) = &context.traceparent {
        metadata.insert("traceparent".to_owned(), traceparent.to_string());
    }
    metadata
}

fn problem(error: &AggregateError<domain::Refusal>) -> Problem {
    match error {
        AggregateError::UserError(_) | AggregateError::AggregateConflict => {
            Problem::new(HttpCode::BadRequest).detail("there is such a user already")
        }
        _ => {
            tracing::error!(%error, "a command failed");
            Problem::new(HttpCode::Internal)
        }
    }
}

/// The body that command-api takes.
struct Registration {
    id: Uuid,
    email: Email,
    name: Name,
    region: Region,
    bio: Option<Bio>,
    avatar_url: Option<AvatarUrl>,
}

impl StrictBody for Registration {
    fn take(fields: &mut Fields) -> Option<Self> {
        let id = fields.required("id");
        let email = fields.required_as("email", |text: String| Email::parse(&text));
        let name = fields.required_as("name", |text: String| Name::parse(&text));
        let region = fields.required_as("region", |text: String| Region::parse(&text));
        let bio = fields.optional_as("bio", |text: String| Bio::parse(&text));
        let avatar_url = fields.optional_as("avatar_url", |text: String| AvatarUrl::parse(&text));
        Some(Self {
            id: id?,
            email: email?,
            name: name?,
            region: region?,
            bio,
            avatar_url,
        })
    }
}

impl Registration {
    fn command(self, claims: &Claims, keys: &HmacKey) -> Result<RegisterUser, Problem> {
        let wrong = |_| Problem::new(HttpCode::TokenInvalid);
        let tenant = TenantId::parse(&claims.tenant).map_err(wrong)?;
        let [tenant, address] = EmailKey::parts(&tenant, &self.email);
        Ok(RegisterUser {
            user_id: self.id,
            email_key: EmailKey {
                hash: keys.authenticate(&[&tenant, &address]),
                key_version: EmailKey::VERSION,
            },
            email: self.email,
            name: self.name,
            region: self.region,
            bio: self.bio,
            avatar_url: self.avatar_url,
        })
    }
}
