//! What a running proxy shows to others: health, the HTTP pages that serve health and metrics, and Kubernetes Events.

mod board;
mod clients;
mod connections;
mod counts;
mod events;
mod flows;
mod health;
mod http;
mod port_limits;
mod serve;
mod service_health;
mod start;

pub use board::{Inquiry, Notes, StatusBoard, StatusReport};
pub use clients::{AffinityFrontends, ClientCounts};
pub use counts::{ConnectionCounts, ConnectionTotals, ServicePortConnections};
pub use events::{EventNote, EventRate, EventType, Events, publish};
pub use flows::{FlowCounters, watch_flows};
pub use health::{FamilyHealth, Health, HealthReport};
pub use http::{
    About, ApiServerPage, ConnectionsPage, InputPage, KernelPage, ListenError, Listener, Pages, StatusPage,
};
pub use port_limits::PortLimits;
pub use service_health::ServiceHealth;
pub use start::{TakenAddress, start_events, start_pages};
