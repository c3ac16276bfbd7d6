//! `GET /v1/users/{id}`: one user. The hit path: it parses an id, looks into the cache and sends
//! the bytes that lie there.

use actix_web::http::header::HeaderValue;
use actix_web::{HttpRequest, HttpResponse, web};
use events::Scope;
use platform::http::{HttpCode, Problem};
use read_model::user_view::fields::FieldSet;
use uuid::Uuid;

use crate::access::{Caller, USER};
use crate::answer::{Answer, marks};
use crate::code::QueryCode;
use crate::demand::Demand;
use crate::failure::problem;
use crate::parameters::{Form, Parameters};
use crate::state::State;
use crate::user_entry::{UserEntry, header};

/// The route.
pub(crate) const PATH: &str = "/v1/users/{id}";

const FORM: Form = Form {
    name: "GET /v1/users/{id}",
    takes: &["fields"],
};

pub(crate) async fn get(
    request: HttpRequest,
    caller: Caller,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let Caller(scope) = caller;
    USER.admit(&scope)?;
    let id = path_id(&request)?;
    let asked = fields(&request)?;
    let demand = state.demand(&request)?;
    let found = match state.reader.user_at_hand(&scope, id, &demand) {
        Some(found) => found.map_err(|failure| problem(failure, &demand))?,
        // Boxed, so that the large future of this way costs nobody else its memory.
        None => {
            let read = state.reader.user(&scope, id, &demand);
            Box::pin(state.run(&demand, read)).await?
        }
    };
    let (entry, stale) = (found.value, found.stale);
    let as_of = answer_token(&demand, &entry);
    match entry.bytes(visible(asked, &scope, id)) {
        Some(body) => {
            let etag = entry.etag.clone();
            Ok(Answer {
                body,
                etag,
                as_of,
                stale,
            }
            .send(&request))
        }
        None => Err(marks(as_of, stale).into_iter().fold(
            Problem::new(QueryCode::UserNotFound),
            |problem, (name, value)| problem.header(name, value),
        )),
    }
}

/// The fields that are served: those asked for, as far as the caller may see them of this user.
pub(crate) fn visible(asked: FieldSet, scope: &Scope, id: Uuid) -> FieldSet {
    asked.visible(scope, id)
}

fn answer_token(demand: &Demand, entry: &UserEntry) -> HeaderValue {
    match demand.answer_token(&[entry.stamp]) {
        Some(token) => header(&token.to_string()),
        None => entry.as_of.clone(),
    }
}

fn path_id(request: &HttpRequest) -> Result<Uuid, Problem> {
    let text = request.match_info().get("id").unwrap_or_default();
    parse_id(text).map_err(|detail| Problem::new(HttpCode::InvalidParameter).field("id", detail))
}

/// An id in the one spelling with hyphens; upper case is taken for lower.
pub(crate) fn parse_id(text: &str) -> Result<Uuid, &'static str> {
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == 36 => Ok(id),
        _ => Err("must be a UUID such as 018f3c2e-0000-7000-8000-000000000001"),
    }
}

fn fields(request: &HttpRequest) -> Result<FieldSet, Problem> {
    let query = request.query_string();
    if query.is_empty() {
        return Ok(FieldSet::ALL);
    }
    let mut parameters = Parameters::read(query)?;
    let fields = take_fields(&mut parameters);
    parameters.finish(&FORM, &[])?;
    Ok(fields)
}

/// Takes `fields`; all of them when it is absent.
pub(crate) fn take_fields(parameters: &mut Parameters) -> FieldSet {
    let parse = |text: &str| {
        let unknown = |_| {
            let known: Vec<_> = read_model::user_view::fields::Field::ALL
                .iter()
                .map(|field| field.name())
                .collect();
            format!("must be some of {}, joined by commas", known.join(","))
        };
        FieldSet::parse(text).map_err(unknown)
    };
    parameters.take("fields", parse).unwrap_or(FieldSet::ALL)
}
