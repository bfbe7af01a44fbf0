//! The configuration: kube-proxy's file and flags, and the settings that result from them.
//!
//! ```text
//! file  ─▶ document ─┐
//!                    ├─▶ KubeProxyConfiguration ─▶ Settings
//! flags ─────────────┘    every field, with defaults    what the program uses, validated
//! ```
//!
//! One table ([`fields`]) holds for every field its kind of value, its default and how Pointsman treats it; another ([`flags`]) does the
//! same for every flag. Reading, defaults, validation, writing, the notes about ignored fields, and docs/configuration.md follow from
//! these tables. Only [`follow`], which watches the file, does input or output.

mod change;
mod decode;
mod document;
mod duration;
pub mod fields;
pub mod flags;
pub mod follow;
mod hint;
mod kind;
mod networks;
mod notes;
mod problem;
mod reading;
mod removed;
mod scalar;
mod settings;
mod table;
mod values;
mod yaml;

pub use change::ConfigChange;
pub use duration::GoDuration;
pub use kind::{FieldValue, parse_go_bool};
pub use problem::{ConfigNote, ConfigProblem, ConfigProblems, Origin};
pub use removed::removed_flag;
pub use settings::{ConntrackSettings, Examined, LogFormat, Settings};
pub use table::table;
pub use values::KubeProxyConfiguration;
