//! Session affinity: the chain of each frontend that remembers its clients, and what all these chains share.
//!
//! ```text
//! with-affinity ─▶ affinity-FRONTEND: is the client in clients-FRONTEND, and its endpoint in endpoints-by-id?
//!     yes: dnat
//!     no:  draw-id ─▶ draw-id-P: a random id of endpoint-ids ─▶ clients-FRONTEND remembers it ─▶ dnat
//! ```
//!
//! A rule cannot use what one map yields as the key of another, but it can keep it in the packet's priority (`meta priority`) between
//! two look-ups. So a client is remembered with the id of its endpoint, not with the endpoint: when the endpoint leaves, the one element
//! of `endpoints-by-id` goes with it, and no client is sent there any more, however many are remembered. The priority of a forwarded
//! IPv4 packet is set after these rules by the kernel; of other packets only the first one of a connection keeps the id as its priority,
//! which is no class of any queueing discipline.
//!
//! Everything happens before the destination is translated. So it does not matter which other programs translate sources, or when.

use super::{ProgramFeatures, UNBIASED_DRAWS};
use crate::dataplane::{
    Action, Chain, ChainName, Condition, EndpointList, Expr, Family, Frontend, Rule, SetName, SizeClass,
};

impl Chain {
    /// The chain of one frontend with session affinity for one of its lists, with the timeout in seconds.
    ///
    /// It does not depend on the endpoints. So it changes with the timeout only.
    pub fn with_affinity(list: EndpointList, frontend: Frontend, seconds: u32) -> Self {
        let family = frontend.family();
        let rule = |action| Rule::new(family, action);
        let clients = SetName::Clients(frontend);
        let remembers = Condition::Remembers(clients, seconds);
        let rules = vec![
            rule(to_endpoint_by_id(list))
                .when(Condition::Recalls(Expr::key_of(clients), clients))
                .when(remembers.clone()),
            // Reached by clients that are unknown, or whose endpoint is gone.
            rule(Action::Forget(clients)),
            rule(Action::Jump(ChainName::draw_id(list))),
            rule(to_endpoint_by_id(list)).when(remembers),
            // The map is full, or the endpoint left while the packet was on its way.
            rule(Action::Goto(balance_by_id_name(list))),
        ];
        Self { affinity_seconds: Some(seconds), ..Self::regular(ChainName::with_affinity(list, frontend), rules) }
    }
}

/// The chains that all frontends of a list share. A chain comes before those that jump to it.
pub(super) fn shared_chains(family: Family, list: EndpointList, parts: &ProgramFeatures) -> Vec<Chain> {
    let classes: Vec<SizeClass> = parts.affinity_classes_of(list).collect();
    if classes.is_empty() {
        return Vec::new();
    }
    let rule = |action| Rule::new(family, action);
    let by_class = classes.iter().map(|class| {
        rule(Action::Goto(draw_id_from_name(list, *class))).when(SetName::AffinitySlots(list, *class).into())
    });
    let draw_id = Chain::regular(ChainName::draw_id(list), by_class.collect());
    let balance = vec![
        rule(to_endpoint_by_id(list)),
        rule(Action::Jump(ChainName::draw_id(list))),
        rule(to_endpoint_by_id(list)),
    ];
    let mut chains: Vec<Chain> = classes.iter().map(|class| draw_id_from(family, list, *class)).collect();
    chains.push(Chain { classes, ..draw_id });
    chains.push(Chain::regular(balance_by_id_name(list), balance));
    chains
}

/// The rule that leads the frontends of a list to their own chains.
pub(super) fn to_own_chain(family: Family, list: EndpointList) -> Rule {
    let map = SetName::WithAffinity(list);
    Rule::new(family, Action::GotoByMap(Expr::key_of(map), map))
}

/// `draw-id-P`: makes a random id of the frontend the packet's priority. Draws as the chains `pick-P` do.
fn draw_id_from(family: Family, list: EndpointList, class: SizeClass) -> Chain {
    let map = SetName::EndpointIds(list);
    let draw = |class| {
        let recalls = Condition::Recalls(Expr::key_of(map).random_slot(class), map);
        Rule::new(family, Action::Return).when(recalls)
    };
    let rules = match class.halved() {
        Some(half) => (0..UNBIASED_DRAWS).map(|_| draw(class)).chain([draw(half)]).collect(),
        None => vec![draw(class)],
    };
    Chain::regular(draw_id_from_name(list, class), rules)
}

/// Translates to the endpoint whose id is the packet's priority.
fn to_endpoint_by_id(list: EndpointList) -> Action {
    let map = SetName::EndpointsById(list);
    Action::DnatTo(Expr::key_of(map), map)
}

fn draw_id_from_name(list: EndpointList, class: SizeClass) -> ChainName {
    ChainName::from(format!("{}draw-id-{}", list.prefix(), class.slots()))
}

fn balance_by_id_name(list: EndpointList) -> ChainName {
    ChainName::from(format!("{}balance-by-id", list.prefix()))
}
