//! Counts of frontends, summed up for service ports.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dataplane::{Counted, Family, Frontend};
use crate::state::{ObjectName, Snapshot};

/// What one frontend's packets counted.
pub(super) type FrontendTotals = BTreeMap<(Frontend, Counted), u64>;

/// How many connections there were, one number for each of [`Counted::ALL`].
pub type ConnectionTotals = [u64; Counted::ALL.len()];

/// The connections of every service port, from one reading of the kernel's counts to the next.
///
/// What a frontend counted goes to the service port that has the frontend now. A count that fell began at 0 again.
#[derive(Debug, Default)]
pub(super) struct ConnectionTally {
    /// The kernel's counts when they were last read.
    seen: FrontendTotals,
    ports: BTreeMap<(Family, Arc<str>), PortTotals>,
    /// What service ports without a series of their own have together, by [`Family::index`].
    others: [ConnectionTotals; Family::ALL.len()],
    series: usize,
}

/// The connections of one service port in one family.
#[derive(Debug)]
pub(super) struct PortTotals {
    pub service: ObjectName,
    pub connections: ConnectionTotals,
    /// Whether it is shown by its name in metrics, and not among the others.
    pub has_series: bool,
}

impl ConnectionTally {
    /// So many service ports, of both families together, are shown by their names in metrics.
    pub const MAX_SERIES: usize = 2_000;

    /// Takes in what was read. Returns the counts of frontends that no service port has any more.
    pub fn take(&mut self, counts: &FrontendTotals, snapshot: &Snapshot) -> Vec<(Frontend, Counted)> {
        let (frontends, cluster) = (&snapshot.desired().frontends, snapshot.cluster());
        let mut gone = Vec::new();
        let mut added: BTreeMap<(Family, Arc<str>), (ObjectName, ConnectionTotals)> = BTreeMap::new();
        for (key, count) in counts {
            let (frontend, counted) = *key;
            let claim = frontends.get(&frontend).map(|claims| claims.winner());
            if claim.is_none() && !cluster.is_complete() {
                continue;
            }
            let before = self.seen.insert(*key, *count).unwrap_or(0);
            let Some(claim) = claim else {
                gone.push(*key);
                continue;
            };
            let more = if *count < before { *count } else { count - before };
            let port = (frontend.family(), Arc::clone(&claim.owner));
            let (_, connections) =
                added.entry(port).or_insert_with(|| (claim.service.clone(), ConnectionTotals::default()));
            connections[counted as usize] += more;
        }
        if cluster.is_complete() {
            self.seen.retain(|key, _| frontends.contains_key(&key.0) || counts.contains_key(key));
            self.ports.retain(|_, port| cluster.service(&port.service).is_some());
            self.series = self.ports.values().filter(|port| port.has_series).count();
        }
        // Where not all new ones get a series, the busiest do.
        let mut added: Vec<_> = added.into_iter().collect();
        added.sort_by_key(|(_, (_, connections))| Reverse(connections.iter().sum::<u64>()));
        for (key, (service, connections)) in added {
            let family = key.0;
            let port = self.ports.entry(key).or_insert_with(|| {
                let has_series = self.series < Self::MAX_SERIES;
                self.series += usize::from(has_series);
                PortTotals { service, connections: ConnectionTotals::default(), has_series }
            });
            add(&mut port.connections, &connections);
            if !port.has_series {
                add(&mut self.others[family.index()], &connections);
            }
        }
        gone
    }

    /// These counts are removed from the kernel: they begin at 0.
    pub fn removed(&mut self, counts: &[(Frontend, Counted)]) {
        for key in counts {
            self.seen.remove(key);
        }
    }

    /// The frontends with a count, each once.
    pub fn frontends(&self) -> impl Iterator<Item = Frontend> {
        let mut last = None;
        self.seen
            .keys()
            .map(|(frontend, _)| *frontend)
            .filter(move |frontend| last.replace(*frontend) != Some(*frontend))
    }

    /// All service ports that had a connection.
    pub fn ports(&self) -> impl Iterator<Item = (Family, &Arc<str>, &PortTotals)> {
        self.ports.iter().map(|((family, owner), port)| (*family, owner, port))
    }

    /// What those have together that are not shown by their names; `None` if all are.
    pub fn others(&self, family: Family) -> Option<&ConnectionTotals> {
        Some(&self.others[family.index()]).filter(|others| others.iter().any(|count| *count > 0))
    }
}

