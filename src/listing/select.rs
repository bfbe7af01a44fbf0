//! One page of a list: which rows it has, and where the next one begins.

use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cursor::{ServiceCursor, frontend_text, parse_frontend};
use super::rows::{ClashRow, EndpointRow, FrontendRow, ServiceRow};
use crate::dataplane::{Family, Frontend};
use crate::state::{
    Claims, Cluster, Exposure, FrontendSpec, JudgedEndpoint, ObjectName, Outcome, Service, Snapshot, TrafficPolicy,
    owner_tag,
};

/// What a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListSubject {
    /// The Services that this proxy serves.
    Services,
    /// Their endpoints, used or not.
    Endpoints,
    /// The frontends: addresses and ports that clients connect to.
    Frontends,
    /// The claims to frontends that lost.
    Clashes,
}

/// Whose rows are wanted: all, those of a namespace, or those of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// The namespace.
    pub namespace: Option<String>,
    /// The name of the Service in that namespace.
    pub service: Option<String>,
}

/// A page of a list. Its rows are in no order that means anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPage {
    /// The rows.
    pub rows: ListRows,
    /// Where the next page begins; absent after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Rows of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListRows {
    /// Of [`ListSubject::Services`].
    Services(Vec<ServiceRow>),
    /// Of [`ListSubject::Endpoints`].
    Endpoints(Vec<EndpointRow>),
    /// Of [`ListSubject::Frontends`].
    Frontends(Vec<FrontendRow>),
    /// Of [`ListSubject::Clashes`].
    Clashes(Vec<ClashRow>),
}

impl ListSubject {
    /// Every subject.
    pub const ALL: [Self; 4] = [Self::Services, Self::Endpoints, Self::Frontends, Self::Clashes];

    /// Its word on the command line and in URLs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Endpoints => "endpoints",
            Self::Frontends => "frontends",
            Self::Clashes => "clashes",
        }
    }
}

impl ListFilter {
    /// Parses `NAMESPACE` or `NAMESPACE/SERVICE`.
    ///
    /// # Errors
    ///
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (namespace, service) = match text.split_once('/') {
            Some((namespace, service)) => (namespace, Some(service)),
            None => (text, None),
        };
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        if !is_name(namespace) || !service.is_none_or(is_name) {
            return Err(format!("{text:?} names no Service: expected NAMESPACE or NAMESPACE/SERVICE"));
        }
        Ok(Self { namespace: Some(namespace.to_owned()), service: service.map(str::to_owned) })
    }

    /// The name of the one Service that it lets through.
    fn only(&self) -> Option<ObjectName> {
        Some(ObjectName::new(self.namespace.as_deref()?, self.service.as_deref()?))
    }

    /// Whether it lets this Service through.
    pub fn allows(&self, service: &ObjectName) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == service.namespace())
            && self.service.as_deref().is_none_or(|name| name == service.name())
    }
}

impl ListRows {
    /// Adds the rows of another page of the same list.
    pub fn extend(&mut self, other: Self) {
        match (self, other) {
            (Self::Services(all), Self::Services(more)) => all.extend(more),
            (Self::Endpoints(all), Self::Endpoints(more)) => all.extend(more),
            (Self::Frontends(all), Self::Frontends(more)) => all.extend(more),
            (Self::Clashes(all), Self::Clashes(more)) => all.extend(more),
            (all, more) => *all = more,
        }
    }

    /// Puts the rows into the order in which people look for them.
    pub fn sort(&mut self) {
        match self {
            Self::Services(rows) => rows.sort_by(|a, b| a.service.cmp(&b.service)),
            Self::Endpoints(rows) => rows.sort_by_cached_key(|row| (row.service.clone(), row.policy.clone())),
            Self::Frontends(rows) => rows.sort_by_cached_key(|row| (row.service.clone(), row.kind.clone())),
            Self::Clashes(rows) => rows.sort_by(|a, b| a.loser.cmp(&b.loser)),
        }
    }
}

