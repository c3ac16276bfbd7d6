//! A small API on the real stack, on a free port.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{HttpRequest, HttpResponse, get, web};
use platform::admin::Readiness;
use platform::auth::{Claims, DevKeys, Role, TokenSigner, Verifier};
use platform::config::{AuthSettings, Environment, HttpArgs, HttpSettings, Mode, Problems};
use platform::http::{
    Api, Fields, HttpStack, Problem, RequestContext, StrictBody, StrictJson, if_none_match, serve,
    within,
};
use serde_json::{Value, json};
use utoipa_actix_web::service_config::ServiceConfig;

/// Bytes of the route that a slow reader asks for: more than all socket buffers hold.
pub(crate) const LARGE: usize = 64 << 20;

pub(crate) struct App {
    pub(crate) port: u16,
    pub(crate) signer: TokenSigner,
    pub(crate) client: reqwest::Client,
    pub(crate) readiness: Readiness,
    server: ServerHandle,
    _keys: tempfile::TempDir,
}

impl App {
    pub(crate) async fn spawn() -> App {
        App::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut HttpSettings)) -> App {
        let folder = tempfile::tempdir().unwrap();
        let keys = DevKeys::ensure(folder.path()).unwrap();
        let auth = AuthSettings::of_file(&keys.jwks, "runnel-dev", "runnel-dev");
        let verifier = Verifier::start(auth, Mode::Development).await.unwrap();
        let mut settings = settings();
        change(&mut settings);
        App::verifying(verifier, settings, folder)
    }

    /// Tokens are signed by the folder's keys, whatever the verifier believes.
    pub(crate) fn verifying(
        verifier: Verifier,
        settings: HttpSettings,
        folder: tempfile::TempDir,
    ) -> App {
        super::logs::capture();
        let signer = DevKeys::ensure(folder.path()).unwrap().signer().unwrap();
        let readiness = Readiness::new();
        let stack = HttpStack::new("platform-test", settings, verifier, &readiness);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let api = Api {
            openapi: Default::default(),
            routes,
        };
        let server = serve(&stack, listener, 1, Duration::from_secs(1), api).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        App {
            port,
            signer,
            client: client.build().unwrap(),
            server: handle,
            readiness,
            _keys: folder,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn get_as(&self, path: &str, token: &str) -> reqwest::Response {
        self.client
            .get(self.url(path))
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    }

    pub(crate) fn token(&self, sub: &str) -> String {
        let (tenant, sub) = ("acme".to_owned(), sub.to_owned());
        let claims = Claims {
            tenant,
            sub,
            role: Role::User,
        };
        self.signer.sign(&claims, Duration::from_secs(60)).unwrap()
    }

    pub(crate) async fn stop(&self) {
        self.server.stop(true).await;
    }
}

pub(crate) fn settings() -> HttpSettings {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        http: HttpArgs,
    }
    let (cli, _) = platform::config::load::<Cli>(["test"], Environment::default()).unwrap();
    let mut problems = Problems::default();
    let settings = cli.http.validate(&mut problems);
    problems.check().unwrap();
    settings
}

/// The problem in an answer, after checking what every problem has.
pub(crate) async fn problem(answer: reqwest::Response) -> Value {
    let header = |name: &str| {
        answer
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let id = header("x-request-id").expect("every answer names its request");
    assert_eq!(
        header("content-type").as_deref(),
        Some("application/problem+json")
    );
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], id.as_str());
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("urn:runnel:problem:{code}"));
    assert!(problem["title"].as_str().unwrap().ends_with('.'));
    assert_ne!(problem["detail"].as_str().expect("what to do"), "");
    problem
}

struct Note {
    text: String,
}

impl StrictBody for Note {
    fn take(fields: &mut Fields) -> Option<Note> {
        let text = fields.required("text");
        Some(Note { text: text? })
    }
}

fn routes(config: &mut ServiceConfig<'_>) {
    config.service(hello);
    config.route("/panic", web::get().to(panic));
    config.route("/items/{id}", web::get().to(item));
    config.route("/me", web::get().to(me));
    config.route("/notes", web::post().to(note));
    config.route("/slow", web::get().to(slow));
    config.route("/large", web::get().to(large));
    config.route("/text", web::get().to(text));
    config.route("/tagged", web::get().to(tagged));
    config.route("/context", web::get().to(context));
}

/// Says hello.
#[utoipa::path(get, path = "/hello", responses((status = 200, description = "a greeting")))]
#[get("/hello")]
async fn hello() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "hello": "world" }))
}

async fn panic() -> HttpResponse {
    panic!("as planned")
}

async fn item(id: web::Path<u32>, query: web::Query<Paging>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "id": *id, "limit": query.limit }))
}

#[derive(serde::Deserialize)]
struct Paging {
    limit: Option<u32>,
}

async fn me(claims: Claims) -> HttpResponse {
    let Claims { tenant, sub, role } = claims;
    HttpResponse::Ok().json(json!({ "tenant": tenant, "sub": sub, "role": role.as_str() }))
}

async fn note(note: StrictJson<Note>) -> HttpResponse {
    HttpResponse::Created().json(json!({ "text": note.value.text, "bytes": note.raw.len() }))
}

async fn slow() -> Result<HttpResponse, Problem> {
    let forever = std::future::pending::<HttpResponse>();
    within(Duration::from_millis(50), forever).await
}

async fn large() -> HttpResponse {
    HttpResponse::Ok().body(vec![b'x'; LARGE])
}

async fn text() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain")
        .body("runnel ".repeat(1_000))
}

async fn tagged(request: HttpRequest) -> HttpResponse {
    let tag = "\"v7.3\"";
    if if_none_match(request.headers(), tag) {
        return HttpResponse::NotModified()
            .insert_header(("etag", tag))
            .finish();
    }
    HttpResponse::Ok()
        .insert_header(("etag", tag))
        .body("runnel ".repeat(1_000))
}

async fn context(context: RequestContext) -> HttpResponse {
    let traceparent = context.traceparent.as_deref();
    HttpResponse::Ok().json(json!({ "id": *context.request_id, "traceparent": traceparent }))
}
