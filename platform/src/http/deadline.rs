//! A deadline for work that may be dropped half-way: reads. Commands run to their end instead.

use std::time::Duration;

use super::{HttpCode, Problem};

/// Runs a read within its deadline (`READ_DEADLINE`).
///
/// # Errors
/// 503 `deadline_exceeded` with `Retry-After` when the time is up.
pub async fn within<T>(deadline: Duration, read: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(deadline, read)
        .await
        .map_err(|_| Problem::new(HttpCode::DeadlineExceeded).retry_after(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_read_past_its_deadline_is_503_with_retry_after_never_408() {
        let deadline = Duration::from_secs(5);
        assert_eq!(within(deadline, async { 7 }).await.unwrap(), 7);
        let problem = within(deadline, tokio::time::sleep(2 * deadline))
            .await
            .unwrap_err();
        assert_eq!(
            (problem.status().as_u16(), problem.code()),
            (503, "deadline_exceeded")
        );
        let answer = problem.response(None);
        assert_eq!(answer.headers().get("retry-after").unwrap(), "1");
    }
}
