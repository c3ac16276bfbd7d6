//! What a newcomer sees when everything is up: where it answers, and three lines to paste.

use std::fmt::Write as _;
use std::path::Path;

use uuid::Uuid;

/// What is said.
pub(super) struct Greeting<'a> {
    pub(super) command_url: &'a str,
    pub(super) query_url: &'a str,
    pub(super) admin_url: &'a str,
    /// Who keeps the data, such as `a private PostgreSQL 15 in …`.
    pub(super) store: &'a str,
    pub(super) env_file: &'a Path,
    /// A token and the file that holds it; none when the keys are not ours to sign with.
    pub(super) token: Option<(&'a str, &'a Path)>,
}

impl Greeting<'_> {
    /// The text. Each start names another user, so the lines work every time.
    pub(super) fn text(&self, example: Uuid) -> String {
        let Greeting {
            command_url,
            query_url,
            admin_url,
            store,
            env_file,
            token,
        } = self;
        let env_file = env_file.display();
        let mut text = format!(
            "\nRunnel is up.\n\n  \
             commands  {command_url}\n  \
             queries   {query_url}\n  \
             docs      {command_url}/docs  {query_url}/docs\n  \
             health    {admin_url}/readyz  {admin_url}/metrics\n  \
             data      {store}\n  \
             settings  {env_file} (every other binary reads it while DATABASE_URL is unset)\n"
        );
        // Writing to a String cannot fail.
        let _ = match token {
            Some((token, file)) => write!(
                text,
                "  token     role admin, tenant {tenant}, 12 h, also in {file}\n\n{token}\n\n{curl}",
                tenant = crate::token::TENANT_DEFAULT,
                file = file.display(),
                curl = self.curl_lines(file, example),
            ),
            None => writeln!(
                text,
                "  token     none: JWKS is not the one of `runnel keys`, so your issuer signs"
            ),
        };
        text.push_str("\nCtrl-C stops it; the data stays.\n\n");
        text
    }

    fn curl_lines(&self, token_file: &Path, id: Uuid) -> String {
        let Greeting {
            command_url,
            query_url,
            ..
        } = self;
        let bearer = format!(
            "-H \"Authorization: Bearer $(cat '{}')\"",
            token_file.display()
        );
        let mark = &id.simple().to_string()[20..];
        let body = format!(
            "{{\"id\":\"{id}\",\"email\":\"ada.{mark}@example.org\",\"name\":\"Ada Lovelace\",\
             \"region\":\"eu-west\",\"bio\":\"Wrote the first program\"}}"
        );
        let json = "-H 'Content-Type: application/json'";
        format!(
            "Register a user, read her back, list the tenant's users:\n\n\
             curl -sS -i -X POST {command_url}/v1/users {bearer} {json} -d '{body}'\n\n\
             curl -sS -i {query_url}/v1/users/{id} {bearer}\n\n\
             curl -sS -i '{query_url}/v1/users?limit=10' {bearer}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lines_can_be_pasted() {
        let file = Path::new("/h/.runnel/token");
        let greeting = Greeting {
            command_url: "http://127.0.0.1:8080",
            query_url: "http://127.0.0.1:8081",
            admin_url: "http://127.0.0.1:9080",
            store: "a private PostgreSQL",
            env_file: Path::new("/h/.runnel/env"),
            token: Some(("ey.a.b", file)),
        };
        let text = greeting.text(Uuid::now_v7());
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("curl "))
                .count(),
            3
        );
        assert_eq!(text.lines().filter(|line| *line == "ey.a.b").count(), 1);
        let without = Greeting {
            token: None,
            ..greeting
        }
        .text(Uuid::now_v7());
        assert!(!without.contains("curl "));
    }
}
