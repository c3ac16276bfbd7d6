//! Bearer tokens from files, one a line, and what they say about themselves: the tenant and the
//! role decide what a virtual user can do. Nothing is verified here; that is the server's work.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Tokens that are read at most, over all files.
const TOKENS_MAX: usize = 1_000_000;

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The bearer token.
    pub text: Arc<str>,
    /// `sub`: the principal.
    pub subject: String,
}

/// The tokens of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantTokens {
    /// Its name, as the tokens have it.
    pub name: String,
    /// Those of role `user`, who act for themselves.
    pub users: Vec<Credential>,
    /// Those of role `admin`, who act for anyone and read lists.
    pub admins: Vec<Credential>,
}

/// How to come by tokens.
const HINT: &str = "`runnel token --role admin --count N --out FILE` writes some, one a line";

/// Why tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A file cannot be read.
    #[error("cannot read the tokens in {}", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// A line is no token.
    #[error("{}, line {line}: {what}; {HINT}", file.display())]
    NotAToken {
        /// Where.
        file: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than any load needs.
    #[error("more than {TOKENS_MAX} tokens")]
    TooMany,
    /// None at all.
    #[error("no token in the files of --tokens; {HINT}")]
    None,
    /// A tenant without one who may act for others.
    #[error(
        "tenant {0} has no token of role admin: the load registers users and reads lists with it"
    )]
    NoAdmin(String),
}

/// Reads all files; the tenants in the order of their first tokens.
///
/// # Errors
/// [`TokenError`].
pub fn read(files: &[PathBuf]) -> Result<Vec<TenantTokens>, TokenError> {
    let mut tenants = Vec::new();
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| TokenError::Unreadable(file.clone(), error))?;
        for (index, line) in text.lines().enumerate() {
            let line_text = line.trim();
            if line_text.is_empty() || line_text.starts_with('#') {
                continue;
            }
            count += 1;
            if count > TOKENS_MAX {
                return Err(TokenError::TooMany);
            }
            add(&mut tenants, line_text).map_err(|what| not_a_token(file, index, what))?;
        }
    }
    if tenants.is_empty() {
        return Err(TokenError::None);
    }
    match tenants.iter().find(|tenant| tenant.admins.is_empty()) {
        Some(tenant) => Err(TokenError::NoAdmin(tenant.name.clone())),
        None => Ok(tenants),
    }
}

fn not_a_token(file: &Path, index: usize, what: &'static str) -> TokenError {
    TokenError::NotAToken {
        file: file.to_owned(),
        line: index + 1,
        what,
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    tenant: String,
    role: String,
}

fn add(tenants: &mut Vec<TenantTokens>, text: &str) -> Result<(), &'static str> {
    let claims = text.split('.').nth(1).ok_or("is not a JWT")?;
    let claims = URL_SAFE_NO_PAD.decode(claims);
    let claims = claims.map_err(|_| "its claims are not base64url")?;
    let claims: Claims =
        serde_json::from_slice(&claims).map_err(|_| "its claims have no sub, tenant and role")?;
    let credential = Credential {
        text: text.into(),
        subject: claims.sub,
    };
    let known = tenants
        .iter()
        .position(|tenant| tenant.name == claims.tenant);
    let index = known.unwrap_or_else(|| {
        tenants.push(TenantTokens {
            name: claims.tenant,
            ..TenantTokens::default()
        });
        tenants.len() - 1
    });
    match claims.role.as_str() {
        "user" => tenants[index].users.push(credential),
        "admin" => tenants[index].admins.push(credential),
        "operator" => {}
        _ => return Err("its role is not user, operator or admin"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(sub: &str, tenant: &str, role: &str) -> String {
        let claims = serde_json::json!({ "sub": sub, "tenant": tenant, "role": role });
        format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn read_text(text: &str) -> Result<Vec<TenantTokens>, TokenError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(&[file.path().to_owned()])
    }

    #[test]
    fn tokens_are_sorted_by_tenant_and_role() {
        let lines = [
            token("a", "red", "admin"),
            "# a comment".to_owned(),
            token("b", "blue", "admin"),
            String::new(),
            token("c", "red", "user"),
        ];
        let tenants = read_text(&lines.join("\n")).unwrap();
        let names: Vec<_> = tenants.iter().map(|tenant| &*tenant.name).collect();
        assert_eq!(names, ["red", "blue"]);
        assert_eq!(tenants[0].users[0].subject, "c");
        assert_eq!(&*tenants[0].admins[0].text, lines[0].as_str());
    }

    #[test]
    fn a_line_that_is_no_token_is_named() {
        let error = read_text(&format!("{}\nhello\n", token("a", "red", "admin"))).unwrap_err();
        assert!(
            matches!(error, TokenError::NotAToken { line: 2, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("is not a JWT"), "{error}");
    }

    #[test]
    fn a_tenant_needs_an_admin() {
        let error = read_text(&token("a", "red", "user")).unwrap_err();
        assert!(matches!(error, TokenError::NoAdmin(name) if name == "red"));
        assert!(matches!(read_text("\n"), Err(TokenError::None)));
    }
}
