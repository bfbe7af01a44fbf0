//! Tests of this kernel are repeated if they fail: another program may flush the ruleset, and with it the scratch table, between two steps.

use super::Error;

/// The most attempts. A test takes some milliseconds.
const MAX_ATTEMPTS: usize = 10;

/// Repeats a test until it passes; what the last attempt says, if none does.
pub(super) async fn repeated<T>(mut test: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..MAX_ATTEMPTS {
        match test().await {
            Err(error) if !matches!(error, Error::NotPermitted { .. }) => {}
            ended => return ended,
        }
    }
    test().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::Refusal;

    fn refused() -> Error {
        Error::Refused { doing: "testing", refusal: Refusal::Missing, detail: "the table is gone".into() }
    }

    #[tokio::test]
    async fn a_test_that_another_program_disturbs_is_repeated() {
        let mut results = [Err(refused()), Err(refused()), Ok(true), Err(refused())].into_iter();
        assert!(repeated(async || results.next().expect("a result")).await.expect("the third attempt passes"));
        assert_eq!(results.len(), 1, "no attempt after that");
    }

    #[tokio::test]
    async fn a_test_that_never_passes_ends_with_what_the_last_attempt_says() {
        let mut attempts = 0;
        let result = repeated(async || {
            attempts += 1;
            Err::<(), _>(refused())
        });
        assert!(matches!(result.await, Err(Error::Refused { refusal: Refusal::Missing, .. })));
        assert_eq!(attempts, MAX_ATTEMPTS);
    }

    #[tokio::test]
    async fn without_the_permission_there_is_one_attempt() {
        let mut attempts = 0;
        let result = repeated(async || {
            attempts += 1;
            Err::<(), _>(Error::NotPermitted { doing: "testing", detail: "not root".into() })
        });
        assert!(matches!(result.await, Err(Error::NotPermitted { .. })));
        assert_eq!(attempts, 1);
    }
}
