//! RecordActivity: the user did something. At most one event in five minutes, so that `last_active`
//! costs little.

use chrono::{DateTime, TimeDelta, Utc};
use events::UserEvent;
use events::user::UserActivityRecorded;

use super::User;
use crate::command::{Command, Decision, Refusal};

/// How many minutes lie at least between two recorded activities of one user.
pub const ACTIVITY_INTERVAL_MINUTES: i64 = 5;

/// The user did something.
#[derive(Clone, Copy, Debug)]
pub struct RecordActivity;

impl Command for RecordActivity {
    type State = User;
    type Event = UserEvent;
    const NAME: &'static str = "RecordActivity";

    fn decide(&self, user: &User, now: DateTime<Utc>) -> Result<Decision<UserEvent>, Refusal> {
        user.require_active()?;
        let interval = TimeDelta::minutes(ACTIVITY_INTERVAL_MINUTES);
        if user.last_activity.is_some_and(|last| now < last + interval) {
            return Ok(Decision::unchanged());
        }
        let event = UserActivityRecorded { active_at: now };
        Ok(Decision::event(UserEvent::UserActivityRecorded(event)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{at, deactivated, registered, user};
    use super::*;

    fn active(minutes: i64) -> UserEvent {
        UserEvent::UserActivityRecorded(UserActivityRecorded {
            active_at: at(minutes),
        })
    }

    #[test]
    fn the_first_activity_and_one_after_five_minutes_are_recorded() {
        let first = RecordActivity.decide(&user([registered()]), at(1));
        assert_eq!(first, Ok(Decision::event(active(1))));
        let second = RecordActivity.decide(&user([registered(), active(1)]), at(6));
        assert_eq!(second, Ok(Decision::event(active(6))));
    }

    #[test]
    fn an_activity_within_five_minutes_changes_nothing() {
        let decision = RecordActivity.decide(&user([registered(), active(1)]), at(5));
        assert_eq!(decision, Ok(Decision::unchanged()));
    }

    #[test]
    fn a_clock_that_went_back_records_nothing() {
        let decision = RecordActivity.decide(&user([registered(), active(10)]), at(2));
        assert_eq!(decision, Ok(Decision::unchanged()));
    }

    #[test]
    fn a_deactivated_user_is_refused() {
        assert_eq!(
            RecordActivity.decide(&deactivated(), at(5)),
            Err(Refusal::UserDeactivated)
        );
    }
}
