//! Session affinity: the chains of each frontend that remembers its clients, and what they share.
//!
//! ```text
//! affinity ─▶ recall-FRONTEND: the id of the client's endpoint, from clients-FRONTEND
//!             endpoints-by-id: dnat, if the client is known and its endpoint is there
//!          ─▶ draw-id ─▶ draw-id-P: a random id of endpoint-ids
//!          ─▶ remember-FRONTEND: the client with this id, into clients-FRONTEND
//!             endpoints-by-id: dnat
//! ```
//!
//! A rule cannot use what one map yields as the key of another, but it can keep it in the packet's priority (`meta priority`) between
//! two look-ups. So a client is remembered with the id of its endpoint, not with the endpoint: when the endpoint leaves, the one element
//! of `endpoints-by-id` goes with it, and no client is sent there any more, however many are remembered. The priority of a forwarded
//! IPv4 packet is set after these rules by the kernel; of other packets only the first one of a connection keeps the id as its priority,
//! which is no class of any queueing discipline.
//!
//! The chains of a frontend refer to its own map alone. Whenever a rule comes to refer to a map, the kernel walks the map's elements and all
//! rules that refer to it already; and it follows all chains whenever a rule or an element that leads to a chain is added. So these chains are
//! short and lead nowhere else.
//!
//! Everything happens before the destination is translated. So it does not matter which other programs translate sources, or when.

use super::{ProgramFeatures, UNBIASED_DRAWS};
use crate::dataplane::{
    Action, AffinityStep, Chain, ChainName, Condition, EndpointList, Expr, Family, Frontend, Rule, SetName, SizeClass,
};

impl Chain {
    /// The chain of one frontend with session affinity for a step, with the timeout in seconds.
    ///
    /// It depends neither on the endpoints nor on the policy. So it changes with the timeout only.
    pub fn with_affinity(step: AffinityStep, frontend: Frontend, seconds: u32) -> Self {
        let rule = |action| Rule::new(frontend.family(), action);
        let clients = SetName::Clients(frontend);
        let remembers = rule(Action::Return);
        let rules = match step {
            AffinityStep::Recall => {
                let recalls = remembers.when(Condition::Recalls(Expr::key_of(clients), clients));
                vec![recalls.when(Condition::Remembers(clients, seconds))]
            }
            // For a key that is there an update changes the timeout, but not the data.
            AffinityStep::Remember => {
                vec![rule(Action::Forget(clients)), remembers.when(Condition::Remembers(clients, seconds))]
            }
        };
        Self { affinity_seconds: Some(seconds), ..Self::regular(ChainName::with_affinity(step, frontend), rules) }
    }
}

/// The chains that all frontends of a list share. A chain comes before those that jump to it.
pub(super) fn shared_chains(family: Family, list: EndpointList, parts: &ProgramFeatures) -> Vec<Chain> {
    let classes: Vec<SizeClass> = parts.affinity_classes_of(list).collect();
    if classes.is_empty() {
        return Vec::new();
    }
    let rule = |action| Rule::new(family, action);
    let own_chain = |step| {
        let map = SetName::AffinityChains(step, list.is_node_port());
        rule(Action::JumpByMap(Expr::key_of(map), map))
    };
    let draw_id = || rule(Action::Jump(ChainName::draw_id(list)));
    let by_id = SetName::EndpointsById(list);
    let translate = || rule(Action::DnatTo(Expr::key_of(by_id), by_id));
    let by_class = classes.iter().map(|class| {
        rule(Action::Goto(draw_id_from_name(list, *class))).when(SetName::AffinitySlots(list, *class).into())
    });
    let draw = Chain::regular(ChainName::draw_id(list), by_class.collect());
    let affinity = vec![
        own_chain(AffinityStep::Recall).when(Condition::ForgetsId),
        // Spares new clients a look-up that finds nothing.
        translate().when(Condition::HasId),
        draw_id(),
        own_chain(AffinityStep::Remember),
        translate(),
        // The endpoint left while the packet was on its way.
        draw_id(),
        translate(),
    ];
    let mut chains: Vec<Chain> = classes.iter().map(|class| draw_id_from(family, list, *class)).collect();
    chains.push(Chain { classes, ..draw });
    chains.push(Chain::regular(ChainName::affinity(list), affinity));
    chains
}

/// The rule that leads a list's frontends with session affinity to their chain.
pub(super) fn to_affinity(family: Family, list: EndpointList) -> Rule {
    Rule::new(family, Action::Goto(ChainName::affinity(list)))
}

/// `draw-id-P`: makes a random id of the frontend the packet's priority. Draws as the chains `pick-P` do, each time by a rule of its own:
/// `return` would only leave a chain that the draws share.
fn draw_id_from(family: Family, list: EndpointList, class: SizeClass) -> Chain {
    let map = SetName::EndpointIds(list);
    let draw = |class| {
        let recalls = Condition::Recalls(Expr::key_of(map).random_slot(class), map);
        Rule::new(family, Action::Return).when(recalls)
    };
    let draws = match class.halved() {
        Some(half) => (0..UNBIASED_DRAWS).map(|_| draw(class)).chain([draw(half)]).collect(),
        None => vec![draw(class)],
    };
    Chain::regular(draw_id_from_name(list, class), draws)
}

fn draw_id_from_name(list: EndpointList, class: SizeClass) -> ChainName {
    ChainName::from(format!("{}draw-id-{}", list.prefix(), class.slots()))
}
