//! The followers that observe: health, metrics, Kubernetes Events, the log, health checks of Services.

mod affinity;
mod events;
mod health;
mod log;
mod measurements;

pub use affinity::AffinityFollower;
pub use events::EventsFollower;
pub use health::{FirstSyncFollower, HealthFollower, ServiceHealthFollower};
pub use log::LogFollower;
pub(crate) use log::log_skipped;
pub use measurements::MetricsFollower;
