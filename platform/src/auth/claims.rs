//! What a verified token says.

use std::future::{Ready, ready};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use serde::{Deserialize, Serialize};

use super::Authentication;
use crate::http::{HttpCode, Problem};

/// The verified claims of a request's token, and the extractor that demands one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The tenant: every datum of the request belongs to it.
    pub tenant: String,
    /// The user id, or a service's name.
    pub sub: String,
    /// What the principal may do.
    pub role: Role,
}

/// What a principal may do; a token without the claim is a `user`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Acts for itself only.
    #[default]
    User,
    /// Reads all of its tenant.
    Operator,
    /// Acts for anyone of its tenant.
    Admin,
}

impl Role {
    /// The claim's text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let roles = [Role::User, Role::Operator, Role::Admin];
        let found = roles.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is none of user, operator, admin"))
    }
}

impl FromRequest for Claims {
    type Error = Problem;
    type Future = Ready<Result<Claims, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        ready(match extensions.get::<Authentication>() {
            Some(Authentication::Verified(verified)) => Ok(verified.claims.clone()),
            Some(Authentication::Failed(problem) | Authentication::Unverifiable(problem)) => {
                Err(problem.clone())
            }
            Some(Authentication::Missing) | None => Err(missing()),
        })
    }
}

fn missing() -> Problem {
    Problem::new(HttpCode::TokenMissing)
        .detail("send `Authorization: Bearer TOKEN`")
        .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}
