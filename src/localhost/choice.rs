//! Which endpoint a connection goes to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rand::seq::SliceRandom;

use crate::dataplane::Endpoint;
use crate::pacing::Moment;

/// How many endpoints are tried before a connection is given up.
const MAX_TRIED: usize = 3;

/// How many clients of a port are remembered. All of them are addresses of this host's loopback interface, nearly always one.
const MAX_CLIENTS: usize = 256;

/// The clients of one port, and the endpoint that each was last sent to.
#[derive(Debug, Default)]
pub struct RememberedClients(BTreeMap<IpAddr, (Endpoint, Moment)>);

impl RememberedClients {
    /// The endpoints to try for a connection of `client`, in this order: the one that it was sent to less than `timeout` ago, if it is
    /// still there, then others at random.
    pub fn candidates(
        &self,
        endpoints: &[Endpoint],
        client: IpAddr,
        timeout: Option<Duration>,
        now: Moment,
    ) -> Vec<Endpoint> {
        let remembered = timeout.and_then(|timeout| {
            let (endpoint, last) = self.0.get(&client)?;
            (now.since(*last) < timeout && endpoints.contains(endpoint)).then_some(*endpoint)
        });
        let mut others: Vec<Endpoint> =
            endpoints.iter().filter(|endpoint| Some(**endpoint) != remembered).copied().collect();
        let (chosen, _) = others.partial_shuffle(&mut rand::rng(), MAX_TRIED);
        remembered.into_iter().chain(chosen.iter().copied()).take(MAX_TRIED).collect()
    }

    /// Notes where a client was sent.
    pub fn note(&mut self, client: IpAddr, endpoint: Endpoint, now: Moment) {
        if self.0.len() >= MAX_CLIENTS && !self.0.contains_key(&client) {
            let oldest = self.0.iter().min_by_key(|(_, (_, last))| *last).map(|(client, _)| *client);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        self.0.insert(client, (endpoint, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::ip;

    fn endpoints(count: u8) -> Vec<Endpoint> {
        (1..=count).map(|n| Endpoint { addr: ip(&format!("10.1.0.{n}")), port: 80 }).collect()
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_start(Duration::from_secs(seconds))
    }

    const CLIENT: &str = "127.0.0.1";
    const HOUR: Option<Duration> = Some(Duration::from_secs(3_600));

    #[test]
    fn every_endpoint_is_chosen_and_some_others_stand_by() {
        let (all, clients) = (endpoints(5), RememberedClients::default());
        let mut first = BTreeMap::<Endpoint, usize>::new();
        for _ in 0..2_000 {
            let candidates = clients.candidates(&all, ip(CLIENT), None, at(0));
            assert_eq!(candidates.len(), MAX_TRIED);
            assert!(candidates[1..].iter().all(|other| *other != candidates[0]));
            *first.entry(candidates[0]).or_default() += 1;
        }
        assert!(first.len() == 5 && first.values().all(|count| (250..550).contains(count)), "{first:?}");
        assert_eq!(clients.candidates(&endpoints(1), ip(CLIENT), None, at(0)), endpoints(1));
        assert_eq!(clients.candidates(&[], ip(CLIENT), HOUR, at(0)), []);
    }

    #[test]
    fn a_client_keeps_its_endpoint_until_the_timeout_or_until_the_endpoint_is_gone() {
        let (all, mut clients) = (endpoints(5), RememberedClients::default());
        clients.note(ip(CLIENT), all[3], at(0));
        for _ in 0..50 {
            assert_eq!(clients.candidates(&all, ip(CLIENT), HOUR, at(3_599))[0], all[3]);
        }
        let first = |endpoints: &[Endpoint], now| clients.candidates(endpoints, ip(CLIENT), HOUR, now)[0];
        assert!((0..100).any(|_| first(&all, at(3_600)) != all[3]), "forgotten after the timeout");
        assert!((0..100).all(|_| first(&all[..3], at(1)) != all[3]), "an endpoint that is gone");
        assert!(
            (0..100).any(|_| clients.candidates(&all, ip("127.0.0.2"), HOUR, at(1))[0] != all[3]),
            "another client"
        );
    }

    #[test]
    fn so_many_clients_are_remembered_and_no_more() {
        let (all, mut clients) = (endpoints(1), RememberedClients::default());
        for n in 0..1_000_u64 {
            clients.note(IpAddr::from([127, 0, (n / 250) as u8, (n % 250) as u8]), all[0], at(n));
        }
        assert_eq!(clients.0.len(), MAX_CLIENTS);
        assert!(clients.0.values().all(|(_, last)| *last >= at(1_000 - MAX_CLIENTS as u64)), "the newest");
    }
}
