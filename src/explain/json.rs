//! An explanation as JSON.

use serde_json::{Value as Json, json as object};

use super::explanation::{EndpointShare, Explanation};
use super::ruleset::Ruleset;
use super::sight::Sight;
use super::slices::SliceGap;
use crate::state::{Snapshot, TrafficPolicy};

/// The explanation for programs. Reasons are codes.
pub fn json(explanation: &Explanation, snapshot: &Snapshot, ruleset: &Ruleset) -> Json {
    let packet = &explanation.packet;
    let path = explanation.path.iter().map(|step| {
        let rule = ruleset.rule(&step.chain, step.rule).map(ToString::to_string);
        let found = step.found.iter().map(|(set, key, _)| {
            object!({ "set": set.to_string(), "key": key.to_string(), "owner": ruleset.comment(*set, key) })
        });
        object!({ "hook": step.hook.nft(), "chain": step.chain, "rule": rule, "found": found.collect::<Vec<Json>>() })
    });
    let claims = explanation.claims.as_ref();
    let lost = claims.into_iter().flat_map(|claims| claims.losers()).map(|loser| loser.owner.to_string());
    object!({
        "verdict": explanation.verdict.word().to_lowercase(),
        "reason": explanation.reason.code(),
        "packet": {
            "source": packet.saddr,
            "destination": packet.daddr,
            "port": packet.dport,
            "protocol": packet.protocol.nft(),
            "interface": packet.iif,
        },
        "frontend": explanation.frontend.map(|frontend| frontend.to_string()),
        "owner": claims.map(|claims| claims.winner().owner.to_string()),
        "policy": if explanation.policy == TrafficPolicy::Local { "Local" } else { "Cluster" },
        "masquerade": explanation.masquerade.code(),
        "affinitySeconds": claims.and_then(|claims| claims.winner().affinity),
        "lostClaims": lost.collect::<Vec<String>>(),
        "path": path.collect::<Vec<Json>>(),
        "endpoints": explanation.endpoints.iter().map(endpoint).collect::<Vec<Json>>(),
        "elsewhere": explanation.elsewhere(),
        "slicesWithoutPort": explanation.gaps.iter().map(gap).collect::<Vec<Json>>(),
        "alteredChains": explanation.altered,
        "seen": explanation.sight.as_ref().map(Sight::json),
        "fix": explanation.fix(snapshot),
    })
}

fn endpoint(share: &EndpointShare) -> Json {
    let judged = share.judged.as_ref();
    object!({
        "endpoint": share.endpoint.to_string(),
        "node": judged.and_then(|judged| judged.node.as_deref()),
        "used": share.reached,
        "reason": share.code(),
        "masqueraded": share.masqueraded,
    })
}

fn gap(gap: &SliceGap) -> Json {
    object!({ "slice": gap.slice.to_string(), "text": gap.text, "endpoints": gap.endpoints })
}
