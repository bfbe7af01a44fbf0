//! From what a snapshot holds to rows.

use std::net::SocketAddr;
use std::sync::Arc;

use super::rows::{ClashRow, EndpointRow, FrontendRow, ServiceRow};
use super::select::ListFilter;
use crate::dataplane::{Family, Frontend};
use crate::state::{
    Claims, Cluster, Exposure, FrontendSpec, JudgedEndpoint, ObjectName, Outcome, Problem, Service, ServicePort,
    Snapshot, TrafficPolicy, owner_tag,
};

/// A Service, with its endpoints counted.
pub(super) fn service_row(cluster: &Cluster, service: &Service) -> ServiceRow {
    let policy = internal_policy(service);
    let (mut used, mut all) = (0, 0);
    for (port, family) in ports_and_families(service) {
        let judged = cluster.judge_port(&service.name, port, family, policy);
        used += judged.iter().filter(|judged| judged.reason.is_used()).count();
        all += judged.len();
    }
    let ports = service.ports.iter().map(|port| {
        let name = if port.name.is_empty() { String::new() } else { format!("{}:", port.name) };
        let node_port = port.node_port.map_or_else(String::new, |node_port| format!("@{node_port}"));
        format!("{name}{}/{}{node_port}", port.port, port.protocol.nft())
    });
    ServiceRow {
        service: service.name.to_string(),
        cluster_ips: service.cluster_ips.clone(),
        ports: ports.collect(),
        endpoints_used: used,
        endpoints: all,
        external_ips: service.external_ips.to_vec(),
        load_balancer_ips: service.load_balancer_ips.to_vec(),
        internal_policy: policy_word(policy),
        external_policy: policy_word(if service.external_traffic_local {
            TrafficPolicy::Local
        } else {
            TrafficPolicy::Cluster
        }),
        affinity_seconds: service.session_affinity.map(Into::into),
        health_check_node_port: service.health_check_node_port.map(Into::into),
        created: service.created,
        problems: service.problems.iter().map(Problem::explanation).collect(),
    }
}

/// An endpoint of a Service without restrictions has one row; if `externalTrafficPolicy` is `Local` and `internalTrafficPolicy` is not, it has
/// one for each.
pub(super) fn endpoint_rows(cluster: &Cluster, service: &Service) -> Vec<EndpointRow> {
    let internal = internal_policy(service);
    let second = (service.external_traffic_local && internal == TrafficPolicy::Cluster).then_some(TrafficPolicy::Local);
    let mut rows = Vec::new();
    for (port, family) in ports_and_families(service) {
        for policy in std::iter::once(internal).chain(second) {
            let owner = owner_tag(&service.name, &port.name);
            let judged = cluster.judge_port(&service.name, port, family, policy);
            rows.extend(judged.into_iter().map(|judged| endpoint_row(&owner, policy, &judged)));
        }
    }
    rows
}

fn endpoint_row(owner: &str, policy: TrafficPolicy, judged: &JudgedEndpoint) -> EndpointRow {
    let texts = |hints: &[Arc<str>]| hints.iter().map(|hint| hint.to_string()).collect();
    EndpointRow {
        service: owner.to_owned(),
        policy: policy_word(policy),
        endpoint: judged.endpoint.to_string(),
        node: judged.node.as_deref().map(str::to_owned),
        used: judged.reason.is_used(),
        reason: judged.reason.code().to_owned(),
        why: judged.reason.text().to_owned(),
        zone_hints: texts(judged.entry.zone_hints()),
        node_hints: texts(judged.entry.node_hints()),
    }
}

pub(super) fn frontend_row(frontend: Frontend, claims: &Claims) -> FrontendRow {
    let winner = claims.winner();
    let (outcome, local_endpoints) = match &winner.outcome {
        Outcome::Balance(_) => ("balance", None),
        Outcome::BalanceLocal { local, .. } => ("balance-local", Some(local.len())),
        Outcome::Reject => ("refuse", None),
        Outcome::Drop => ("drop", None),
    };
    FrontendRow {
        frontend: frontend_word(frontend),
        service: winner.owner.to_string(),
        kind: kind(frontend, winner).to_owned(),
        outcome: outcome.to_owned(),
        endpoints: winner.endpoints(TrafficPolicy::Cluster).len(),
        local_endpoints,
        affinity_seconds: winner.affinity.map(Into::into),
        sources: winner.sources.as_deref().map(<[_]>::to_vec),
        lost: claims.losers().iter().map(|loser| loser.owner.to_string()).collect(),
    }
}

fn kind(frontend: Frontend, winner: &FrontendSpec) -> &'static str {
    match winner.exposure {
        Exposure::Internal => "internal",
        Exposure::External if frontend.is_node_port() => "node-port",
        Exposure::External => "external",
    }
}

pub(super) fn clash_rows(
    snapshot: &Snapshot,
    filter: &ListFilter,
    frontend: Frontend,
    claims: &Claims,
) -> Vec<ClashRow> {
    let winner = claims.winner();
    let clash = |loser: &str, rule: &str, why: String| ClashRow {
        frontend: frontend_word(frontend),
        loser: loser.to_owned(),
        winner: winner.owner.to_string(),
        rule: rule.to_owned(),
        why,
    };
    let allowed = |loser: &ObjectName| filter.allows(loser) || filter.allows(&winner.service);
    let lost = claims.losers().iter().filter(|loser| allowed(&loser.service));
    let lost = lost.map(|loser| {
        let rule = claims.rule(loser);
        clash(&loser.owner, rule.code(), format!("{} {}", winner.owner, rule.text()))
    });
    let node_port = Frontend { addr: frontend.family().unspecified(), ..frontend };
    let hidden = snapshot.desired().hidden_node_port(frontend).filter(|_| {
        let claims = snapshot.desired().frontends.get(&node_port);
        claims.is_some_and(|claims| allowed(&claims.winner().service))
    });
    let hidden = hidden.map(|owner| {
        let why = format!("{} has this address and port, so the NodePort is not reached there", winner.owner);
        clash(owner, "before-node-ports", why)
    });
    lost.chain(hidden).collect()
}

fn ports_and_families(service: &Service) -> impl Iterator<Item = (&ServicePort, Family)> {
    let families = Family::ALL
        .into_iter()
        .filter(|family| service.cluster_ips.iter().any(|addr| Family::from_addr(*addr) == *family));
    families.flat_map(|family| service.ports.iter().map(move |port| (port, family)))
}

fn internal_policy(service: &Service) -> TrafficPolicy {
    if service.internal_traffic_local { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

fn policy_word(policy: TrafficPolicy) -> String {
    let word = match policy {
        TrafficPolicy::Cluster => "Cluster",
        TrafficPolicy::Local => "Local",
    };
    word.to_owned()
}

/// The frontend without blanks.
fn frontend_word(frontend: Frontend) -> String {
    let at = SocketAddr::new(frontend.addr, frontend.port);
    format!("{at}/{}", frontend.protocol.nft())
}
