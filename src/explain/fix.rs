//! What to do about a packet that does not reach an endpoint.

use std::collections::BTreeMap;

use super::explanation::Explanation;
use super::verdict::VerdictReason;
use crate::dataplane::Frontend;
use crate::state::{EndpointReason, Snapshot};

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
            VerdictReason::NoEndpoint => format!(
                "look at the readiness of its pods: kubectl -n {} get endpointslices -l kubernetes.io/service-name={}",
                service.namespace(),
                service.name()
            ),
            VerdictReason::NoLocalEndpoint => {
                let here = snapshot.cluster().node_name();
                let check = self.frontend.and_then(|frontend| {
                    snapshot.desired().health_checks.checks.get(&(service.clone(), frontend.family())).copied()
                });
                match check {
                    Some(check) => format!(
                        "the load balancer has to ask http://{here}:{}/healthz, which keeps it from this node; or run a pod of {service} here",
                        check.port
                    ),
                    None => format!("run a pod of {service} on {here}, or change the traffic policy to Cluster"),
                }
            }
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
        })
    }
}
