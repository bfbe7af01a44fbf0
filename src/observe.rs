//! What the outside may see of a running proxy: metrics and health, and the HTTP pages that serve them.

mod health;
mod http;
pub mod metrics;
mod service_health;

pub use health::{Health, Report};
pub use http::{ListenError, Listener, Pages};
pub use service_health::ServiceHealth;
