//! Whether counts look like uniform draws.

use std::collections::BTreeMap;
use std::fmt::Debug;

/// The quantile of the normal distribution that is exceeded once in a million draws, and a little more.
const ONE_IN_A_MILLION: f64 = 4.8;

/// Fails when the draws are not uniform over `expected`: some value is foreign, or the counts are not [uniform](is_uniform).
pub fn assert_uniform<T: Ord + Debug + Copy>(expected: &[T], draws: impl IntoIterator<Item = T>) {
    let mut counts: BTreeMap<T, u32> = expected.iter().map(|value| (*value, 0)).collect();
    let mut total = 0_u32;
    for draw in draws {
        *counts.get_mut(&draw).unwrap_or_else(|| panic!("{draw:?} is none of {expected:?}")) += 1;
        total += 1;
    }
    let counts: Vec<u32> = counts.into_values().collect();
    assert!(total as usize >= 5 * counts.len(), "too few draws to tell: {counts:?}");
    assert!(is_uniform(&counts), "{expected:?} were drawn {counts:?} times: that is not uniform");
}

/// Whether chance explains such counts of equally likely values more often than once in a million runs.
pub fn is_uniform(counts: &[u32]) -> bool {
    let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    let statistic: f64 = counts.iter().map(|count| (f64::from(*count) - mean).powi(2) / mean).sum();
    statistic <= chi_square_limit(counts.len() - 1)
}

/// The chi-square value that is exceeded once in a million, by the cube-root approximation of Wilson and Hilferty; it errs on
/// the generous side this far out.
fn chi_square_limit(degrees: usize) -> f64 {
    if degrees == 0 {
        return f64::INFINITY;
    }
    let degrees = degrees as f64;
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + ONE_IN_A_MILLION * spread.sqrt()).powi(3)
}

#[test]
fn a_biased_choice_is_told_from_a_uniform_one() {
    assert!(is_uniform(&[95, 110, 101, 94]));
    assert!(!is_uniform(&[200, 100, 100, 100]));
    assert!(!is_uniform(&[133, 133, 134, 0]));
}

#[test]
fn the_limit_is_above_the_exact_quantile() {
    // Exact quantiles of the chi-square distribution at 1 - 1e-6.
    for (degrees, exact) in [(1, 23.93), (2, 27.63), (7, 40.52), (15, 56.49)] {
        let limit = chi_square_limit(degrees);
        assert!(limit > exact && limit < exact * 1.5, "{degrees} degrees: {limit} against {exact}");
    }
}
