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
    /// A problem at `field`, where `found` was found. An empty text shows as `""`.
    pub fn new(field: impl Into<String>, reason: Reason, found: impl fmt::Display) -> Self {
        let mut found = found.to_string();
        if found.is_empty() {
            found.push_str(r#""""#);
        }
        Self { field: field.into(), reason, found }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_says_what_was_found_and_what_it_is_not() {
        for (reason, found, expected) in [
            (Reason::BadPort, "0", "f: 0 is no port number from 1 to 65535"),
            (Reason::BadAddress, "x", "f: x (no address or network that can be used here)"),
            (Reason::BadProtocol, "ICMP", "f: ICMP is none of TCP, UDP and SCTP"),
            (Reason::UnsupportedAddressType, "FQDN", "f: FQDN is neither IPv4 nor IPv6"),
            (Reason::BadTimeout, "0", "f: 0 is no number of seconds from 1 to 86400; the default holds"),
            (Reason::UnknownValue, "x", "f: x is no value of this field; the default holds"),
            (Reason::NoService, "7", "f: 7, where the name of a Service should be"),
            (Reason::NoService, "there is no Service a/b to proxy", "f: there is no Service a/b to proxy"),
            (Reason::NoPorts, "no ports", "f: no ports"),
        ] {
            assert_eq!(Problem::new("f", reason, found).explanation(), expected);
        }
        assert_eq!(Problem::new("", Reason::NoPorts, "no ports").explanation(), "no ports");
    }
}
