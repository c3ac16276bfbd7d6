//! A small server with the same API, correct or with one planted bug, so that it can be shown that
//! the load generator sees what it is to see.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// So many reads are over before a load is measured: each of the 100 users was read once to set it
/// up, and a warm-up of half a second at 100 a second, and somewhat more at higher rates.
pub(crate) const BEFORE_LOAD: u64 = 200;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Nothing.
    None,
    /// From two seconds after [`BEFORE_LOAD`] on it answers nobody for one second.
    Stalls,
    /// After [`BEFORE_LOAD`] one read in ten is answered 503.
    Fails,
    /// Reads without a token show a write after 100 ms only.
    Lags,
    /// Reads show the version before.
    ShowsOldVersions,
    /// Reads show the version, and the text of the one before.
    LosesTexts,
    /// Reads show somebody else.
    ShowsAnother,
    /// Tenants see each other.
    MixesTenants,
    /// There is always somebody.
    InventsAccounts,
    /// Lists begin with their last item twice.
    RepeatsItems,
    /// Batches come in the order of the ids.
    SortsBatches,
    /// Batches leave out who is missing.
    HidesMissing,
    /// Updates are acknowledged without a token.
    DropsTokens,
    /// A write is acknowledged with the version that was there.
    RepeatsVersions,
}

#[derive(Clone, Debug)]
struct Account {
    tenant: String,
    email: String,
    region: String,
    /// Texts by version, from 1, and since when.
    texts: Vec<(String, Instant)>,
}

struct State {
    bug: Bug,
    accounts: Mutex<BTreeMap<String, Account>>,
    /// When [`BEFORE_LOAD`] was over.
    loaded: Mutex<Option<Instant>>,
    reads: Mutex<u64>,
}

/// It runs until the runtime ends.
pub(crate) struct Server {
    pub(crate) base: String,
    state: Arc<State>,
}

impl Server {
    /// Waits until a load is there; whether it came within a minute.
    pub(crate) async fn is_loaded(&self) -> bool {
        let loaded = async {
            while self.state.loaded.lock().expect("no panic").is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), loaded).await;
        waited.is_ok()
    }
}

