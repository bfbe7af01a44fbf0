//! The verdict on a packet: what becomes of it, and the reason.

use crate::dataplane::{ChainName, PacketOutcome, PacketStep, SetName};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to an endpoint.
    Delivered,
    /// It is answered: with a TCP reset, or with ICMP port unreachable.
    Refused,
    /// It is dropped.
    Dropped,
    /// No rule changes it: it goes where the routes say.
    Untouched,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictReason {
    /// It is balanced over the endpoints.
    Balanced,
    /// The frontend has session affinity and remembers the client.
    Remembered,
    /// The Service has no endpoint that could answer, on any node.
    NoEndpoint,
    /// There are endpoints, but a policy allows none on this node.
    NoLocalEndpoint,
    /// The source is not among `loadBalancerSourceRanges`.
    SourceNotAllowed,
    /// The address is a ClusterIP, but no Service has this port and protocol there.
    UnknownPort,
    /// The address is in a range of ClusterIPs, but no Service has it.
    UnknownAddress,
    /// No Service has this address and port.
    NoService,
    /// A Service has it, but the rules do not hold it.
    NotProgrammed,
    /// Seen: a chain of another program dropped it.
    OtherProgram,
    /// Seen: it was translated, and then had no route.
    NotRouted,
    /// Seen: it took another way than the rules and elements that were read give it.
    SeenOtherwise,
}

impl Verdict {
    /// The first word of the answer.
    pub fn word(self) -> &'static str {
        match self {
            Self::Delivered => "DELIVERED",
            Self::Refused => "REFUSED",
            Self::Dropped => "DROPPED",
            Self::Untouched => "UNTOUCHED",
        }
    }
}

impl VerdictReason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Balanced,
        Self::Remembered,
        Self::NoEndpoint,
        Self::NoLocalEndpoint,
        Self::SourceNotAllowed,
        Self::UnknownPort,
        Self::UnknownAddress,
        Self::NoService,
        Self::NotProgrammed,
        Self::OtherProgram,
        Self::NotRouted,
        Self::SeenOtherwise,
    ];

    /// The code of the reason.
    pub fn code(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Remembered => "remembered",
            Self::NoEndpoint => "no-endpoint",
            Self::NoLocalEndpoint => "no-local-endpoint",
            Self::SourceNotAllowed => "source-not-allowed",
            Self::UnknownPort => "unknown-port",
            Self::UnknownAddress => "unknown-address",
            Self::NoService => "no-service",
            Self::NotProgrammed => "not-programmed",
            Self::OtherProgram => "other-program",
            Self::NotRouted => "not-routed",
            Self::SeenOtherwise => "seen-otherwise",
        }
    }

    /// The reason for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Balanced => "balanced over the endpoints",
            Self::Remembered => "session affinity: the client is remembered",
            Self::NoEndpoint => "the Service has no endpoint that could answer, on any node",
            Self::NoLocalEndpoint => "the traffic policy is Local, and no endpoint on this node can be used",
            Self::SourceNotAllowed => "the source is not in loadBalancerSourceRanges",
            Self::UnknownPort => "it is a ClusterIP, but no Service has this port and protocol there",
            Self::UnknownAddress => "the address is in a range of ClusterIPs, but no Service has it",
            Self::NoService => "no Service has this address and port: the packet goes where the routes say",
            Self::NotProgrammed => "a Service has this address and port, but the rules do not hold it",
            Self::OtherProgram => "a chain of another program dropped a real packet, or refused it with an answer",
            Self::NotRouted => "a real packet was translated, and then this node had no route for it",
            Self::SeenOtherwise => "a real packet took another way than these rules and elements give it",
        }
    }
}

/// The verdict that outcomes amount to.
pub(super) fn verdict(outcome: Option<&PacketOutcome>) -> Verdict {
    match outcome {
        Some(PacketOutcome::Goes { translated: true, .. }) => Verdict::Delivered,
        Some(PacketOutcome::Dropped) => Verdict::Dropped,
        Some(PacketOutcome::Reset | PacketOutcome::Refused) => Verdict::Refused,
        Some(PacketOutcome::Goes { .. }) | None => Verdict::Untouched,
    }
}

/// Why, by the elements and chains on the way to an outcome.
pub(super) fn reason(verdict: Verdict, path: &[PacketStep], has_claim: bool) -> VerdictReason {
    let found = |wanted: &[SetName]| {
        let sets = path.iter().flat_map(|step| step.found.iter().map(|(set, ..)| *set));
        sets.into_iter().any(|set| wanted.contains(&set))
    };
    match verdict {
        Verdict::Delivered => VerdictReason::Balanced,
        Verdict::Untouched if has_claim => VerdictReason::NotProgrammed,
        Verdict::Untouched => VerdictReason::NoService,
        _ if path.last().is_some_and(|step| step.chain == ChainName::DROP_OTHER_SOURCES) => {
            VerdictReason::SourceNotAllowed
        }
        _ if found(&[SetName::DropServices, SetName::DropNodeports]) => VerdictReason::NoLocalEndpoint,
        _ if found(&[SetName::RejectServices, SetName::RejectNodeports]) => VerdictReason::NoEndpoint,
        _ if found(&[SetName::ClusterIps]) => VerdictReason::UnknownPort,
        _ => VerdictReason::UnknownAddress,
    }
}
