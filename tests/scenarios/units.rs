//! The rows that packets cannot show, as unit tests.

use super::report::Outcome;

/// What all of them came to.
pub fn all() -> Vec<Outcome> {
    Vec::new()
}
