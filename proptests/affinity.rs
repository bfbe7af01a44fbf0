//! Session affinity over random histories: a client that is remembered goes back to its endpoint for as long as that may be used, and never
//! to another one by its id.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

mod common;

use std::collections::BTreeMap;

use common::{Move, Proxy, cases, history};
use pointsman::dataplane::{Endpoint, EndpointId, Frontend};
use pointsman::state::TrafficPolicy;
use proptest::prelude::*;

/// What the map of a frontend remembers of a client that was sent to an endpoint of one of its lists.
type Remembered = BTreeMap<(Frontend, Endpoint), EndpointId>;

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_remembered_client_goes_back_to_its_endpoint_for_as_long_as_that_stays(history in history()) {
        let mut proxy = Proxy::new();
        let mut remembered = Remembered::new();
        for step in history.into_iter().chain([Move::Sync]) {
            let lost = match &step {
                Move::LoseTable(family) => Some(*family),
                _ => None,
            };
            // The maps are in the table.
            remembered.retain(|(frontend, _), _| lost != Some(frontend.family()));
            if proxy.make(step).is_none() {
                continue;
            }
            let held = proxy.acknowledged();
            let expected = proxy.model.expected();
            // A frontend without affinity has no map any more.
            remembered.retain(|(frontend, _), _| {
                expected.get(frontend).is_some_and(|wanted| wanted.affinity.is_some())
            });
            for ((frontend, endpoint), id) in &remembered {
                let (wanted, installed) = (&expected[frontend], &held.frontends[frontend]);
                let affinity = installed.affinity.as_ref().expect("affinity");
                for (policy, list) in [(TrafficPolicy::Cluster, &wanted.any), (TrafficPolicy::Local, &wanted.local)] {
                    let by_id = affinity.list(policy).endpoints.iter().find(|(of, _)| of == id);
                    let found = by_id.map(|(_, endpoint)| *endpoint);
                    prop_assert!(found.is_none_or(|found| list.contains(&found)), "{} is no endpoint any more", id);
                    prop_assert!(found.is_none_or(|found| found == *endpoint), "{} leads to another endpoint", id);
                    if policy == TrafficPolicy::Cluster && list.contains(endpoint) {
                        prop_assert_eq!(found, Some(*endpoint), "a client of {} was forgotten", endpoint);
                    }
                }
            }
            // What leaves has no clients any more: the next connection of each deletes it.
            remembered.retain(|(frontend, endpoint), _| expected[frontend].any.contains(endpoint));
            for (frontend, installed) in &held.frontends {
                for (id, endpoint) in installed.affinity.iter().flat_map(|it| &it.list(TrafficPolicy::Cluster).endpoints) {
                    remembered.entry((*frontend, *endpoint)).or_insert(*id);
                }
            }
        }
    }
}
