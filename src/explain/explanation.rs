//! The explanation of what becomes of a packet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::ruleset::Ruleset;
use super::sight::Sight;
use super::slices::{SliceGap, slice_gaps};
use super::verdict::{Verdict, VerdictReason, reason, verdict};
use crate::dataplane::{
    Action, Endpoint, Family, Frontend, Packet, PacketOutcome, PacketStep, SetName, packet_ways, untouched,
};
use crate::state::{Claims, Cluster, Exposure, JudgedEndpoint, Outcome, Snapshot, TrafficPolicy};

/// What becomes of a packet, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The packet.
    pub packet: Packet,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: VerdictReason,
    /// Everything that can become of it, over all random numbers.
    pub outcomes: BTreeSet<PacketOutcome>,
    /// The frontend that it is for, if a Service has one there.
    pub frontend: Option<Frontend>,
    /// The claims to that frontend.
    pub claims: Option<Claims>,
    /// Whose endpoints its client may use.
    pub policy: TrafficPolicy,
    /// The rules that applied on one way to the verdict.
    pub path: Vec<PacketStep>,
    /// Every endpoint, used or not.
    pub endpoints: Vec<EndpointShare>,
    /// Whether its source address becomes this node's, and why.
    pub masquerade: Masquerade,
    /// Chains on the way whose rules are not those that this program writes.
    pub altered: Vec<String>,
    /// EndpointSlices of the family that do not have the port: their endpoints are not among the endpoints.
    pub gaps: Vec<SliceGap>,
    /// What a real packet was seen to do, if one was followed.
    pub sight: Option<Sight>,
}

/// An endpoint, and whether the packet can go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointShare {
    /// The endpoint with the reason that the snapshot gives; `None` if only the rules have it.
    pub judged: Option<JudgedEndpoint>,
    /// Its address and port.
    pub endpoint: Endpoint,
    /// Whether the rules can send the packet there.
    pub reached: bool,
    /// Whether the packet then comes from this node's address.
    pub masqueraded: bool,
    /// Why this packet does not go there though other clients' packets do.
    pub withheld: Option<WithheldReason>,
}

/// Why a packet does not go to an endpoint that new connections use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithheldReason {
    /// Session affinity: its client goes where it went before.
    OtherRemembered,
    /// Its source is not allowed.
    SourceNotAllowed,
    /// The rules do not hold it.
    NotProgrammed,
}

impl WithheldReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::OtherRemembered, Self::SourceNotAllowed, Self::NotProgrammed];

    /// The code.
    pub fn code(self) -> &'static str {
        match self {
            Self::OtherRemembered => "other-remembered",
            Self::SourceNotAllowed => "source-not-allowed",
            Self::NotProgrammed => "not-programmed",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::OtherRemembered => "can be used, but the client is remembered at another one",
            Self::SourceNotAllowed => "can be used, but not from this source",
            Self::NotProgrammed => "can be used, but the rules do not hold it",
        }
    }
}

/// Whether the source address becomes this node's, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masquerade {
    /// No: the packet is not translated.
    NotTranslated,
    /// No: the frontend keeps the source address for this client.
    Kept,
    /// Yes: its frontend asks for it from this client.
    Marked,
    /// Only where an endpoint reaches itself.
    ToItself,
}

impl Masquerade {
    /// The code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotTranslated => "not-translated",
            Self::Kept => "kept",
            Self::Marked => "marked",
            Self::ToItself => "to-itself",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotTranslated => "no: the packet is not translated",
            Self::Kept => "no: the endpoint sees the client's address",
            Self::Marked => "yes: the endpoint sees an address of this node",
            Self::ToItself => "only where the client is the endpoint itself",
        }
    }
}

/// Explains what the rules make of a packet on a host with these addresses, given the snapshot that they were made for.
pub fn explain(snapshot: &Snapshot, ruleset: &Ruleset, packet: &Packet, host: &BTreeSet<IpAddr>) -> Explanation {
    let mut ways = packet_ways(ruleset, packet, host);
    if ways.is_empty() {
        ways.insert(untouched(packet), Vec::new());
    }
    let (frontend, claims) = claimed(snapshot, packet, host).unzip();
    let first = ways.iter().next();
    let verdict = verdict(first.map(|(outcome, _)| outcome));
    let path = first.map(|(_, path)| path.clone()).unwrap_or_default();
    let mut reason = reason(verdict, &path, claims.is_some() && packet.opens);
    let policy = policy(snapshot.cluster(), claims.as_ref(), &path);
    let used: Vec<(Endpoint, bool)> = ways
        .keys()
        .filter_map(|outcome| match outcome {
            PacketOutcome::Goes { to, translated: true, masqueraded } => Some((*to, *masqueraded)),
            _ => None,
        })
        .collect();
    let judged = match (frontend, &claims) {
        (Some(frontend), Some(claims)) => snapshot.cluster().judge_endpoints(frontend, claims.winner(), policy),
        _ => Vec::new(),
    };
    if verdict == Verdict::Delivered && remembered(&path) {
        reason = VerdictReason::Remembered;
    }
    let masquerade = match verdict {
        Verdict::Delivered if used.iter().all(|(_, masqueraded)| *masqueraded) && is_marked(&path) => {
            Masquerade::Marked
        }
        Verdict::Delivered if used.iter().any(|(_, masqueraded)| *masqueraded) => Masquerade::ToItself,
        Verdict::Delivered => Masquerade::Kept,
        _ => Masquerade::NotTranslated,
    };
    let on_way = |chain: &&String| path.iter().any(|step| step.chain == **chain);
    let altered = ruleset.altered().iter().filter(on_way).cloned().collect();
    let withheld = match reason {
        VerdictReason::Remembered => WithheldReason::OtherRemembered,
        VerdictReason::SourceNotAllowed => WithheldReason::SourceNotAllowed,
        _ => WithheldReason::NotProgrammed,
    };
    let endpoints = shares(judged, &used, withheld);
    let gaps = match (frontend, &claims) {
        (Some(frontend), Some(claims)) => slice_gaps(snapshot.cluster(), frontend, claims.winner()),
        _ => Vec::new(),
    };
    let outcomes = ways.into_keys().collect();
    Explanation {
        packet: packet.clone(),
        verdict,
        reason,
        outcomes,
        frontend,
        claims,
        policy,
        path,
        endpoints,
        masquerade,
        altered,
        gaps,
        sight: None,
    }
}

