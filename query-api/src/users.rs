//! `GET /v1/users`: by ids, by region and activity, by address, or the whole tenant.

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{BufMut as _, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use events::Scope;
use events::user_fields::{Email, Region};
use platform::http::{HttpCode, Problem};
use read_model::user_view::fields::FieldSet;
use uuid::Uuid;

use crate::access::{Caller, USERS, USERS_BY_EMAIL, USERS_BY_ID, USERS_BY_REGION};
use crate::answer::Answer;
use crate::batch::{self, Entries};
use crate::code::QueryCode;
use crate::l1::{PageKey, PageQuery};
use crate::limits::{IDS_MAX, LIST_DEFAULT, LIST_MAX};
use crate::page::etag;
use crate::parameters::{Form, Parameters};
use crate::state::State;
use crate::user::{parse_id, take_fields, visible};
use crate::user_entry::{as_of, header};

/// The route.
pub(crate) const PATH: &str = "/v1/users";

const BY_IDS: Form = Form {
    name: "GET /v1/users?ids=…",
    takes: &["ids", "fields"],
};
const BY_REGION: Form = Form {
    name: "GET /v1/users?region=…",
    takes: &["region", "active_since", "limit", "older"],
};
const BY_EMAIL: Form = Form {
    name: "GET /v1/users?email=…",
    takes: &["email"],
};
const OF_TENANT: Form = Form {
    name: "GET /v1/users",
    takes: &["limit", "older"],
};

pub(crate) async fn get(
    request: HttpRequest,
    caller: Caller,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let Caller(scope) = caller;
    let parameters = Parameters::read(request.query_string())?;
    if parameters.has("ids") {
        USERS_BY_ID.admit(&scope)?;
        return by_ids(&request, &scope, &state, parameters).await;
    }
    let query = if parameters.has("region") {
        USERS_BY_REGION.admit(&scope)?;
        by_region(&scope, &state, parameters)?
    } else if parameters.has("email") {
        USERS_BY_EMAIL.admit(&scope)?;
        by_email(&scope, &state, parameters)?
    } else {
        USERS.admit(&scope)?;
        of_tenant(&scope, &state, parameters)?
    };
    list(&request, &scope, &state, query).await
}

async fn list(
    request: &HttpRequest,
    scope: &Scope,
    state: &State,
    query: PageQuery,
) -> Result<HttpResponse, Problem> {
    let demand = state.demand(request)?;
    let key = PageKey {
        tenant: scope.tenant.clone(),
        query,
    };
    let found = state
        .run(&demand, state.reader.page(scope, &key, &demand))
        .await?;
    let page = found.value;
    let token = demand.answer_token(&page.as_of);
    let answer = Answer {
        body: page.bytes.clone(),
        etag: page.etag.clone(),
        as_of: token.map_or_else(
            || page.as_of_text.clone(),
            |token| header(&token.to_string()),
        ),
        stale: found.stale,
    };
    Ok(answer.send(request))
}

fn by_region(
    scope: &Scope,
    state: &State,
    mut parameters: Parameters,
) -> Result<PageQuery, Problem> {
    let region = parameters.take("region", Region::parse);
    let since = parameters.take("active_since", parse_time);
    let limit = take_limit(&mut parameters);
    let older = parameters.take("older", any_text);
    parameters.finish(&BY_REGION, &[&BY_IDS, &BY_EMAIL])?;
    let region = region
        .map(|region| region.as_str().to_owned())
        .unwrap_or_default();
    let since = since.map(|since| since.timestamp_micros());
    let first = PageQuery::Region {
        region: region.clone(),
        since,
        after: None,
        limit,
    };
    let after = open(scope, state, &first, older.as_deref())?;
    Ok(PageQuery::Region {
        region,
        since,
        after,
        limit,
    })
}

fn of_tenant(
    scope: &Scope,
    state: &State,
    mut parameters: Parameters,
) -> Result<PageQuery, Problem> {
    let limit = take_limit(&mut parameters);
    let older = parameters.take("older", any_text);
    parameters.finish(&OF_TENANT, &[&BY_IDS, &BY_REGION, &BY_EMAIL])?;
    let first = PageQuery::Tenant { after: None, limit };
    let after = open(scope, state, &first, older.as_deref())?.map(|(_, id)| id);
    Ok(PageQuery::Tenant { after, limit })
}

fn by_email(
    scope: &Scope,
    state: &State,
    mut parameters: Parameters,
) -> Result<PageQuery, Problem> {
    let email = parameters.take("email", Email::parse);
    parameters.finish(&BY_EMAIL, &[&BY_IDS, &BY_REGION, &OF_TENANT])?;
    let missing = || Problem::new(HttpCode::InvalidParameter).field("email", "is required");
    let email = email.ok_or_else(missing)?;
    Ok(PageQuery::Email(state.email_hash(&scope.tenant, &email)))
}

fn open(
    scope: &Scope,
    state: &State,
    list: &PageQuery,
    cursor: Option<&str>,
) -> Result<Option<(i64, Uuid)>, Problem> {
    let open = |text| state.reader.cursors.open(&scope.tenant, list, text);
    cursor.map(open).transpose().map_err(|_| {
        Problem::new(QueryCode::CursorInvalid)
            .field("older", "must be the `older` of a page of this very list")
    })
}

fn take_limit(parameters: &mut Parameters) -> u16 {
    let parse = |text: &str| match text.parse() {
        Ok(limit) if (1..=LIST_MAX).contains(&limit) => Ok(limit),
        _ => Err(format!(
            "must be a whole number from 1 to {LIST_MAX} (list_max)"
        )),
    };
    parameters.take("limit", parse).unwrap_or(LIST_DEFAULT)
}

fn parse_time(text: &str) -> Result<DateTime<Utc>, &'static str> {
    // A plus sign that the client did not encode arrives as a space.
    let text = text.replace(' ', "+");
    match DateTime::parse_from_rfc3339(&text) {
        Ok(time) => Ok(time.with_timezone(&Utc)),
        Err(_) => Err("must be a time of RFC 3339 such as 2026-01-31T08:00:00Z"),
    }
}

