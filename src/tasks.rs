//! The long-lived tasks of the process. A task that ends too early ends the process with an error: what it did would be missing, and nothing
//! would show it. The process is started again, and the rules stay in place meanwhile.

use std::any::Any;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns the tasks of the process, and asks the process to end when one of them fails. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    shutdown: CancellationToken,
    /// The tasks that get time to end after the shutdown.
    graceful: TaskTracker,
    failure: Arc<Mutex<Option<TaskFailure>>>,
}

/// A task ended that should not have.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{task} ended: {reason}. The process ends, to be started again; the rules stay in place")]
pub struct TaskFailure {
    /// What the task is, as a noun.
    pub task: &'static str,
    /// Why it ended.
    pub reason: String,
}

/// What a task returns at its end.
pub trait TaskEnd {
    /// The text of its error, if it ended with one.
    fn error(self) -> Option<String>;
}

impl TaskEnd for () {
    fn error(self) -> Option<String> {
        None
    }
}

impl<E: Display> TaskEnd for Result<(), E> {
    fn error(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

impl Supervisor {
    /// A supervisor that cancels `shutdown` when a task fails, and whose tasks may end after that.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { shutdown, ..Self::default() }
    }

    /// Is cancelled when the process is about to end.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// The first failure of a task.
    ///
    /// # Errors
    ///
    /// If a task has failed.
    pub fn check(&self) -> Result<(), TaskFailure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// Spawns a task that works until the shutdown, and is dropped then. Any earlier end is a failure.
    pub fn spawn<F>(&self, task: &'static str, work: F) -> JoinHandle<()>
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        let supervisor = self.clone();
        tokio::spawn(async move {
            if let Some(end) = supervisor.shutdown.run_until_cancelled(caught(work)).await {
                supervisor.failed(task, end.unwrap_or_else(|| "there was nothing left to do".to_owned()));
            }
        })
    }

    /// Spawns a task that works until the shutdown and then needs some time to end: see [`ended`](Self::ended). Any earlier end is a
    /// failure.
    pub fn spawn_graceful<F>(&self, task: &'static str, work: F) -> JoinHandle<()>
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        let supervisor = self.clone();
        self.graceful.spawn(async move {
            let end = caught(work).await;
            if !supervisor.shutdown.is_cancelled() {
                supervisor.failed(task, end.unwrap_or_else(|| "there was nothing left to do".to_owned()));
            }
        })
    }

    /// Spawns a task that ends when its work is done. Only an error or a panic is a failure; the shutdown does not end it.
    pub fn spawn_finite<F>(&self, task: &'static str, work: F) -> JoinHandle<()>
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        let supervisor = self.clone();
        tokio::spawn(async move {
            if let Some(reason) = caught(work).await {
                supervisor.failed(task, reason);
            }
        })
    }

    /// Waits until the tasks of [`spawn_graceful`](Self::spawn_graceful) have ended, for so long at most.
    pub async fn ended(&self, timeout: Duration) {
        self.graceful.close();
        // What has not ended by then ends with the process.
        let _ = tokio::time::timeout(timeout, self.graceful.wait()).await;
    }

    fn failed(&self, task: &'static str, reason: String) {
        if self.shutdown.is_cancelled() {
            tracing::debug!(task, reason, "a task failed during the shutdown");
            return;
        }
        let failure = TaskFailure { task, reason };
        tracing::error!("{failure}");
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.shutdown.cancel();
    }
}

/// Runs a task to its end, and returns the text of its error or panic.
async fn caught<F: Future<Output: TaskEnd>>(work: F) -> Option<String> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(end) => end.error(),
        Err(panic) => Some(format!("it panicked: {}", panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Result<(), String> = Ok(());

    async fn unlucky() {
        panic!("no {}", "luck");
    }

    async fn failure(supervisor: &Supervisor) -> String {
        supervisor.shutdown().cancelled().await;
        supervisor.check().unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_the_process_with_an_error_that_names_it() {
        type Spawn = fn(&Supervisor) -> JoinHandle<()>;
        let all: [Spawn; 3] = [
            |supervisor| supervisor.spawn("the watch", unlucky()),
            |supervisor| supervisor.spawn_graceful("the watch", unlucky()),
            |supervisor| supervisor.spawn_finite("the watch", unlucky()),
        ];
        for spawn in all {
            let supervisor = Supervisor::default();
            spawn(&supervisor);
            assert!(failure(&supervisor).await.starts_with("the watch ended: it panicked: no luck. "));
        }
    }

    #[tokio::test]
    async fn a_task_that_returns_an_error_ends_the_process_with_it() {
        let supervisor = Supervisor::default();
        supervisor.spawn_finite("the journal", async { Err("the disk is gone") });
        assert!(failure(&supervisor).await.starts_with("the journal ended: the disk is gone. "));
    }

    #[tokio::test]
    async fn a_task_that_should_last_and_returns_is_a_failure() {
        let supervisor = Supervisor::default();
        supervisor.spawn("the watch", async { OK });
        assert!(failure(&supervisor).await.contains("nothing left to do"));
        let supervisor = Supervisor::default();
        supervisor.spawn_graceful("the page", async {});
        assert!(failure(&supervisor).await.starts_with("the page ended: "));
    }

    #[tokio::test]
    async fn work_that_is_done_and_tasks_that_end_after_the_shutdown_are_no_failures() {
        let supervisor = Supervisor::default();
        supervisor.spawn_finite("the take-over", async { OK }).await.unwrap();
        supervisor.spawn_finite("the reading", std::future::pending::<()>()).abort();
        let shutdown = supervisor.shutdown().clone();
        let page = supervisor.spawn_graceful("the page", async move { shutdown.cancelled().await });
        let watch = supervisor.spawn("the watch", std::future::pending::<()>());
        assert!(supervisor.check().is_ok());
        supervisor.shutdown().cancel();
        supervisor.ended(Duration::from_secs(10)).await;
        page.await.unwrap();
        watch.await.unwrap();
        assert!(supervisor.check().is_ok());
    }

    #[tokio::test]
    async fn the_first_failure_is_the_one_that_is_told() {
        let supervisor = Supervisor::default();
        supervisor.spawn_finite("the first", async { Err("one") }).await.unwrap();
        supervisor.spawn_finite("the second", async { Err("two") }).await.unwrap();
        assert_eq!(supervisor.check().unwrap_err().task, "the first");
    }
}
