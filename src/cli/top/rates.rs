//! Two samples of counts as rates, and rates as a table.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{ConnectionsPage, ServicePortConnections, TopOrder};
use crate::listing::MAX_WIDTH;

/// The kinds of connections, in the order of the counts.
const RESULTS: [&str; 3] = ["new", "refused", "dropped"];
/// The width of all columns but the first: of the interval alone, and with those of all time.
const INTERVAL_WIDTH: usize = 4 * (2 + 9);
const ALL_WIDTH: usize = INTERVAL_WIDTH + (2 + 13) + 2 * (2 + 9);
/// A shortened name has so many letters at least.
const MIN_NAME: usize = 20;

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
    #[serde(serialize_with = "by_result")]
    pub per_second: [f64; 3],
    /// The same, of all time.
    #[serde(serialize_with = "by_result")]
    pub connections: [u64; 3],
    /// Endpoints that new connections may go to.
    pub used: usize,
    /// All endpoints.
    pub endpoints: usize,
}

/// Counts with their names.
fn by_result<T: Serialize, S: Serializer>(values: &[T; 3], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(RESULTS.len()))?;
    for (name, value) in RESULTS.iter().zip(values) {
        map.serialize_entry(name, value)?;
    }
    map.end()
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

    /// The table, with so many service ports at most. Where lines are too short for all columns, those of all time are left out, and then
    /// names are shortened; a last line says so.
    pub fn text(&self, limit: usize, line_width: Option<usize>) -> String {
        let shown = &self.service_ports[..self.service_ports.len().min(limit)];
        let names = shown.iter().map(|port| port.service_port.chars().count());
        let longest = names.max().unwrap_or(0).max("SERVICE".len()).min(MAX_WIDTH);
        let is_narrow = line_width.is_some_and(|width| width < longest + ALL_WIDTH);
        let width = match line_width {
            Some(width) if is_narrow => longest.min(width.saturating_sub(INTERVAL_WIDTH).max(MIN_NAME)),
            _ => longest,
        };
        let line = |name: &str, interval: [&str; 4], all: [&str; 3]| {
            let name = if is_narrow { shortened(name, width) } else { name.to_owned() };
            let [new, refused, dropped, endpoints] = interval;
            let mut line = format!("{name:<width$}  {new:>9}  {refused:>9}  {dropped:>9}  {endpoints:>9}");
            if !is_narrow {
                let [new, refused, dropped] = all;
                line.push_str(&format!("  {new:>13}  {refused:>9}  {dropped:>9}"));
            }
            line
        };
        let row = |name: &str, port: &PortRates| {
            let [new, refused, dropped] = port.per_second.map(rate);
            let all = port.connections.map(|count| count.to_string());
            let endpoints = format!("{}/{}", port.used, port.endpoints);
            line(name, [&new, &refused, &dropped, &endpoints], [&all[0], &all[1], &all[2]])
        };
        let mut lines =
            vec![line("SERVICE", ["NEW/s", "REFUSED/s", "DROPPED/s", "ENDPOINTS"], ["NEW", "REFUSED", "DROPPED"])];
        lines.extend(shown.iter().map(|port| row(&port.service_port, port)));
        lines.push(row("TOTAL", &self.total));
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
        if is_narrow {
            lines.push(format!("NEW, REFUSED and DROPPED need a terminal of {} columns", longest + ALL_WIDTH));
        }
        lines.join("\n") + "\n"
    }
}

/// A name in so many letters: its end tells more than its beginning.
fn shortened(name: &str, width: usize) -> String {
    let letters = name.chars().count();
    if letters <= width {
        return name.to_owned();
    }
    std::iter::once('…').chain(name.chars().skip(letters + 1 - width)).collect()
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
        let text = rates(&before, &now, TopOrder::New).text(2, None);
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

    #[test]
    fn a_narrow_terminal_has_no_columns_of_all_time_and_says_so() {
        let long = format!("namespace/{}:http", "x".repeat(40));
        let now = page(12.0, &[(&long, [5_624, 0, 6])]);
        let rates = rates(&page(10.0, &[]), &now, TopOrder::New);
        let text = rates.text(20, Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("x:http       2812"), "{text}");
        assert!(text.ends_with("NEW, REFUSED and DROPPED need a terminal of 136 columns\n"), "{text}");
        assert_eq!(rates.text(20, Some(136)), rates.text(20, None));
    }

    #[test]
    fn a_name_of_any_length_is_printed() {
        let long = "x".repeat(70_000);
        let text = rates(&page(1.0, &[]), &page(2.0, &[(&long, [1, 0, 0])]), TopOrder::New).text(20, None);
        assert!(text.contains(&long));
    }

    #[test]
    fn json_names_each_number() {
        let rates = rates(&page(1.0, &[]), &page(2.0, &[("a", [3, 2, 1])]), TopOrder::New);
        let json = serde_json::to_value(&rates).unwrap();
        let port = &json["servicePorts"][0];
        assert_eq!(port["connections"], serde_json::json!({"new": 3, "refused": 2, "dropped": 1}));
        assert_eq!(port["perSecond"], serde_json::json!({"new": 3.0, "refused": 2.0, "dropped": 1.0}));
    }
}
