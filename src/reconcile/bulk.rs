//! Committing a plan: a small one as one batch, a large one as several, so that none of them holds the kernel for long.
//!
//! While the kernel works a batch off, nobody else in the namespace can change its ruleset.

use std::time::Duration;

use tokio::time::Instant;

use crate::apply::{Backend, Error};
use crate::diff::Plan;

/// How finely a plan is divided. One of fewer than twice as many operations is one batch.
const STEP: usize = 1_000;
/// How many operations the first of several batches has, before anything is known of the kernel's pace.
const FIRST: usize = 2_000;
/// How much larger than the last one a batch may be.
const GROWTH: usize = 4;

/// Commits a plan; returns how many bytes were sent. After an error some of its batches may be committed.
pub(super) async fn commit(backend: &mut impl Backend, plan: &mut Plan) -> Result<usize, Error> {
    let ends = plan.divide(STEP);
    let goal = backend.longest_commit();
    let (mut start, mut size, mut bytes) = (0, FIRST, 0);
    let mut rest = plan.operations.as_slice();
    while !rest.is_empty() {
        let length = next_length(&ends, start, size).clamp(1, rest.len());
        let (batch, after) = rest.split_at(length);
        let began = Instant::now();
        bytes += backend.commit(batch).await?.bytes;
        size = next_size(length, began.elapsed(), goal);
        (start, rest) = (start + length, after);
    }
    Ok(bytes)
}

/// How many operations go into the next batch: as many as end where one may end, within the size if possible.
fn next_length(ends: &[usize], start: usize, size: usize) -> usize {
    let within = ends.partition_point(|end| *end <= start + size);
    let first = ends.partition_point(|end| *end <= start);
    let end = ends.get(within.max(first + 1) - 1);
    end.map_or(0, |end| end - start)
}

/// How many operations would have taken as long as a batch should.
fn next_size(operations: usize, took: Duration, goal: Duration) -> usize {
    let nanos = took.as_nanos().max(1);
    let at_this_pace = u128::try_from(operations).unwrap_or(u128::MAX).saturating_mul(goal.as_nanos()) / nanos;
    usize::try_from(at_this_pace).unwrap_or(usize::MAX).clamp(STEP, operations.saturating_mul(GROWTH).max(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_where_it_may_and_within_its_size_if_it_can() {
        let ends = [1_200, 2_300, 9_000, 10_000];
        assert_eq!(next_length(&ends, 0, 2_000), 1_200);
        assert_eq!(next_length(&ends, 0, 2_300), 2_300);
        assert_eq!(next_length(&ends, 0, 100), 1_200, "less is not possible");
        assert_eq!(next_length(&ends, 2_300, 2_000), 6_700, "less is not possible");
        assert_eq!(next_length(&ends, 1_200, 8_800), 8_800);
        assert_eq!(next_length(&ends, 9_000, 50_000), 1_000);
    }

    fn next_size(operations: usize, took: Duration) -> usize {
        super::next_size(operations, took, Duration::from_millis(50))
    }

    #[test]
    fn sizes_follow_the_kernels_pace_within_limits() {
        assert_eq!(next_size(2_000, Duration::from_millis(25)), 4_000);
        assert_eq!(next_size(20_000, Duration::from_millis(100)), 10_000);
        assert_eq!(next_size(2_000, Duration::from_micros(1)), 8_000, "not too fast");
        assert_eq!(next_size(2_000, Duration::ZERO), 8_000);
        assert_eq!(next_size(2_000, Duration::from_secs(60)), STEP, "not too slow");
    }
}