fn any_text(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.to_owned())
}

async fn by_ids(
    request: &HttpRequest,
    scope: &Scope,
    state: &State,
    mut parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let ids = parameters.take("ids", parse_ids);
    let fields = take_fields(&mut parameters);
    parameters.finish(&BY_IDS, &[&BY_REGION, &BY_EMAIL])?;
    let ids = ids.unwrap_or_default();
    let demand = state.demand(request)?;
    let found = state
        .run(&demand, state.reader.users(scope, &ids, &demand))
        .await?;
    let body = render(scope, &ids, &found.value, fields);
    let stamp = batch::as_of(found.value.values());
    let token = demand
        .answer_token(&stamp)
        .map_or_else(|| as_of(&stamp), |one| one.to_string());
    let answer = Answer {
        etag: header(&etag(&body)),
        body,
        as_of: header(&token),
        stale: found.stale,
    };
    Ok(answer.send(request))
}

fn parse_ids(text: &str) -> Result<Vec<Uuid>, String> {
    let ids: Vec<_> = text.split(',').map(|id| parse_id(id.trim())).collect();
    if ids.len() > IDS_MAX {
        return Err(format!(
            "must be at most {IDS_MAX} ids (ids_max), and are {}",
            ids.len()
        ));
    }
    let wrong = ids.iter().position(Result::is_err).map(|at| at + 1);
    match wrong {
        Some(at) => Err(format!(
            "must be UUIDs joined by commas; number {at} is none"
        )),
        None => Ok(ids.into_iter().flatten().collect()),
    }
}

/// `{"items":[…],"missing":[…]}`, both in the order asked for, put together from the bytes that
/// the cache holds.
fn render(scope: &Scope, ids: &[Uuid], entries: &Entries, fields: FieldSet) -> Bytes {
    let mut body = BytesMut::from(&br#"{"items":["#[..]);
    let mut missing = BytesMut::new();
    let mut first = true;
    for id in ids {
        let entry = entries.get(id);
        let item = entry.and_then(|entry| entry.bytes(visible(fields, scope, *id)));
        let Some(item) = item else {
            if !missing.is_empty() {
                missing.put_u8(b',');
            }
            let code = r#"","code":"user_not_found"}"#;
            missing.extend_from_slice(format!(r#"{{"id":"{id}{code}"#).as_bytes());
            continue;
        };
        if !std::mem::take(&mut first) {
            body.put_u8(b',');
        }
        body.extend_from_slice(&item);
    }
    body.extend_from_slice(br#"],"missing":["#);
    body.extend_from_slice(&missing);
    body.extend_from_slice(b"]}");
    body.freeze()
}