/// The frontend that a packet is for, by the snapshot: its address, or else the NodePort.
fn claimed(snapshot: &Snapshot, packet: &Packet, host: &BTreeSet<IpAddr>) -> Option<(Frontend, Claims)> {
    let frontends = &snapshot.desired().frontends;
    let at = Frontend { addr: packet.daddr, protocol: packet.protocol, port: packet.dport };
    if let Some(claims) = frontends.get(&at) {
        return Some((at, claims.clone()));
    }
    let cluster = snapshot.cluster();
    let family = Family::from_addr(packet.daddr);
    let everywhere = cluster.view().node_ports.unrestricted().contains(&family);
    let accepts = cluster.node_port_addresses().contains(&packet.daddr)
        || (everywhere && host.contains(&packet.daddr) && !packet.daddr.is_loopback());
    let node_port = Frontend::node_port(family, packet.protocol, packet.dport);
    frontends.get(&node_port).filter(|_| accepts).map(|claims| (node_port, claims.clone()))
}

/// Whose endpoints the client may use.
fn policy(cluster: &Cluster, claims: Option<&Claims>, path: &[PacketStep]) -> TrafficPolicy {
    let Some(winner) = claims.map(Claims::winner) else { return TrafficPolicy::Cluster };
    let service = cluster.service(&winner.service);
    let internal_local = service.is_some_and(|service| service.internal_traffic_local);
    let local = match (winner.exposure, &winner.outcome) {
        (Exposure::Internal, _) => internal_local,
        (Exposure::External, Outcome::BalanceLocal { .. }) => path.iter().any(|step| {
            let drops = |set: &SetName| matches!(set, SetName::DropServices | SetName::DropNodeports);
            step.found.iter().any(|(set, ..)| drops(set)) || is_local_list(step)
        }),
        (Exposure::External, _) => false,
    };
    if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

/// Whether a step translates by a list of this node's endpoints.
fn is_local_list(step: &PacketStep) -> bool {
    matches!(&step.action, Action::DnatTo(_, SetName::Endpoints(list) | SetName::EndpointsById(list)) if list.is_local())
}

/// Whether a step on the way asks for masquerade.
fn is_marked(path: &[PacketStep]) -> bool {
    path.iter().any(|step| matches!(step.action, Action::ClearMarkAndMasquerade(_)))
}

/// Whether the client's endpoint was recalled, and not drawn.
fn remembered(path: &[PacketStep]) -> bool {
    let by_id = path.iter().any(|step| matches!(step.action, Action::DnatTo(_, SetName::EndpointsById(_))));
    by_id && !path.iter().any(|step| matches!(&step.action, Action::Jump(chain) if chain.0.contains("draw-id")))
}

/// The endpoints of the snapshot and of the rules, in order.
fn shares(judged: Vec<JudgedEndpoint>, used: &[(Endpoint, bool)], withheld: WithheldReason) -> Vec<EndpointShare> {
    // In the order of `used`, an endpoint is first where its packets keep their source address.
    let mut masqueraded: BTreeMap<Endpoint, bool> = BTreeMap::new();
    for (to, becomes) in used {
        masqueraded.entry(*to).or_insert(*becomes);
    }
    let share = |endpoint, judged: Option<JudgedEndpoint>| {
        let reached = masqueraded.get(&endpoint);
        let is_asked_for = judged.as_ref().is_some_and(|judged| judged.reason.is_used());
        EndpointShare {
            endpoint,
            judged,
            reached: reached.is_some(),
            masqueraded: reached.is_some_and(|masqueraded| *masqueraded),
            withheld: (is_asked_for && reached.is_none()).then_some(withheld),
        }
    };
    let known: BTreeSet<Endpoint> = judged.iter().map(|judged| judged.endpoint).collect();
    let others = used.iter().map(|(to, _)| *to).filter(|to| !known.contains(to)).map(|to| share(to, None));
    let mut all: Vec<EndpointShare> = judged.into_iter().map(|judged| share(judged.endpoint, Some(judged))).collect();
    all.extend(others);
    all.sort_by_key(|share| (!share.reached, share.endpoint));
    all
}

impl EndpointShare {
    /// Whether the snapshot says that new connections use it.
    pub fn is_asked_for(&self) -> bool {
        self.judged.as_ref().is_some_and(|judged| judged.reason.is_used())
    }

    /// The code of the reason; `stale` for an endpoint that only the rules have.
    pub fn code(&self) -> &'static str {
        match (self.withheld, &self.judged) {
            (Some(withheld), _) => withheld.code(),
            (None, Some(judged)) => judged.reason.code(),
            (None, None) => "stale",
        }
    }

    /// The reason for people.
    pub fn text(&self) -> &'static str {
        match (self.withheld, &self.judged) {
            (Some(withheld), _) => withheld.text(),
            (None, Some(judged)) => judged.reason.text(),
            (None, None) => "only the rules have it",
        }
    }
}
