//! One page of a list: which rows it has, and where the next one begins.

use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cursor::{ServiceCursor, frontend_text, parse_frontend};
use super::make::{clash_rows, endpoint_rows, frontend_row, service_row};
use super::rows::{ClashRow, EndpointRow, FrontendRow, ServiceRow};
use crate::dataplane::Frontend;
use crate::state::{Claims, Cluster, ObjectName, Service, Snapshot};

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
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Services(rows) => rows.is_empty(),
            Self::Endpoints(rows) => rows.is_empty(),
            Self::Frontends(rows) => rows.is_empty(),
            Self::Clashes(rows) => rows.is_empty(),
        }
    }

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