/// A page of about `max_rows` rows, beginning where an earlier page ended. A change between two pages may repeat rows or leave some out.
///
/// Costs O(rows), the endpoints of the Services on the page, and a look at each Service or frontend that the filter does not let through.
///
/// # Errors
///
/// If `after` is none of this list's.
pub fn list(
    snapshot: &Snapshot,
    subject: ListSubject,
    filter: &ListFilter,
    after: Option<&str>,
    max_rows: usize,
) -> Result<RowPage, String> {
    let wrong = || format!("{:?} is no place in this list", after.unwrap_or_default());
    let cluster = snapshot.cluster();
    match subject {
        ListSubject::Services | ListSubject::Endpoints => {
            let from = after.map_or(Some(ServiceCursor::default()), ServiceCursor::parse).ok_or_else(wrong)?;
            Ok(if subject == ListSubject::Services {
                let (rows, next) =
                    by_service(cluster, filter, from, max_rows, |service| vec![service_row(cluster, service)]);
                RowPage { rows: ListRows::Services(rows), next }
            } else {
                let (rows, next) =
                    by_service(cluster, filter, from, max_rows, |service| endpoint_rows(cluster, service));
                RowPage { rows: ListRows::Endpoints(rows), next }
            })
        }
        ListSubject::Frontends | ListSubject::Clashes => {
            let from = after.map(|after| parse_frontend(after).ok_or_else(wrong)).transpose()?;
            Ok(if subject == ListSubject::Frontends {
                let row = |frontend, claims: &Claims| {
                    let allowed = filter.allows(&claims.winner().service);
                    if allowed { vec![frontend_row(frontend, claims)] } else { Vec::new() }
                };
                let (rows, next) = by_frontend(snapshot, from, max_rows, row);
                RowPage { rows: ListRows::Frontends(rows), next }
            } else {
                let row = |frontend, claims: &Claims| clash_rows(snapshot, filter, frontend, claims);
                let (rows, next) = by_frontend(snapshot, from, max_rows, row);
                RowPage { rows: ListRows::Clashes(rows), next }
            })
        }
    }
}

/// The rows of Services in the order of the hashes of their names.
fn by_service<R>(
    cluster: &Cluster,
    filter: &ListFilter,
    from: ServiceCursor,
    max_rows: usize,
    rows_of: impl Fn(&Service) -> Vec<R>,
) -> (Vec<R>, Option<String>) {
    let mut rows = Vec::new();
    let mut take = |hash: u64, done: &mut usize, service: &Arc<Service>| {
        for row in rows_of(service) {
            if hash == from.hash && *done < from.skip {
                *done += 1;
                continue;
            }
            if rows.len() >= max_rows {
                return Some(ServiceCursor { hash, skip: *done }.text());
            }
            rows.push(row);
            *done += 1;
        }
        None
    };
    if let Some(only) = filter.only() {
        let next = cluster.service(&only).and_then(|service| take(from.hash, &mut 0, service));
        return (rows, next);
    }
    // Rows of the Services with the current hash so far.
    let (mut current, mut done) = (None, 0);
    for (hash, service) in cluster.services_from(from.hash).filter(|(_, service)| filter.allows(&service.name)) {
        if current.replace(hash) != Some(hash) {
            done = 0;
        }
        if let Some(next) = take(hash, &mut done, service) {
            return (rows, Some(next));
        }
    }
    (rows, None)
}

/// The rows of frontends in their order.
fn by_frontend<R>(
    snapshot: &Snapshot,
    from: Option<Frontend>,
    max_rows: usize,
    rows_of: impl Fn(Frontend, &Claims) -> Vec<R>,
) -> (Vec<R>, Option<String>) {
    let mut rows = Vec::new();
    let from = from.map_or(Bound::Unbounded, Bound::Excluded);
    let mut last = None;
    for (frontend, claims) in snapshot.desired().frontends.range((from, Bound::Unbounded)) {
        if rows.len() >= max_rows {
            return (rows, last.map(frontend_text));
        }
        rows.extend(rows_of(*frontend, claims));
        last = Some(*frontend);
    }
    (rows, None)
}

fn service_row(cluster: &Cluster, service: &Service) -> ServiceRow {
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
        problems: service.problems.iter().map(crate::state::Problem::explanation).collect(),
    }
}

/// An endpoint of a Service without restrictions has one row; if `externalTrafficPolicy` is `Local` and `internalTrafficPolicy` is not, it has
/// one for each.
fn endpoint_rows(cluster: &Cluster, service: &Service) -> Vec<EndpointRow> {
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

fn frontend_row(frontend: Frontend, claims: &Claims) -> FrontendRow {
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

fn clash_rows(snapshot: &Snapshot, filter: &ListFilter, frontend: Frontend, claims: &Claims) -> Vec<ClashRow> {
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

fn ports_and_families(service: &Service) -> impl Iterator<Item = (&crate::state::ServicePort, Family)> {
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
    let at = std::net::SocketAddr::new(frontend.addr, frontend.port);
    format!("{at}/{}", frontend.protocol.nft())
}
