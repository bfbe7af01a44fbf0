//! What to do about a packet that does not reach an endpoint.

use std::collections::BTreeMap;

use super::explanation::Explanation;
use super::verdict::VerdictReason;
use crate::dataplane::{Family, Frontend};
use crate::state::{EndpointReason, ObjectName, Snapshot};

/// How many ports of an address a line names.
const MAX_PORTS: usize = 10;

impl Explanation {
    /// Where ready endpoints are that this client may not use, because a policy confines it to this node: how many on each node; `None` if
    /// that is not the reason. Endpoints whose node no slice names count as those of the node `-`.
    pub fn elsewhere(&self) -> Option<BTreeMap<&str, usize>> {
        if self.reason != VerdictReason::NoLocalEndpoint {
            return None;
        }
        let judged = self.endpoints.iter().filter_map(|share| share.judged.as_ref());
        let ready = judged.filter(|judged| {
            let entry = &judged.entry;
            judged.reason == EndpointReason::OtherNode && entry.ready && !entry.terminating
        });
        let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
        ready.for_each(|judged| *nodes.entry(judged.node.as_deref().unwrap_or("-")).or_default() += 1);
        Some(nodes)
    }

    /// What to do; `None` if there is nothing to mend.
    pub fn fix(&self, snapshot: &Snapshot) -> Option<String> {
        let service = self.claims.as_ref().map(|claims| claims.winner().service.clone()).unwrap_or_default();
        let packet = &self.packet;
        Some(match self.reason {
            VerdictReason::Balanced | VerdictReason::Remembered => return None,
            VerdictReason::NoEndpoint => self.fix_of_endpoints(&service, snapshot),
            VerdictReason::NoLocalEndpoint => self.fix_of_policy(&service, snapshot),
            VerdictReason::SourceNotAllowed => {
                format!("add {} to loadBalancerSourceRanges of {service}, if it may come in", packet.saddr)
            }
            VerdictReason::UnknownPort => {
                let range = Frontend::first_at(packet.daddr)..;
                let at = snapshot.desired().frontends.range(range).take_while(|(at, _)| at.addr == packet.daddr);
                let ports: Vec<String> = at
                    .take(MAX_PORTS)
                    .map(|(at, claims)| format!("{}/{} ({})", at.port, at.protocol, claims.winner().owner))
                    .collect();
                match ports.is_empty() {
                    true => "the Service has no port that this proxy serves: look at its ports".to_owned(),
                    false => format!("ask for a port that the address has: {}", ports.join(", ")),
                }
            }
            VerdictReason::UnknownAddress => {
                "check where the client has the address from: the Service may be gone, or made again with another one"
                    .to_owned()
            }
            VerdictReason::NoService => {
                "if a Service was meant: check address, port and protocol; of a NodePort also which addresses accept it"
                    .to_owned()
            }
            VerdictReason::NotProgrammed => {
                "read the line CHECK; pointsman status says whether the proxy runs, and keeps up".to_owned()
            }
            VerdictReason::OtherProgram | VerdictReason::NotRouted | VerdictReason::SeenOtherwise => {
                return self.fix_of_sight();
            }
        })
    }

    /// What to do about a Service without an endpoint that could answer.
    fn fix_of_endpoints(&self, service: &ObjectName, snapshot: &Snapshot) -> String {
        let slices = snapshot.cluster().slices_of(service);
        let family = self.frontend.map_or(Family::Ip, |frontend| frontend.family());
        let (namespace, name) = (service.namespace(), service.name());
        let selector = format!("kubectl -n {namespace} get service {name} -o wide");
        let refused = self.endpoints.iter().filter_map(|share| share.judged.as_ref());
        let mut refused = refused.filter(|judged| judged.reason == EndpointReason::RefusedNetwork);
        if slices.is_empty() {
            format!("there is no EndpointSlice of {service}: check the selector, and that its pods run: {selector}")
        } else if !slices.iter().any(|slice| slice.family == family) {
            let family = family.label();
            format!(
                "there is no EndpointSlice of {service} with addressType {family}: check whether its pods have {family} addresses"
            )
        } else if let (true, Some(gap)) = (self.endpoints.is_empty(), self.gaps.first()) {
            format!("{}: the names and protocols of its ports have to be those of Service {service}", gap.text)
        } else if self.endpoints.is_empty() {
            format!(
                "the EndpointSlices of {service} have no endpoint: check the selector, and that its pods run: {selector}"
            )
        } else if refused.any(|judged| judged.entry.ready) {
            "allow the network of its endpoints: --refused-endpoint-networks of the proxy refuses it".to_owned()
        } else {
            format!(
                "look at the readiness of its pods: kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}"
            )
        }
    }

    /// What to do where a policy leaves no endpoint on this node.
    fn fix_of_policy(&self, service: &ObjectName, snapshot: &Snapshot) -> String {
        let here = snapshot.cluster().node_name();
        let Some(frontend) = self.frontend else { return format!("run a pod of {service} on {here}") };
        let object = snapshot.cluster().service(service);
        let is_in = |addresses: &[std::net::IpAddr]| addresses.contains(&frontend.addr);
        let balanced = object.is_some_and(|service| is_in(&service.load_balancer_ips));
        let external = frontend.is_node_port() || object.is_some_and(|service| is_in(&service.external_ips));
        match snapshot.desired().health_checks.checks.get(&(service.clone(), frontend.family())) {
            Some(check) if balanced => format!(
                "the load balancer has to ask http://{here}:{}/healthz, which keeps it from this node; or run a pod of {service} here",
                check.port
            ),
            _ if balanced || external => format!(
                "clients have to come to a node that has an endpoint (ELSEWHERE); or run a pod of {service} on {here}, or set externalTrafficPolicy to Cluster"
            ),
            _ => format!("run a pod of {service} on {here}, or set internalTrafficPolicy to Cluster"),
        }
    }
}
