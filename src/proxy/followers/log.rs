//! Logs what was left out, committed and refused.

use std::time::Duration;

use crate::drift::DriftNews;
use crate::engine::{Committed, Failed, Failure};
use crate::follow::{Effort, Follower};
use crate::state::{Compiled, Folded, Skipped, Snapshot};

/// Writes the log.
#[derive(Debug)]
pub struct LogFollower;

impl Follower for LogFollower {
    fn folded(&mut self, folded: &Folded, _: &Snapshot) {
        if folded.node_deleted {
            tracing::warn!("this node's Node object was deleted; what it said stays in force until there is a new one");
        }
        folded.skipped.iter().for_each(log_skipped);
    }

    fn compiled(&mut self, compiled: &Compiled, _: &Snapshot, _: bool) {
        compiled.skipped.iter().for_each(log_skipped);
    }

    fn read_failed(&mut self, failure: &Failure, failures: u32) {
        log_failure(failure, failures);
    }

    fn committed(&mut self, committed: &Committed, _: &Snapshot, effort: Effort) {
        committed.refused.iter().for_each(log_skipped);
        let plan = &committed.plan;
        if committed.is_tidying() {
            tracing::debug!(operations = plan.operations.len(), "deleted what no packet looks up any more");
            return;
        }
        if plan.is_empty() && committed.after_reading {
            tracing::info!("the kernel holds everything already: nothing had to change");
            return;
        }
        if plan.is_empty() {
            tracing::debug!("nothing to change");
            return;
        }
        tracing::info!(
            operations = plan.operations.len(),
            frontends = plan.frontends.len(),
            bytes = effort.bytes,
            milliseconds = (effort.took.as_secs_f64() * 1e6).round() / 1e3,
            // The slices of a large change: another one follows.
            rest_waits = (!committed.is_caught_up()).then_some(true),
            "committed"
        );
    }

    fn drift(&mut self, news: &DriftNews) {
        log_drift(news);
    }

    fn failed(&mut self, failed: &Failed, failure: &Failure, _: Duration) {
        if failed.is_search {
            let operations = failed.plan.operations.len();
            tracing::debug!(
                error = failure.message,
                operations,
                "refused; searching for the frontends that are refused"
            );
        } else {
            log_failure(failure, failed.failures);
        }
    }
}

/// Whether a repair is logged that follows so many others: of two programs that undo each other one line in a minute is enough.
fn is_logged(repairs: u32) -> bool {
    repairs < 4 || repairs.is_power_of_two() || repairs.is_multiple_of(64)
}

/// Logs that another program wrote to our tables, or that this is repaired.
fn log_drift(news: &DriftNews) {
    match news {
        DriftNews::Found { repairs, .. } if !is_logged(*repairs) => {}
        DriftNews::Repaired { repairs, .. } if !is_logged(*repairs) => {}
        DriftNews::Found { report, pause, repairs } => {
            let (by, what) = (report.writers(), report.deviations());
            match *pause {
                None => {
                    tracing::error!("our tables were changed by {by}: {what}. They are only observed (--drift observe)")
                }
                Some(Duration::ZERO) => tracing::warn!("our tables were changed by {by}: {what}. Repairing them"),
                Some(pause) => tracing::error!(
                    "our tables were changed again, now by {by}, soon after each of {repairs} repairs: {what}. The next repair waits \
                     {pause:?}. Stop what changes table ip pointsman and ip6 pointsman"
                ),
            }
        }
        DriftNews::Widened { report } => {
            tracing::warn!("our tables were changed further, by {}: {}", report.writers(), report.deviations());
        }
        DriftNews::Repaired { report, lasted, operations, .. } => tracing::info!(
            operations,
            milliseconds = (lasted.as_secs_f64() * 1e6).round() / 1e3,
            "our tables are as they should be again, after the change by {}",
            report.writers()
        ),
    }
}

/// Logs one thing that was left out, or noticed.
pub(crate) fn log_skipped(skipped: &Skipped) {
    let (object, problem) = (&skipped.object, &skipped.problem);
    tracing::warn!(
        kind = object.kind.label(),
        object = %object.name,
        field = problem.field,
        reason = problem.reason.label(),
        "{}: {}",
        if problem.reason.leaves_out() { "left out" } else { "noticed" },
        problem.explanation()
    );
}

fn log_failure(failure: &Failure, failures: u32) {
    let error = &failure.message;
    tracing::error!(error, failures, "sync failed; the proxy will read the kernel's tables and try again");
}
