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
    /// A value that the field does not know: the default holds.
    UnknownValue,
    /// The kernel refuses what the frontend should become.
    Refused,
    /// An external IP is outside of the networks that the operator allows.
    ExternalIpNotAllowed,
    /// An endpoint is in a network that the operator does not allow.
    EndpointNotAllowed,
    /// An endpoint is a loopback or link-local address, or one of this node. It is used.
    LocalEndpoint,
    /// The Service asks for more elements than one may have.
    TooManyElements,
}

/// A part of one object that was left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Whether something was left out, and not only noticed.
    pub fn leaves_out(self) -> bool {
        self != Self::LocalEndpoint
    }

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
            Self::UnknownValue => "unknown-value",
            Self::Refused => "refused",
            Self::ExternalIpNotAllowed => "external-ip-not-allowed",
            Self::EndpointNotAllowed => "endpoint-not-allowed",
            Self::LocalEndpoint => "local-endpoint",
            Self::TooManyElements => "too-many-elements",
        }
    }
}

impl Problem {
    /// A problem at `field`, where `found` was found.
    pub fn new(field: impl Into<String>, reason: Reason, found: impl fmt::Display) -> Self {
        Self { field: field.into(), reason, found: found.to_string() }
    }
}

impl Problem {
    /// What is wrong, for people: what was found, and what it is not.
    pub fn explanation(&self) -> String {
        let found = &self.found;
        let at = if self.field.is_empty() { String::new() } else { format!("{}: ", self.field) };
        match self.reason {
            Reason::BadPort => format!("{at}{found} is no port number from 1 to 65535"),
            Reason::BadAddress => format!("{at}{found} (no address or network that can be used here)"),
            Reason::BadProtocol => format!("{at}{found} is none of TCP, UDP and SCTP"),
            Reason::UnsupportedAddressType => format!("{at}{found} is neither IPv4 nor IPv6"),
            Reason::BadTimeout => format!("{at}{found} is no number of seconds from 1 to 86400; the default holds"),
            Reason::UnknownValue => format!("{at}{found} is no value of this field; the default holds"),
            Reason::NoService if !found.starts_with("there is") => {
                format!("{at}{found}, where the name of a Service should be")
            }
            _ => format!("{at}{found}"),
        }
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
