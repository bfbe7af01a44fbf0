//! Reading the kernel in a task of its own: the first time ahead, while events arrive and are folded.
//!
//! What the kernel holds does not depend on the cluster, so at the start nobody has to wait for it. Only we write our tables, and
//! from the first sync on what they hold is known, not looked up, for as long as the process lives. But at the start an earlier
//! process may still be about its last commit, and complete lists may be minutes away: what was read longer ago than
//! [`RECENT`] is not taken.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::apply::Error;
use crate::dataplane::{Family, SetName, Tables};
use crate::diff::Acknowledged;

/// How long what was read ahead is good for.
const RECENT: Duration = Duration::from_secs(10);

/// A reading that goes on; dropped, it ends.
pub(super) struct Reading(AbortOnDropHandle<(Instant, Result<Found, Error>)>);

/// What the kernel holds.
pub(super) struct Found {
    pub acknowledged: Acknowledged,
    /// The number of elements in each set.
    pub counts: BTreeMap<(Family, SetName), usize>,
}

impl Reading {
    /// Begins to read.
    pub fn begin(tables: impl Future<Output = Result<Tables, Error>> + Send + 'static) -> Self {
        let read = async {
            let found = match tables.await {
                Ok(tables) => tokio::task::spawn_blocking(|| Found::from(tables)).await.map_err(broken_off),
                Err(error) => Err(error),
            };
            (Instant::now(), found)
        };
        Self(AbortOnDropHandle::new(tokio::spawn(read)))
    }

    /// Waits for it.
    pub async fn finished(self) -> Result<Found, Error> {
        self.0.await.map_err(broken_off)?.1
    }

    /// Waits for it; `None` if it is over, successful or not, and too long ago.
    pub async fn recent(self) -> Option<Result<Found, Error>> {
        match self.0.await {
            Ok((at, _)) if at.elapsed() > RECENT => None,
            Ok((_, found)) => Some(found),
            Err(error) => Some(Err(broken_off(error))),
        }
    }
}

impl From<Tables> for Found {
    fn from(tables: Tables) -> Self {
        let acknowledged = Acknowledged::from(tables);
        let counts = acknowledged.count_elements();
        Self { acknowledged, counts }
    }
}

fn broken_off(error: tokio::task::JoinError) -> Error {
    Error::Io { doing: "reading our tables", source: io::Error::other(error) }
}
