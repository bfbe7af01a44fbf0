//! What a running proxy shows to others: health, the HTTP pages that serve health and metrics, and Kubernetes Events.

mod clients;
mod events;
mod health;
mod http;
mod service_health;

pub use clients::ClientCounts;
pub use events::{Events, Note, Rate, Severity, publish};
pub use health::{FamilyReport, Health, Report};
pub use http::{About, ListenError, Listener, Pages};
pub use service_health::ServiceHealth;
