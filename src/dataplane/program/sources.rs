//! Source ranges: a chain and a set of its own for each frontend that only some sources may use.
//!
//! ```text
//! filter prerouting, output (early) ─▶ check-sources ─▶ check-sources-FRONTEND: back if sources-FRONTEND has the source
//!                                                    ─▶ drop-other-sources: else dropped, and counted with `--counters`
//! ```
//!
//! A connection to another frontend pays one look-up, and one to such a frontend two, whatever ranges others have. A packet reads the
//! ranges in a single look-up, so it sees them as they were before a change or as they are after it.
//!
//! The chain of a frontend refers to its own set alone, see [`affinity`](super::affinity), and leads to a single chain of one or two rules. So
//! it is the same with counters and without.

use crate::dataplane::{Action, Chain, ChainName, ChainType, Condition, Expr, Family, Frontend, Hook, Rule, SetName};

/// Priority of source checks: before translation, so that they see the address that the client used.
const BEFORE_DSTNAT_PRIORITY: i32 = -110;

impl Chain {
    /// The chain that lets connections to one frontend pass from its sources alone.
    pub fn check_sources(frontend: Frontend) -> Self {
        let rule = |action| Rule::new(frontend.family(), action);
        let allowed = rule(Action::Return).when(SetName::Sources(frontend).into());
        Self::regular(
            ChainName::check_sources(frontend),
            vec![allowed, rule(Action::Goto(ChainName::DROP_OTHER_SOURCES.into()))],
        )
    }
}

/// The chains that lead a connection to the chain of its frontend, and the one that drops it. They come before translation, at hooks of their
/// own.
pub(super) fn shared_chains(family: Family) -> [Chain; 4] {
    let map = SetName::SourceChecks;
    let by_frontend = Rule::new(family, Action::JumpByMap(Expr::key_of(map), map));
    let at = |name: &'static str, hook| {
        let check = Rule::new(family, Action::Jump("check-sources".into())).when(Condition::CtStateNew);
        Chain::base(name, ChainType::Filter, hook, BEFORE_DSTNAT_PRIORITY, vec![check])
    };
    [
        Chain::regular(ChainName::DROP_OTHER_SOURCES, vec![Rule::new(family, Action::Drop)]),
        Chain::regular("check-sources", vec![by_frontend]),
        at("filter-prerouting", Hook::Prerouting),
        at("filter-output-early", Hook::Output),
    ]
}
