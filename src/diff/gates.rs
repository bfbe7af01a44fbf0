//! The sets that a frontend is a member of: where the state's words become names of sets.

use super::acknowledged::list_of;
use super::affinity::kept_seconds;
use crate::dataplane::{Frontend, SetName, SizeClass};
use crate::state::{Exposure, FrontendSpec, Outcome, TrafficPolicy};

/// The sets through which packets reach a frontend: by what happens to connections, whether clients keep their endpoint, and whether
/// only some sources may connect.
pub(super) fn gates(frontend: Frontend, spec: &FrontendSpec) -> impl Iterator<Item = SetName> {
    let node_port = frontend.is_node_port();
    let keeps_clients = kept_seconds(spec).is_some();
    let by_kind = |address: SetName, port: SetName| if node_port { port } else { address };
    let drop = by_kind(SetName::DropServices, SetName::DropNodeports);
    let (gate, fallback) = match (&spec.outcome, spec.exposure) {
        (Outcome::Balance(_), Exposure::Internal) if keeps_clients => (Some(SetName::InternalAffinity), None),
        (Outcome::Balance(any), Exposure::Internal) => {
            (SizeClass::for_endpoints(any.len()).map(SetName::Internal), None)
        }
        (Outcome::Balance(_), Exposure::External) => (Some(by_kind(SetName::External, SetName::Nodeports)), None),
        // Clients that are confined to local endpoints fall through to the drop where there are none.
        (Outcome::BalanceLocal { local, .. }, _) => {
            (Some(by_kind(SetName::ExternalLocal, SetName::NodeportsLocal)), local.is_empty().then_some(drop))
        }
        (Outcome::Reject, _) => (Some(by_kind(SetName::RejectServices, SetName::RejectNodeports)), None),
        (Outcome::Drop, _) => (Some(drop), None),
    };
    let checked = spec.sources.is_some().then_some(SetName::SourceChecks);
    [gate, fallback, checked].into_iter().flatten()
}

/// The sets behind the gates: they tell the classes of a frontend's lists, and lead a frontend with session affinity to its own chains. The
/// gate of another ClusterIP tells its class itself.
pub(super) fn classes(frontend: Frontend, spec: &FrontendSpec) -> impl Iterator<Item = SetName> {
    let keeps_clients = kept_seconds(spec).is_some();
    let has_classes = keeps_clients || spec.exposure == Exposure::External;
    let classes = TrafficPolicy::ALL.into_iter().filter(move |_| has_classes).filter_map(move |policy| {
        let list = list_of(frontend, policy);
        let class = SizeClass::for_endpoints(spec.endpoints(policy).len());
        let set = if keeps_clients { SetName::AffinitySlots } else { SetName::Slots };
        class.map(|class| set(list, class))
    });
    let own_chains = SetName::affinity_chains(frontend.is_node_port()).into_iter().filter(move |_| keeps_clients);
    classes.chain(own_chains)
}

/// The sets that a frontend keeps in the program.
pub(crate) fn program_sets(frontend: Frontend, spec: &FrontendSpec) -> impl Iterator<Item = SetName> {
    gates(frontend, spec).chain(classes(frontend, spec))
}
