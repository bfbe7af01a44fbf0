//! What the outside may see of a running proxy: metrics and health, the HTTP pages that serve them, and Kubernetes Events.

mod clients;
mod connection;
mod events;
mod health;
mod http;
pub mod metrics;
mod process;
mod service_health;
mod start;

pub use clients::ClientCounts;
pub use connection::{Connection, ConnectionReport};
pub use events::{Events, Note, Rate, Severity, publish};
pub use health::{FamilyReport, Health, Report};
pub use http::{About, ListenError, Listener, Pages};
pub use service_health::ServiceHealth;
pub use start::{TakenAddress, start_events, start_pages};
