//! The followers that observe: health, metrics, Kubernetes Events, the log, health checks of Services.

mod events;
mod health;
mod log;
mod measurements;

pub use events::EventNotes;
pub use health::{FirstSync, HealthState, ServiceHealthChecks};
pub use log::Log;
pub(crate) use log::log_skipped;
pub use measurements::Measurements;
