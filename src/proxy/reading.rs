//! Reading the tables in a task of its own, while events arrive and are folded.

use std::io;

use tokio_util::task::AbortOnDropHandle;

use crate::apply::Error;
use crate::dataplane::{Family, Tables};
use crate::diff::{Acknowledged, Expected};
use crate::follow::ReadBack;

/// A reading in progress. Dropped, it ends.
pub(super) struct Reading(AbortOnDropHandle<Result<ReadBack, Error>>);

impl Reading {
    /// Begins to read these families, and to compare them with what is expected, if anything is.
    pub fn begin(
        tables: impl Future<Output = Result<Tables, Error>> + Send + 'static,
        expected: Option<Expected>,
        families: &[Family],
    ) -> Self {
        let families = families.to_vec();
        let read = async move {
            let tables = tables.await?;
            // Large tables take a while to be taken stock of.
            let take_stock = move || {
                let held = Acknowledged::from(tables);
                let deviations = expected.map(|expected| expected.deviations(&held, &families));
                ReadBack { elements: held.count_elements(), held, deviations }
            };
            tokio::task::spawn_blocking(take_stock).await.map_err(broken_off)
        };
        Self(AbortOnDropHandle::new(tokio::spawn(read)))
    }

    /// Waits for the end of a reading, and clears it; for ever if there is none.
    pub async fn finished(reading: &mut Option<Self>) -> Result<ReadBack, Error> {
        match reading {
            Some(running) => {
                let read = (&mut running.0).await.map_err(broken_off);
                *reading = None;
                read?
            }
            None => std::future::pending().await,
        }
    }
}

fn broken_off(error: tokio::task::JoinError) -> Error {
    Error::Io { doing: "reading our tables", source: io::Error::other(error) }
}
