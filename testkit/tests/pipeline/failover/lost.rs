//! What was acknowledged and lost, and what its tokens, keys and tags are answered afterwards.

use testkit::pipeline::EventLog;
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::ledger::{Line, Outcome};
use testkit::pipeline::view::fold;

use super::{LOST, SHOWN};
use crate::reader::Reader;
use crate::scene::TENANT;

/// Tokens of each kind that are sent back.
const TOKENS: usize = 40;

/// What was acknowledged by the old primary after the cut.
pub(super) fn lost_lines(kept: &[Line], all: &[Line]) -> Vec<Line> {
    let after_the_cut = all.iter().skip(kept.len());
    let is_lost = |line: &&Line| match &line.outcome {
        Outcome::Done { token, .. } => token.starts_with("1."),
        _ => false,
    };
    after_the_cut.filter(is_lost).cloned().collect()
}

pub(super) fn done_token(line: &Line) -> &str {
    match &line.outcome {
        Outcome::Done { token, .. } => token,
        other => panic!("not done: {other:?}"),
    }
}

pub(super) async fn tokens_say_what_became_of_them(reader: &Reader, kept: &[Line], lost: &[Line]) {
    let is_done = |line: &&Line| matches!(line.outcome, Outcome::Done { .. });
    for line in kept.iter().rev().filter(is_done).take(TOKENS) {
        let path = format!("/{}", line.user);
        reader.answers(&path, Some(done_token(line)), SHOWN).await;
    }
    let paths = lost.iter().rev().take(TOKENS).flat_map(|line| {
        let user = line.user;
        let paths = [
            format!("/{user}"),
            format!("?ids={user}"),
            "?limit=5".to_owned(),
        ];
        paths.map(|path| (path, done_token(line)))
    });
    for (path, token) in paths {
        let answer = reader.read(&path, Some(token)).await;
        assert_eq!((answer.status, answer.code().as_str()), LOST);
        assert_eq!(
            answer.header("retry-after"),
            None,
            "it will never be better"
        );
    }
}

/// A key whose outcome was lost is as good as new; one that was kept gives its first answer.
pub(super) async fn keys_say_what_became_of_them(
    writer: &Writer,
    node: &str,
    kept: Command,
    lost: Command,
) {
    for (command, replayed, incarnation) in [(kept, Some("true"), "1."), (lost, None, "2.")] {
        let answer = writer.send(node, command).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("idempotency-replayed"), replayed);
        let token = answer.token().expect("a token");
        assert!(token.starts_with(incarnation), "{token}");
    }
}

/// A version that the lost tail had and the new history has, too, is another event: its old tag
/// matches neither in a condition nor in a reader's cache.
pub(super) async fn tags_of_it_match_nothing(
    log: &EventLog,
    (writer, node): (&Writer, &str),
    reader: &Reader,
    lost: &[Line],
) {
    let rows = fold(log);
    let is_there_again = |line: &&Line| match &line.outcome {
        Outcome::Done { version, .. } => {
            let key = (TENANT.to_owned(), line.user.to_string());
            rows.get(&key).is_some_and(|row| row.version == *version)
        }
        _ => false,
    };
    let line = lost.iter().find(is_there_again);
    let line = line.expect("a version that both histories have");
    let version = rows[&(TENANT.to_owned(), line.user.to_string())].version;
    let rename = Command::rename(line.user, "on a lost version").if_match(version);
    let refused = writer.send(node, rename).await.expect("an answer");
    assert_eq!(refused.status, 412, "{}", refused.text());

    let path = format!("/{}", line.user);
    let shown = reader.answers(&path, None, SHOWN).await;
    let tag = shown.header("etag").expect("a tag").to_owned();
    let tag_then = tag.replace(".i2", "");
    assert_ne!(tag, tag_then, "it names the incarnation");
    for (tag, status) in [(tag, 304), (tag_then, 200)] {
        let answer = reader.read_with(&path, &[("if-none-match", &tag)]).await;
        assert_eq!(answer.status, status, "{tag}");
    }
}
