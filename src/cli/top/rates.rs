//! Two samples of counts as rates, and rates as a table.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;

use super::{ConnectionsPage, ServicePortConnections, TopOrder};

/// Connections in a second, of every service port and of all together.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rates {
    /// From the first sample to the second.
    pub seconds: f64,
    /// Of all service ports.
    pub total: PortRates,
    /// Of each, in the order that was asked for.
    pub service_ports: Vec<PortRates>,
    /// How many of the kernel's sets have no room for a further frontend.
    pub full_sets: usize,
}

/// The connections of one service port.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortRates {
    /// The service port; empty for all together.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_port: String,
    /// New, refused and dropped connections in a second.
    pub per_second: [f64; 3],
    /// The same, of all time.
    pub connections: [u64; 3],
    /// Endpoints that new connections may go to.
    pub used: usize,
    /// All endpoints.
    pub endpoints: usize,
}

/// The rates between two samples.
pub(super) fn rates(before: &ConnectionsPage, now: &ConnectionsPage, order: TopOrder) -> Rates {
    let seconds = (now.read_at_seconds - before.read_at_seconds).max(0.0);
    let earlier: BTreeMap<&str, &ServicePortConnections> =
        before.service_ports.iter().map(|port| (&*port.service_port, port)).collect();
    let mut total = PortRates::default();
    let mut service_ports: Vec<PortRates> = Vec::new();
    for port in &now.service_ports {
        let known = earlier.get(&*port.service_port).map_or([0; 3], |port| port.connections);
        let mut rates = PortRates {
            service_port: port.service_port.clone(),
            connections: port.connections,
            used: port.used,
            endpoints: port.endpoints,
            ..PortRates::default()
        };
        for (n, rate) in rates.per_second.iter_mut().enumerate() {
            // A Service that was made again begins at 0.
            let more = port.connections[n].checked_sub(known[n]).unwrap_or(port.connections[n]);
            #[expect(clippy::cast_precision_loss, reason = "no interval has 2^52 connections")]
            let more = more as f64;
            *rate = if seconds > 0.0 { more / seconds } else { 0.0 };
            total.per_second[n] += *rate;
            total.connections[n] += port.connections[n];
        }
        total.used += port.used;
        total.endpoints += port.endpoints;
        service_ports.push(rates);
    }
    let busier = |n: usize| {
        move |a: &PortRates, b: &PortRates| {
            b.per_second[n].total_cmp(&a.per_second[n]).then(b.connections[n].cmp(&a.connections[n]))
        }
    };
    service_ports.sort_by(|a, b| {
        let first = match order {
            TopOrder::New => busier(0)(a, b),
            TopOrder::Refused => busier(1)(a, b),
            TopOrder::Dropped => busier(2)(a, b),
            TopOrder::Name => Ordering::Equal,
        };
        first.then_with(|| a.service_port.cmp(&b.service_port))
    });
    Rates { seconds, total, service_ports, full_sets: now.full_sets }
}

impl Rates {
    /// The first so many service ports.
    pub fn first(&self, limit: usize) -> Self {
        Self { service_ports: self.service_ports.iter().take(limit).cloned().collect(), ..self.clone() }
    }

    /// The table, with so many service ports at most.
    pub fn text(&self, limit: usize) -> String {
        let shown = &self.service_ports[..self.service_ports.len().min(limit)];
        let names = shown.iter().map(|port| port.service_port.len());
        let width = names.max().unwrap_or(0).max("SERVICE".len());
        let mut lines = vec![format!(
            "{:<width$}  {:>9}  {:>9}  {:>9}  {:>9}  {:>13}  {:>9}  {:>9}",
            "SERVICE", "NEW/s", "REFUSED/s", "DROPPED/s", "ENDPOINTS", "NEW", "REFUSED", "DROPPED"
        )];
        let line = |name: &str, port: &PortRates| {
            let [new, refused, dropped] = port.per_second.map(rate);
            let [all_new, all_refused, all_dropped] = port.connections;
            let endpoints = format!("{}/{}", port.used, port.endpoints);
            format!(
                "{name:<width$}  {new:>9}  {refused:>9}  {dropped:>9}  {endpoints:>9}  {all_new:>13}  {all_refused:>9}  {all_dropped:>9}"
            )
        };
        lines.extend(shown.iter().map(|port| line(&port.service_port, port)));
        lines.push(line("TOTAL", &self.total));
        let hidden = self.service_ports.len() - shown.len();
        if hidden > 0 {
            lines.push(format!("{hidden} more service ports with connections: --limit 0 shows all"));
        }
        if self.full_sets > 0 {
            lines.push(
                "NOTE: more frontends had connections than the kernel counts (65,535 of a kind): some are missing"
                    .to_owned(),
            );
        }
        lines.join("\n") + "\n"
    }
}

/// A rate for people: small ones with a decimal.
fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(read_at_seconds: f64, ports: &[(&str, [u64; 3])]) -> ConnectionsPage {
        let port = |(name, connections): &(&str, [u64; 3])| ServicePortConnections {
            service_port: (*name).to_owned(),
            connections: *connections,
            used: 2,
            endpoints: 5,
        };
        ConnectionsPage { read_at_seconds, full_sets: 0, service_ports: ports.iter().map(port).collect() }
    }

    #[test]
    fn the_sample_of_the_documentation_is_what_is_printed() {
        let before = page(10.0, &[("shop/cart:http", [4_000, 0, 0]), ("shop/mail:smtp", [0, 12, 0])]);
        let now = page(
            12.0,
            &[("shop/cart:http", [5_624, 0, 6]), ("shop/mail:smtp", [0, 15, 0]), ("shop/web:http", [9, 0, 0])],
        );
        let text = rates(&before, &now, TopOrder::New).text(2);
        let sample = include_str!("../../../docs/counters.md");
        for line in text.lines() {
            assert!(sample.contains(line.trim_end()), "{text}");
        }
        assert_eq!(
            text.lines().next(),
            Some("SERVICE             NEW/s  REFUSED/s  DROPPED/s  ENDPOINTS            NEW    REFUSED    DROPPED")
        );
    }

    #[test]
    fn the_order_is_the_one_that_was_asked_for() {
        let before = page(0.0, &[]);
        let now = page(1.0, &[("a", [1, 9, 2]), ("b", [5, 0, 3]), ("c", [5, 2, 9])]);
        let order = |order| {
            let rates = rates(&before, &now, order);
            rates.service_ports.iter().map(|port| port.service_port.clone()).collect::<Vec<_>>().concat()
        };
        assert_eq!(order(TopOrder::New), "bca");
        assert_eq!(order(TopOrder::Refused), "acb");
        assert_eq!(order(TopOrder::Dropped), "cba");
        assert_eq!(order(TopOrder::Name), "abc");
    }

    #[test]
    fn a_service_that_was_made_again_has_no_negative_rate() {
        let rates = rates(&page(1.0, &[("a", [100, 0, 0])]), &page(2.0, &[("a", [3, 0, 0])]), TopOrder::New);
        assert_eq!(rates.service_ports[0].per_second, [3.0, 0.0, 0.0]);
        assert_eq!(rates.total.per_second, [3.0, 0.0, 0.0]);
    }
}
