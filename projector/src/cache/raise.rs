//! When everything that Redis holds of a partition becomes cold: when what it holds cannot be
//! brought up to date, or cannot be believed.

use read_model::cache::Mark;

/// Why `found` cannot be gone on from; nothing when it can. `known` is what this process saw in
/// place last, `checkpoint` was read after `found`.
pub(super) fn reason(
    found: Option<&Mark>,
    run_id: &str,
    known: Option<&Mark>,
    checkpoint: i64,
    lag_max: i64,
) -> Option<&'static str> {
    let Some(found) = found else {
        return Some("missing");
    };
    let went_back = |known: &&Mark| known.epoch == found.epoch && known.position > found.position;
    if !found.is_of_run(run_id) {
        // It may have loaded an old dump, or was a replica without the last writes.
        Some("other_run")
    } else if known.filter(went_back).is_some() {
        Some("went_back")
    } else if found.position > checkpoint {
        // PostgreSQL crashed and lost its last commits; the events are applied again.
        Some("ahead")
    } else if checkpoint - found.position > lag_max {
        Some("lag")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use read_model::cache::Epoch;

    use super::*;

    #[test]
    fn a_mark_is_gone_on_from_only_when_it_is_of_this_run_and_neither_back_nor_ahead_nor_far() {
        let mark = |epoch, position, run: &str| Mark {
            epoch,
            position,
            run_id: run.to_owned(),
        };
        let (mine, other) = (Epoch::random(), Epoch::random());
        let known = mark(mine, 50, "a");
        let judge = |found: Option<Mark>, run| reason(found.as_ref(), run, Some(&known), 100, 60);
        assert_eq!(judge(None, "a"), Some("missing"));
        assert_eq!(judge(Some(mark(mine, 50, "a")), "b"), Some("other_run"));
        assert_eq!(judge(Some(mark(mine, 49, "a")), "a"), Some("went_back"));
        assert_eq!(judge(Some(mark(other, 49, "a")), "a"), None, "another's");
        assert_eq!(judge(Some(mark(mine, 101, "a")), "a"), Some("ahead"));
        assert_eq!(judge(Some(mark(other, 39, "a")), "a"), Some("lag"));
        assert_eq!(
            judge(Some(mark(mine, 90, "a")), "a"),
            None,
            "moved on by another"
        );
    }
}
