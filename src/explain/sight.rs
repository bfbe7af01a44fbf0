//! What a real packet was seen to do: it overrules what was computed.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::explanation::Explanation;
use super::verdict::{Verdict, VerdictReason};
use crate::dataplane::{Endpoint, PacketOutcome};

/// How many endpoints a line names.
const MAX_ENDPOINTS: usize = 4;

/// What a real packet was seen to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// A chain of our tables dropped it, or refused it with an answer.
    Refused {
        /// The chain, with its table.
        chain: String,
        /// Whether it was answered.
        answered: bool,
    },
    /// A chain of another program dropped it, or refused it with an answer.
    DroppedElsewhere {
        /// The chain, with its table.
        chain: String,
        /// The handle of the rule; `None` if it is the policy of the chain.
        handle: Option<u64>,
    },
    /// It was translated, and no chain saw it after the routing decision.
    NotRouted,
    /// No chain dropped it.
    Passed {
        /// Where it went.
        to: Endpoint,
    },
}

impl Sight {
    /// In one sentence.
    pub fn text(&self) -> String {
        match self {
            Self::Refused { chain, answered: true } => format!("refused with an answer in {chain}"),
            Self::Refused { chain, .. } => format!("dropped in {chain}"),
            Self::DroppedElsewhere { chain, .. } => format!("dropped, or refused with an answer, in {chain}"),
            Self::NotRouted => {
                "translated, but no chain saw it at forward, input or output after that: the node has no \
                                route to the endpoint, or does not forward"
                    .to_owned()
            }
            Self::Passed { to } => format!("no chain dropped it; it went to {to}"),
        }
    }

    /// For programs.
    pub fn json(&self) -> Json {
        match self {
            Self::Refused { chain, answered } => {
                json!({ "fate": if *answered { "refused" } else { "dropped" }, "chain": chain })
            }
            Self::DroppedElsewhere { chain, handle } => {
                json!({ "fate": "dropped", "chain": chain, "handle": handle })
            }
            Self::NotRouted => json!({ "fate": "not-routed" }),
            Self::Passed { to } => json!({ "fate": "passed", "destination": to.to_string() }),
        }
    }
}

impl Explanation {
    /// Takes in what a real packet was seen to do: the verdict is what happened.
    pub fn see(&mut self, sight: Sight) {
        let computed = self.verdict;
        let verdict = match &sight {
            Sight::Refused { answered: true, .. } => Verdict::Refused,
            Sight::Refused { .. } | Sight::DroppedElsewhere { .. } | Sight::NotRouted => Verdict::Dropped,
            Sight::Passed { to } => match self.outcomes.iter().any(|outcome| goes_to(outcome, *to)) {
                true => computed,
                false if self.endpoints.iter().any(|share| share.endpoint == *to) => Verdict::Delivered,
                false => Verdict::Untouched,
            },
        };
        self.reason = match &sight {
            Sight::DroppedElsewhere { .. } => VerdictReason::OtherProgram,
            Sight::NotRouted => VerdictReason::NotRouted,
            Sight::Passed { to } if !self.outcomes.iter().any(|outcome| goes_to(outcome, *to)) => {
                VerdictReason::SeenOtherwise
            }
            Sight::Refused { .. } if verdict != computed => VerdictReason::SeenOtherwise,
            Sight::Refused { .. } | Sight::Passed { .. } => self.reason,
        };
        (self.verdict, self.sight) = (verdict, Some(sight));
    }

    /// What to do about what was seen.
    pub(super) fn fix_of_sight(&self) -> Option<String> {
        match (self.reason, self.sight.as_ref()?) {
            (VerdictReason::OtherProgram, Sight::DroppedElsewhere { chain, handle }) => Some(match handle {
                Some(handle) => format!(
                    "nft -a list chain {chain} shows the rule (handle {handle}); the program that wrote it has to accept such packets"
                ),
                None => format!(
                    "the policy of {chain} drops what no rule accepts: the program that wrote it has to accept such packets"
                ),
            }),
            (VerdictReason::NotRouted, _) => Some(self.fix_of_route()),
            (VerdictReason::SeenOtherwise, _) => Some(
                "ask again: the rules or the endpoints changed meanwhile, or another program translates the packet"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// What to do about a packet without a route.
    fn fix_of_route(&self) -> String {
        let reached: Vec<IpAddr> =
            self.endpoints.iter().filter(|share| share.reached).map(|share| share.endpoint.addr).collect();
        let shown: Vec<String> =
            reached.iter().take(MAX_ENDPOINTS).map(|addr| format!("ip route get {addr}")).collect();
        let more = reached.len().saturating_sub(MAX_ENDPOINTS);
        let more = if more > 0 { format!(" and so on for {more} more endpoints") } else { String::new() };
        let forwarding = match (&self.packet.iif, self.packet.daddr) {
            (None, _) => String::new(),
            (_, IpAddr::V4(_)) => "; see also sysctl net.ipv4.ip_forward (must be 1) and rp_filter".to_owned(),
            (_, IpAddr::V6(_)) => "; see also sysctl net.ipv6.conf.all.forwarding (must be 1)".to_owned(),
        };
        format!("look for the route to the endpoint: {}{more}{forwarding}", shown.join(", "))
    }
}

fn goes_to(outcome: &PacketOutcome, endpoint: Endpoint) -> bool {
    matches!(outcome, PacketOutcome::Goes { to, .. } if *to == endpoint)
}