/// Begins to serve.
pub(crate) async fn start(bug: Bug) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let state = Arc::new(State {
        bug,
        accounts: Mutex::default(),
        loaded: Mutex::default(),
        reads: Mutex::default(),
    });
    let served = Arc::clone(&state);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let state = Arc::clone(&served);
            drop(stream.set_nodelay(true));
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                let io = TokioIo::new(stream);
                let connection = hyper::server::conn::http1::Builder::new();
                // The client closes when it is done.
                drop(connection.serve_connection(io, service).await);
            });
        }
    });
    let base = format!("http://{address}");
    Server { base, state }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let text = |name: &str| {
        let value = head.headers.get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    let call = Call {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        tenant: tenant(&text("authorization").unwrap_or_default()),
        token: text("consistency-token"),
        if_none_match: text("if-none-match"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    state.stall().await;
    let reply = state.reply(&call);
    let mut response = Response::builder()
        .status(reply.status)
        .header("x-request-id", "r-1");
    if let Some((etag, token)) = &reply.stamp {
        response = response
            .header("etag", etag)
            .header("consistency-token", token);
    }
    let bytes = match reply.status {
        304 => Bytes::new(),
        _ => reply.body.to_string().into(),
    };
    Ok(response
        .body(Full::new(bytes))
        .expect("headers that can be sent"))
}

struct Call {
    method: String,
    path: String,
    query: String,
    tenant: String,
    token: Option<String>,
    if_none_match: Option<String>,
    body: Value,
}

struct Reply {
    status: u16,
    stamp: Option<(String, String)>,
    body: Value,
}

impl Reply {
    fn of(status: u16, body: Value) -> Self {
        Self {
            status,
            stamp: None,
            body,
        }
    }

    fn problem(status: u16, code: &str) -> Self {
        Self::of(
            status,
            json!({ "code": code, "detail": "said by the test's server" }),
        )
    }

    fn stamped(mut self, version: usize) -> Self {
        self.stamp = Some((format!("\"v{version}\""), format!("1.0.{version}")));
        self
    }
}

fn tenant(authorization: &str) -> String {
    let claims = authorization.split('.').nth(1).unwrap_or_default();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    claims["tenant"].as_str().unwrap_or_default().to_owned()
}

impl State {
    async fn stall(&self) {
        let loaded = *self.loaded.lock().expect("no panic");
        let Some(loaded) = loaded.filter(|_| self.bug == Bug::Stalls) else {
            return;
        };
        let stall = loaded + Duration::from_secs(2);
        let now = Instant::now();
        if now >= stall && now < stall + Duration::from_secs(1) {
            tokio::time::sleep_until((stall + Duration::from_secs(1)).into()).await;
        }
    }

    fn reply(&self, call: &Call) -> Reply {
        if !call.path.starts_with("/v1/") {
            return Reply::problem(404, "route_unknown");
        }
        let id = call.path.strip_prefix("/v1/users/");
        match (call.method.as_str(), id) {
            ("POST", None) => self.register(call),
            ("PATCH", Some(id)) => self.update(id, call),
            ("POST", Some(path)) => self.active(path.trim_end_matches("/activity")),
            ("GET", Some(id)) => self.read(id, call),
            ("GET", None) => self.list(call),
            _ => Reply::problem(405, "method_not_allowed"),
        }
    }

    fn register(&self, call: &Call) -> Reply {
        let field = |name: &str| call.body[name].as_str().unwrap_or_default().to_owned();
        let account = Account {
            tenant: call.tenant.clone(),
            email: field("email"),
            region: field("region"),
            texts: vec![(field("bio"), Instant::now())],
        };
        let mut accounts = self.accounts.lock().expect("no panic");
        accounts.insert(field("id"), account);
        Reply::of(201, json!({ "id": field("id"), "version": 1 })).stamped(1)
    }

    fn update(&self, id: &str, call: &Call) -> Reply {
        let mut accounts = self.accounts.lock().expect("no panic");
        let Some(account) = accounts.get_mut(id) else {
            return Reply::problem(404, "user_not_found");
        };
        let text = call.body["bio"].as_str().unwrap_or_default();
        account.texts.push((text.to_owned(), Instant::now()));
        let version = match self.bug {
            Bug::RepeatsVersions => account.texts.len() - 1,
            _ => account.texts.len(),
        };
        let reply = Reply::of(200, json!({ "id": id, "version": version }));
        match self.bug {
            Bug::DropsTokens => reply,
            _ => reply.stamped(version),
        }
    }

    fn active(&self, id: &str) -> Reply {
        let accounts = self.accounts.lock().expect("no panic");
        let version = accounts.get(id).map_or(0, |account| account.texts.len());
        Reply::of(200, json!({ "id": id, "version": version })).stamped(version)
    }

    fn read(&self, id: &str, call: &Call) -> Reply {
        let count = {
            let mut reads = self.reads.lock().expect("no panic");
            *reads += 1;
            *reads
        };
        if count > BEFORE_LOAD {
            let mut loaded = self.loaded.lock().expect("no panic");
            loaded.get_or_insert_with(Instant::now);
        }
        if self.bug == Bug::Fails && count > BEFORE_LOAD && count % 10 == 0 {
            return Reply::problem(503, "unavailable");
        }
        let accounts = self.accounts.lock().expect("no panic");
        let mixes = self.bug == Bug::MixesTenants;
        let known = accounts
            .get(id)
            .filter(|known| mixes || known.tenant == call.tenant);
        let Some(account) = known else {
            return match self.bug {
                Bug::InventsAccounts => Reply::of(200, json!({ "id": id, "version": 1 })),
                _ => Reply::problem(404, "user_not_found"),
            };
        };
        let newest = account.texts.len();
        let old = Duration::from_millis(100);
        let shown = match self.bug {
            Bug::ShowsOldVersions => newest.saturating_sub(1).max(1),
            Bug::Lags if call.token.is_none() => {
                let seen = account.texts.iter().filter(|(_, at)| at.elapsed() > old);
                seen.count().max(1)
            }
            _ => newest,
        };
        if call.if_none_match.as_deref() == Some(&format!("\"v{shown}\"")) {
            return Reply::of(304, Value::Null).stamped(shown);
        }
        let text = match self.bug {
            Bug::LosesTexts => &account.texts[0].0,
            _ => &account.texts[shown - 1].0,
        };
        let id = match self.bug {
            Bug::ShowsAnother if newest > 1 => "somebody else",
            _ => id,
        };
        Reply::of(200, json!({ "id": id, "version": shown, "bio": text })).stamped(shown)
    }

    fn list(&self, call: &Call) -> Reply {
        let parameter = |name: &str| {
            let pairs = call
                .query
                .split('&')
                .filter_map(|pair| pair.split_once('='));
            let mut values = pairs
                .filter(|(found, _)| *found == name)
                .map(|(_, value)| value);
            values.next().map(|value| value.replace("%40", "@"))
        };
        let accounts = self.accounts.lock().expect("no panic");
        let own = accounts
            .iter()
            .filter(|(_, account)| account.tenant == call.tenant);
        let own: Vec<_> = own.collect();
        let item = |id: &str| {
            let region = accounts.get(id).map(|account| &account.region);
            let last_active = "2026-01-01T00:00:00Z";
            json!({ "id": id, "version": 1, "last_active": last_active, "region": region })
        };
        if let Some(ids) = parameter("ids") {
            return self.batch(
                &ids,
                &own.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
            );
        }
        if let Some(email) = parameter("email") {
            let found = own.iter().filter(|(_, account)| account.email == email);
            let items: Vec<_> = found.map(|(id, _)| item(id)).collect();
            return Reply::of(200, json!({ "items": items, "older": null }));
        }
        let after = parameter("older").unwrap_or_default();
        let region = parameter("region");
        let asked = |account: &Account| region.as_ref().is_none_or(|one| *one == account.region);
        let rest = own
            .iter()
            .filter(|(id, account)| **id > after && asked(account));
        let rest: Vec<_> = rest.collect();
        let mut ids: Vec<_> = rest.iter().take(50).map(|(id, _)| id.as_str()).collect();
        let older = (rest.len() > 50).then(|| ids[49].to_owned());
        if self.bug == Bug::RepeatsItems && ids.len() > 1 {
            ids[0] = ids[1];
        }
        let items: Vec<_> = ids.into_iter().map(item).collect();
        Reply::of(200, json!({ "items": items, "older": older }))
    }

    fn batch(&self, asked: &str, own: &[&str]) -> Reply {
        let mut ids: Vec<_> = asked.split(',').collect();
        if self.bug == Bug::SortsBatches {
            ids.sort_unstable();
        }
        let known = |id: &&str| own.contains(id);
        let items = ids.iter().copied().filter(known);
        let items: Vec<_> = items.map(|id| json!({ "id": id, "version": 1 })).collect();
        let missing = ids.iter().copied().filter(|id| !known(id));
        let mut missing: Vec<_> = missing.map(|id| json!({ "id": id })).collect();
        if self.bug == Bug::HidesMissing {
            missing.clear();
        }
        Reply::of(200, json!({ "items": items, "missing": missing }))
    }
}
