//! NodePorts that are hidden on an address of the node, because another Service has that address and port as an external one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::Desired;
use crate::dataplane::{Family, Frontend, Protocol};
use crate::state::event::Kind;
use crate::state::skipped::{ObjectRef, Problem, Reason, Skipped};

impl Desired {
    /// The owner of the NodePort that this frontend hides at its address, if it hides one.
    pub fn hidden_node_port(&self, frontend: Frontend) -> Option<&Arc<str>> {
        self.hidden_node_ports.get(&frontend)
    }

    /// Looks at frontends that may hide a NodePort or be hidden, and returns what is hidden now and was not before. The rules look up
    /// addresses first, as kube-proxy's do.
    pub(super) fn newly_hidden(&mut self, touched: impl Iterator<Item = Frontend>) -> Vec<Skipped> {
        let addresses = Arc::clone(&self.health_checks.addresses);
        if addresses.is_empty() {
            return Vec::new();
        }
        let mut at_addresses: BTreeSet<Frontend> = BTreeSet::new();
        for frontend in touched {
            if frontend.is_node_port() {
                let of_family = |addr: &&IpAddr| Family::from_addr(**addr) == Family::from_addr(frontend.addr);
                at_addresses
                    .extend(addresses.iter().filter(of_family).map(|addr| Frontend { addr: *addr, ..frontend }));
            } else if addresses.contains(&frontend.addr) {
                at_addresses.insert(frontend);
            }
        }
        at_addresses.into_iter().filter_map(|frontend| self.hidden_by(frontend)).collect()
    }

    /// The same for all frontends at the addresses that accept NodePorts.
    pub(super) fn newly_hidden_anywhere(&mut self) -> Vec<Skipped> {
        let at = |addr: &IpAddr| {
            let (addr, [first, .., last]) = (*addr, Protocol::ALL);
            let range = Frontend { addr, protocol: first, port: 0 }..=Frontend { addr, protocol: last, port: u16::MAX };
            self.frontends.range(range).map(|(frontend, _)| *frontend)
        };
        let all: Vec<Frontend> = self.health_checks.addresses.iter().flat_map(at).collect();
        self.newly_hidden(all.into_iter())
    }

    /// Takes notice that NodePorts are accepted on other addresses. What these hide shows with the next change of a Service.
    pub(super) fn keep_hidden_at(&mut self, addresses: &[IpAddr]) {
        if !self.hidden_node_ports.is_empty()
            && self.hidden_node_ports.keys().any(|frontend| !addresses.contains(&frontend.addr))
        {
            let all = std::mem::take(&mut self.hidden_node_ports).into_iter();
            self.hidden_node_ports = all.filter(|(frontend, _)| addresses.contains(&frontend.addr)).collect();
        }
    }

    /// The NodePort that a frontend at one of these addresses hides, if that is news.
    fn hidden_by(&mut self, frontend: Frontend) -> Option<Skipped> {
        let node_port = Frontend { addr: Family::from_addr(frontend.addr).unspecified(), ..frontend };
        let winners = [frontend, node_port].map(|at| self.frontends.get(&at).map(|claims| Arc::clone(claims.winner())));
        let hidden = match winners {
            [Some(other), Some(hidden)] if other.service != hidden.service => Some((other, hidden)),
            _ => None,
        };
        let Some((other, hidden)) = hidden else {
            self.hidden_node_ports.remove(&frontend);
            return None;
        };
        let known = self.hidden_node_ports.insert(frontend, Arc::clone(&hidden.owner));
        if known.as_ref() == Some(&hidden.owner) {
            return None;
        }
        let found = format!("{} has this address and port, so the NodePort is not reached there", other.owner);
        Some(Skipped {
            object: ObjectRef { kind: Kind::Service, name: hidden.service.clone() },
            problem: Problem::new(frontend.to_string(), Reason::FrontendTaken, found),
        })
    }
}
