//! The configuration: kube-proxy's file and flags, and what they come to.
//!
//! ```text
//! file  ─▶ document ─┐
//!                    ├─▶ KubeProxyConfiguration ─▶ Settings
//! flags ─────────────┘    every field, with defaults    what the program uses, validated
//! ```
//!
//! One table ([`fields`]) says of every field what it holds, its default, and what becomes of it here; another ([`flags`]) the same of
//! every flag. Reading, defaults, validation, writing, the notes about what is ignored, and docs/configuration.md follow from them.
//! Apart from [`follow`], which watches the file, nothing here does input or output.

mod document;
mod duration;
pub mod fields;
pub mod flags;
pub mod follow;
mod hint;
mod kind;
mod problem;
mod settings;
mod table;
mod values;

pub use duration::GoDuration;
pub use kind::{Value, go_flag};
pub use problem::{Note, Origin, Problem, Problems};
pub use settings::{Conntrack, LogFormat, Settings};
pub use table::table;
pub use values::KubeProxyConfiguration;
