//! Session affinity over random histories: clients of endpoints that are gone are forgotten, and nobody else.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use common::{Expected, Move, Proxy, cases, history};
use pointsman::dataplane::{Element, Endpoint, Family, Frontend, Key, SetName};
use pointsman::diff::{Plan, is_stale};
use proptest::prelude::*;

/// A client: confined to this node's endpoints by a policy `Local` (it comes from outside), or not (a local pod, this host).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Client {
    number: u8,
    confined: bool,
}

/// Who was sent where, as packets would have noted it.
type Remembered = BTreeMap<(Frontend, Client), Endpoint>;

/// Where a client is sent by a frontend, by rule.
fn reachable(expected: &Expected, client: Client) -> &BTreeSet<Endpoint> {
    let local = expected.gates.iter().any(|gate| matches!(gate, SetName::ExternalLocal | SetName::NodeportsLocal));
    if client.confined && local { &expected.local } else { &expected.any }
}

fn element(frontend: Frontend, client: Client, endpoint: Endpoint) -> Element {
    let source: IpAddr = match frontend.family() {
        Family::Ip => [192, 0, u8::from(client.confined), client.number].into(),
        Family::Ip6 => [0xfd00, 0, 0, 0, 0, 0, u16::from(client.confined), u16::from(client.number)].into(),
    };
    let set = SetName::Clients { node_port: frontend.is_node_port() };
    Element { value: Some(endpoint), ..Element::member(set, Key::Client(frontend, source)) }
}

/// Every client opens a connection to every frontend: one that is remembered goes where it went, others anywhere.
fn connect(expected: &BTreeMap<Frontend, Expected>, remembered: &mut Remembered) {
    for (frontend, wanted) in expected.iter().filter(|(_, wanted)| wanted.affinity.is_some()) {
        for client in (0..6).map(|n| Client { number: n, confined: n % 2 == 0 }) {
            let choices = reachable(wanted, client);
            let choice = choices.iter().nth(usize::from(client.number) % choices.len().max(1));
            if let Some(endpoint) = choice {
                remembered.entry((*frontend, client)).or_insert(*endpoint);
            }
        }
    }
}

/// Forgets as the proxy does after a commit.
fn forget(proxy: &Proxy, plan: &Plan, remembered: &mut Remembered) {
    remembered.retain(|(frontend, client), endpoint| {
        !is_stale(&element(*frontend, *client, *endpoint), proxy.desired(), &plan.vacated)
    });
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn clients_of_endpoints_that_are_gone_are_forgotten_and_nobody_else(history in history()) {
        let mut proxy = Proxy::new();
        let mut remembered = Remembered::new();
        let mut before = BTreeMap::new();
        for step in history.into_iter().chain([Move::Sync]) {
            let lost = match &step {
                Move::LoseTable(family) => Some(*family),
                _ => None,
            };
            // The maps are in the table.
            remembered.retain(|(frontend, _), _| lost != Some(frontend.family()));
            let Some(plan) = proxy.make(step) else { continue };
            let expected = proxy.model.expected();
            let all = remembered.clone();
            forget(&proxy, &plan, &mut remembered);
            for ((frontend, client), endpoint) in &all {
                let now = expected.get(frontend).filter(|wanted| wanted.affinity.is_some());
                let may = now.is_some_and(|wanted| reachable(wanted, *client).contains(endpoint));
                let kept = remembered.contains_key(&(*frontend, *client));
                prop_assert!(may || !kept, "{:?} of {} may not go to {} any more", client, frontend, endpoint);
                // An endpoint that no list lost has lost nobody.
                let lists = |wanted: &Expected| [true, false].map(|confined| {
                    reachable(wanted, Client { confined, ..*client }).contains(endpoint)
                });
                let stayed = before.get(frontend).zip(now).is_some_and(|(was, is): (&Expected, &Expected)| {
                    was.affinity.is_some() && lists(was).iter().zip(lists(is)).all(|(was, is)| is || !was)
                });
                prop_assert!(kept || !(stayed && may), "{:?} of {} was forgotten, but {} stayed", client, frontend, endpoint);
            }
            connect(&expected, &mut remembered);
            before = expected;
        }
    }
}
