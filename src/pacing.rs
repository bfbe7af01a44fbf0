//! Time as data, and how fast to go on: pauses after failures, rates of requests, and reminders of a failure that lasts.
//!
//! All of it is pure. The moment and the random numbers come in as arguments.

mod backoff;
mod moment;
mod reminder;
mod token_bucket;

pub use backoff::{Backoff, jitter};
pub use moment::Moment;
pub use reminder::Reminder;
pub use token_bucket::TokenBucket;
