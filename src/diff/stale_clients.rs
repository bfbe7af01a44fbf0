//! Which of the clients that packets remembered have to be forgotten.

use std::collections::BTreeSet;

use crate::dataplane::{Element, Endpoint, Frontend, Key};
use crate::state::{Desired, TrafficPolicy};

/// Whether a remembered client must be forgotten: its frontend has no session affinity any more, has no such endpoint any more,
/// or its endpoint is among those that were just vacated.
///
/// What packets remember is theirs: a client that is not stale is never touched.
pub fn is_stale(client: &Element, desired: &Desired, vacated: &BTreeSet<(Frontend, Endpoint)>) -> bool {
    let (Key::Client(frontend, _), Some(endpoint)) = (client.key, client.value) else { return false };
    if vacated.contains(&(frontend, endpoint)) {
        return true;
    }
    let Some(claims) = desired.frontends.get(&frontend) else { return true };
    let spec = claims.winner();
    let has = |policy| spec.endpoints(policy).binary_search(&endpoint).is_ok();
    spec.affinity.is_none() || !TrafficPolicy::ALL.into_iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::SetName;
    use crate::fixtures::{World, frontend, service, slice};

    fn client(of: &str, endpoint: &str) -> Element {
        let (addr, port) = endpoint.split_once(':').unwrap();
        Element {
            value: Some(Endpoint { addr: addr.parse().unwrap(), port: port.parse().unwrap() }),
            ..Element::member(
                SetName::Clients { node_port: false },
                Key::Client(frontend(of), "192.0.2.1".parse().unwrap()),
            )
        }
    }

    fn stale(world: &World, of: &str, endpoint: &str) -> bool {
        is_stale(&client(of, endpoint), world.desired(), &BTreeSet::new())
    }

    #[test]
    fn a_client_is_stale_when_its_endpoint_or_the_affinity_is_gone() {
        let mut world = World::with([
            service("shop/web").affinity(60).into(),
            slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2"]).into(),
        ]);
        let web = "10.96.0.1 80/tcp";
        assert!(!stale(&world, web, "10.1.0.1:8080"));
        assert!(stale(&world, web, "10.1.0.1:9090"), "another port");
        assert!(stale(&world, web, "10.1.0.3:8080"), "never an endpoint");
        assert!(stale(&world, "10.96.0.9 80/tcp", "10.1.0.1:8080"), "another frontend");
        world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
        assert!(!stale(&world, web, "10.1.0.1:8080"));
        assert!(stale(&world, web, "10.1.0.2:8080"));
        world.apply(service("shop/web"));
        assert!(stale(&world, web, "10.1.0.1:8080"), "no affinity");
    }

    #[test]
    fn a_client_of_an_endpoint_that_was_vacated_is_stale_even_if_others_still_use_it() {
        let world =
            World::with([service("shop/web").affinity(60).into(), slice("shop/web-1").ready(&["10.1.0.1"]).into()]);
        let client = client("10.96.0.1 80/tcp", "10.1.0.1:8080");
        let vacated = BTreeSet::from([(frontend("10.96.0.1 80/tcp"), client.value.unwrap())]);
        assert!(is_stale(&client, world.desired(), &vacated));
    }

    /// What a step leaves, as text.
    fn vacated(world: &mut World, events: &[crate::state::Event]) -> Vec<String> {
        events.iter().cloned().for_each(|event| drop(world.apply(event)));
        let vacated = world.plan().vacated;
        world.sync();
        vacated.iter().map(|(frontend, endpoint)| format!("{frontend} {endpoint}")).collect()
    }

    #[test]
    fn endpoints_are_vacated_by_clients_of_services_with_affinity_only() {
        let two = || slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2"]);
        let one = || slice("shop/web-1").ready(&["10.1.0.2"]);
        let mut world = World::with([service("shop/web").affinity(60).into(), two().into()]);
        let gone = "10.96.0.1:80/tcp 10.1.0.1:8080";
        assert_eq!(vacated(&mut world, &[one().into()]), [gone]);
        assert_eq!(vacated(&mut world, &[two().into()]), [""; 0], "a new endpoint has no clients");
        assert_eq!(vacated(&mut world, &[service("shop/web").affinity(90).into()]), [""; 0], "another timeout");
        assert_eq!(vacated(&mut world, &[service("shop/web").into()]).len(), 2, "affinity switched off");
        assert_eq!(vacated(&mut world, &[one().into()]), [""; 0], "no client is remembered");
    }
}