/// Adds connections to others.
pub(super) fn add(to: &mut ConnectionTotals, more: &ConnectionTotals) {
    for (sum, more) in to.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, frontend, service, slice};
    use crate::state::Event;

    fn counts(all: &[(&str, Counted, u64)]) -> FrontendTotals {
        all.iter().map(|(text, counted, count)| ((frontend(text), *counted), *count)).collect()
    }

    fn world(names: &[(&str, &str)]) -> World {
        World::with(names.iter().map(|(name, ip)| service(name).ips(&[ip]).into()))
    }

    fn totals(tally: &ConnectionTally) -> Vec<(String, ConnectionTotals)> {
        tally.ports().map(|(_, owner, port)| (owner.to_string(), port.connections)).collect()
    }

    #[test]
    fn counts_are_summed_up_by_service_port_and_begin_again_after_they_fell() {
        let world = world(&[("shop/web", "10.96.0.1")]);
        let mut tally = ConnectionTally::default();
        let web = "10.96.0.1 80/tcp";
        assert_eq!(
            tally.take(&counts(&[(web, Counted::New, 5), (web, Counted::Dropped, 1)]), world.engine.snapshot()),
            []
        );
        assert_eq!(totals(&tally)[0].1, [5, 0, 1]);
        tally.take(&counts(&[(web, Counted::New, 9)]), world.engine.snapshot());
        tally.take(&counts(&[(web, Counted::New, 2), (web, Counted::Dropped, 1)]), world.engine.snapshot());
        assert_eq!(totals(&tally)[0].1, [11, 0, 1], "5 + 4, and 2 after a flush; a count that a reading missed stays");
    }

    #[test]
    fn a_service_that_goes_takes_its_totals_and_its_counts_along() {
        let mut world = world(&[("shop/web", "10.96.0.1"), ("shop/cart", "10.96.0.2")]);
        let mut tally = ConnectionTally::default();
        let (web, cart) = ("10.96.0.1 80/tcp", "10.96.0.2 80/tcp");
        let read = counts(&[(web, Counted::New, 5), (cart, Counted::New, 7)]);
        tally.take(&read, world.engine.snapshot());
        world.apply(Event::ServiceDeleted(ObjectName::new("shop", "web")));
        let gone = tally.take(&read, world.engine.snapshot());
        assert_eq!(gone, [(frontend(web), Counted::New)]);
        assert_eq!(totals(&tally), [("shop/cart:http".to_owned(), [7, 0, 0])]);
        tally.removed(&gone);
        world.apply(service("shop/other").ips(&["10.96.0.1"]));
        tally.take(&counts(&[(web, Counted::New, 1), (cart, Counted::New, 7)]), world.engine.snapshot());
        assert_eq!(totals(&tally)[1], ("shop/other:http".to_owned(), [1, 0, 0]));
    }

    #[test]
    fn a_frontend_that_another_service_takes_over_counts_for_it_from_then_on() {
        let mut world = world(&[("shop/web", "10.96.0.1")]);
        let mut tally = ConnectionTally::default();
        let web = "10.96.0.1 80/tcp";
        tally.take(&counts(&[(web, Counted::New, 5)]), world.engine.snapshot());
        world.apply(Event::ServiceDeleted(ObjectName::new("shop", "web")));
        world.apply(service("shop/next").ips(&["10.96.0.1"]));
        assert_eq!(tally.take(&counts(&[(web, Counted::New, 6)]), world.engine.snapshot()), []);
        assert_eq!(totals(&tally), [("shop/next:http".to_owned(), [1, 0, 0])]);
    }

    #[test]
    fn the_busiest_have_series_of_their_own_and_the_rest_is_counted_together() {
        let many = u16::try_from(ConnectionTally::MAX_SERIES + 3).unwrap();
        let ip = |n: u16| format!("10.97.{}.{}", n >> 8, n & 255);
        let services = (0..many).map(|n| service(&format!("load/s{n}")).ips(&[&ip(n)]).into());
        let world = World::with(services);
        let read: FrontendTotals =
            (0..many).map(|n| ((frontend(&format!("{} 80/tcp", ip(n))), Counted::New), u64::from(n) + 1)).collect();
        let mut tally = ConnectionTally::default();
        tally.take(&read, world.engine.snapshot());
        assert_eq!(tally.others(Family::Ip), Some(&[1 + 2 + 3, 0, 0]));
        assert_eq!(tally.ports().filter(|(.., port)| !port.has_series).count(), 3);
        assert_eq!(tally.ports().count(), usize::from(many));
    }

    #[test]
    fn nothing_goes_before_the_cluster_is_known() {
        let mut tally = ConnectionTally::default();
        let read = counts(&[("10.96.0.1 80/tcp", Counted::New, 5)]);
        assert_eq!(tally.take(&read, &Snapshot::default()), []);
        let mut world = world(&[("shop/web", "10.96.0.1")]);
        world.apply(slice("shop/web-1").endpoints("10.1.0.1 L r"));
        tally.take(&read, world.engine.snapshot());
        assert_eq!(totals(&tally)[0].1, [5, 0, 0], "what an earlier process left counts");
    }
}
