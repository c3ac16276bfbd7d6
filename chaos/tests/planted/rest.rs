//! Bugs of the read side: rows, sessions, caches, tenants.

use chaos::check::Invariant;
use chaos::history::{Kind, Operation, Outcome};
use serde_json::Value;

use crate::assert_breaks;
use crate::story::{ACME, ADA, BOB, Story, ZETA, ZOE};

/// A good read of this body.
fn read(story: &mut Story, sent: Option<&str>, body: &Value) -> Operation {
    Operation {
        sent: sent.map(str::to_owned),
        outcome: Outcome::Ok,
        status: Some(200),
        body: body.to_string(),
        token: None,
        ..story.operation(ACME, BOB, Kind::Read)
    }
}

#[test]
fn a_row_that_missed_an_event_breaks_i5() {
    let mut history = Story::told().at_rest();
    let before = history.rows[0].row.version;
    history.rows[0].row.version = before - 1;
    // The cache holds what the row holds.
    history.cached.clear();
    history.scene.has_redis = false;
    assert_breaks(&history, Invariant::I5);
}

#[test]
fn a_missing_row_breaks_i5() {
    let mut history = Story::told().at_rest();
    history.rows.pop();
    history.cached.pop();
    assert_breaks(&history, Invariant::I5);
}

#[test]
fn a_checkpoint_behind_its_head_breaks_i5() {
    let mut history = Story::told().at_rest();
    history.checkpoints[0].position -= 1;
    assert_breaks(&history, Invariant::I5);
}

#[test]
fn an_answer_that_shows_a_state_that_never_was_breaks_i5() {
    let mut story = Story::told();
    let mut body = story.state(ACME, BOB);
    body["name"] = "nobody".into();
    let operation = read(&mut story, None, &body);
    story.history.operations.push(operation);
    assert_breaks(&story.at_rest(), Invariant::I5);
}

#[test]
fn a_session_that_goes_back_breaks_i6() {
    let mut story = Story::told();
    let old = story.state(ACME, BOB);
    story.write(ACME, BOB, "UserProfileUpdated", "newer");
    // Its token covers another partition only.
    let operation = read(&mut story, Some("1.0.1"), &old);
    story.history.operations.push(operation);
    assert_breaks(&story.at_rest(), Invariant::I6);
}

#[test]
fn a_read_that_is_older_than_its_token_breaks_i7() {
    let mut story = Story::told();
    let old = story.state(ACME, BOB);
    let write = story.write(ACME, BOB, "UserProfileUpdated", "newer");
    let token = story.history.operations[write].token.clone();
    let operation = read(&mut story, token.as_deref(), &old);
    story.history.operations.push(operation);
    assert_breaks(&story.at_rest(), Invariant::I7);
}

#[test]
fn a_read_with_a_token_that_finds_nothing_breaks_i7() {
    let mut story = Story::told();
    let operation = Operation {
        outcome: Outcome::Refused,
        status: Some(404),
        ..read(&mut story, Some("1.1.1"), &Value::Null)
    };
    story.history.operations.push(operation);
    assert_breaks(&story.at_rest(), Invariant::I7);
}

#[test]
fn a_read_that_says_that_it_cannot_show_the_write_is_fine() {
    let mut story = Story::told();
    let operation = Operation {
        outcome: Outcome::Refused,
        status: Some(503),
        ..read(&mut story, Some("1.1.2"), &Value::Null)
    };
    story.history.operations.push(operation);
    let report = chaos::check::check(&story.at_rest());
    assert!(report.is_good(), "{report}");
}

#[test]
fn another_tenants_user_in_an_answer_breaks_i9() {
    let mut story = Story::told();
    let body = story.state(ZETA, ZOE);
    let operation = read(&mut story, None, &body);
    story.history.operations.push(operation);
    assert_breaks(&story.at_rest(), Invariant::I9);
}

#[test]
fn another_tenants_text_in_an_answer_breaks_i9() {
    let mut story = Story::told();
    let mut operation = read(&mut story, None, &Value::Null);
    operation.status = Some(404);
    operation.outcome = Outcome::Refused;
    operation.body = "no user called ZETA-canary".to_owned();
    story.history.operations.push(operation);
    assert_breaks(&story.at_rest(), Invariant::I9);
}

#[test]
fn a_stale_value_in_the_cache_breaks_i11() {
    let mut history = Story::told().at_rest();
    history.cached[0].body["version"] = 1.into();
    assert_breaks(&history, Invariant::I11);
}

#[test]
fn a_stale_value_that_no_reader_takes_is_fine() {
    let mut history = Story::told().at_rest();
    history.cached[0].body["version"] = 1.into();
    history.cached[0].is_live = false;
    let report = chaos::check::check(&history);
    assert!(report.is_good(), "{report}");
}

#[test]
fn a_read_at_rest_that_is_older_than_its_row_breaks_i11() {
    let mut story = Story::told();
    let old = story.state(ACME, BOB);
    story.write(ACME, BOB, "UserProfileUpdated", "newer");
    let mut operation = read(&mut story, None, &old);
    operation.is_settled = true;
    story.history.operations.push(operation);
    assert_breaks(&story.at_rest(), Invariant::I11);
}

#[test]
fn a_read_under_load_that_is_behind_for_longer_than_the_bound_breaks_i11() {
    let mut story = Story::told();
    let old = story.state(ACME, ADA);
    story.write(ACME, ADA, "UserProfileUpdated", "newer");
    story.read(ACME, ADA, false);
    let mut operation = read(&mut story, None, &old);
    operation.begun += 2_000_000;
    operation.ended = operation.begun + 1;
    story.history.operations.push(operation);
    assert_breaks(&story.at_rest(), Invariant::I11);
}
