//! What was left out, of which object, and why: bad input costs one warning and one count, never a sync.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::Kind;
use super::names::ObjectName;

/// Why something was left out; the label `reason` of the metric `pointsman_skipped_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The object could not be decoded at all.
    Undecodable,
    /// An address or a CIDR did not parse, or is of the wrong family or kind.
    BadAddress,
    /// A port number outside 1 to 65535, or none.
    BadPort,
    /// A protocol other than TCP, UDP or SCTP.
    BadProtocol,
    /// An address type that a Service proxy cannot use (FQDN).
    UnsupportedAddressType,
    /// The Service has no ports.
    NoPorts,
    /// The EndpointSlice names no Service, or one that does not exist.
    NoService,
    /// Another Service holds the frontend.
    FrontendTaken,
    /// The same object was given twice.
    Duplicate,
    /// A timeout is none, or out of range: the default holds.
    BadTimeout,
    /// The kernel refuses what the frontend should become.
    Refused,
}

/// A part of one object that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Path of the field, as in `spec.ports[1].port`.
    pub field: String,
    /// The kind of problem.
    pub reason: Reason,
    /// What was found there, for the log.
    pub found: String,
}

/// An object, as it is named in logs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ObjectName,
}

/// A problem together with its object: what is logged and counted once, when it appears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The object.
    pub object: ObjectRef,
    /// What was left out of it.
    pub problem: Problem,
}

impl Reason {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::BadAddress => "bad-address",
            Self::BadPort => "bad-port",
            Self::BadProtocol => "bad-protocol",
            Self::UnsupportedAddressType => "unsupported-address-type",
            Self::NoPorts => "no-ports",
            Self::NoService => "no-service",
            Self::FrontendTaken => "frontend-taken",
            Self::Duplicate => "duplicate",
            Self::BadTimeout => "bad-timeout",
            Self::Refused => "refused",
        }
    }
}

impl Problem {
    /// A problem at `field`, where `found` was found.
    pub fn new(field: impl Into<String>, reason: Reason, found: impl fmt::Display) -> Self {
        Self { field: field.into(), reason, found: found.to_string() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {} ({})", self.object, self.problem.field, self.problem.found, self.problem.reason.label())
    }
}
