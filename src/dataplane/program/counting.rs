//! The program with counters: the same verdicts, and each connection counted once for its frontend.
//!
//! A chain that translates counts first, so a connection counts where it is certain that it goes to an endpoint. A chain to which such a chain
//! jumps is a part of it. Only the first packet of a
//! connection comes there. What refuses or drops comes to count on the way, packet by packet: clients that try again count again. The chains of
//! single frontends, which are no part of the program, lead to one of its chains to drop.

use std::collections::BTreeSet;

use super::Program;
use crate::dataplane::{Action, Chain, ChainName, Condition, Counted, Family, Rule, SetName};

/// The program with rules and sets that count.
pub(super) fn counting(family: Family, mut program: Program) -> Program {
    let mut own: Vec<Chain> = Vec::new();
    let rules = program.chains.iter().flat_map(|chain| &chain.rules);
    let jumps = rules.filter_map(|rule| if let Action::Jump(to) = &rule.action { Some(to.clone()) } else { None });
    let parts: BTreeSet<ChainName> = jumps.collect();
    for chain in &mut program.chains {
        if let Some(set) = chain.rules.iter().find_map(translated).filter(|_| !parts.contains(&chain.name)) {
            chain.rules.insert(0, count(family, set));
        }
        if let Some(end) = chain.rules.iter().position(|rule| rule.conditions.is_empty() && rule.action == Action::Drop)
        {
            chain.rules.insert(end, count(family, SetName::Counts(Counted::Dropped, false)));
        }
        for rule in &mut chain.rules {
            let Some(set) = unanswered(rule) else { continue };
            let name = ChainName::from(format!("count-{set}"));
            if !own.iter().any(|chain| chain.name == name) {
                own.push(Chain::regular(
                    name.clone(),
                    vec![count(family, set), Rule::new(family, rule.action.clone())],
                ));
            }
            rule.action = Action::Goto(name);
        }
    }
    // They lead to the chain that refuses, and others lead to them.
    let refuse = program.chains.iter().position(|chain| &*chain.name.0 == "refuse").map_or(0, |place| place + 1);
    program.chains.splice(refuse..refuse, own);
    program.sets.extend(Counted::sets());
    program
}

fn count(family: Family, set: SetName) -> Rule {
    Rule::new(family, Action::Count(set))
}

/// The set in which connections count that this rule translates; `None` if it translates none.
fn translated(rule: &Rule) -> Option<SetName> {
    match &rule.action {
        Action::DnatTo(_, SetName::Endpoints(list) | SetName::EndpointsById(list)) => {
            Some(SetName::Counts(Counted::New, list.is_node_port()))
        }
        _ => None,
    }
}

/// The set in which connections count that this rule refuses or drops, because their frontend has no endpoint for them; `None` if it is
/// about no frontend.
fn unanswered(rule: &Rule) -> Option<SetName> {
    let frontends = rule.conditions.iter().find_map(|condition| match condition {
        Condition::In(_, set) => Some(match set {
            SetName::RejectServices => SetName::Counts(Counted::Refused, false),
            SetName::RejectNodeports => SetName::Counts(Counted::Refused, true),
            SetName::DropServices => SetName::Counts(Counted::Dropped, false),
            SetName::DropNodeports => SetName::Counts(Counted::Dropped, true),
            _ => return None,
        }),
        _ => None,
    });
    frontends.filter(|_| matches!(rule.action, Action::Drop | Action::Goto(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::{EndpointList, Options, ProgramFeatures, SizeClass};

    fn features() -> ProgramFeatures {
        let class = SizeClass::for_endpoints(9).unwrap();
        let classes: Vec<_> = EndpointList::ALL.map(|list| (list, class)).to_vec();
        ProgramFeatures { internal: vec![class], affinity: classes.clone(), classes, source_checks: true }
    }

    fn program(counters: bool) -> Program {
        Program::new(Family::Ip, &Options { counters, ..Options::default() }, &features())
    }

    fn text(chain: &Chain) -> String {
        chain.rules.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_chain_that_translates_counts_once_and_first() {
        let program = program(true);
        let translates = |chain: &&Chain| chain.rules.iter().any(|rule| translated(rule).is_some());
        let (parts, translating): (Vec<&Chain>, Vec<&Chain>) =
            program.chains.iter().filter(translates).partition(|chain| chain.name.0.contains("draw-"));
        assert!(parts.iter().all(|chain| chain.rules.len() == 1), "pick-16 counts for draw-16: {parts:?}");
        assert_eq!((parts.len(), translating.len()), (4, 8), "draw-16, and pick-16 and affinity, of each list");
        for chain in translating {
            let counts = chain.rules.iter().filter(|rule| matches!(rule.action, Action::Count(_)));
            assert_eq!(counts.count(), 1, "{}", chain.name);
            assert!(matches!(chain.rules[0].action, Action::Count(_)), "{}", chain.name);
            let is_node_port = chain.name.0.starts_with("nodeport-");
            assert_eq!(chain.rules[0].action, Action::Count(SetName::Counts(Counted::New, is_node_port)));
        }
    }

    #[test]
    fn what_is_refused_or_dropped_for_a_frontend_counts_and_other_drops_do_not() {
        let program = program(true);
        let chain = |name: &str| text(program.chains.iter().find(|chain| chain.name.0 == name).unwrap());
        let frontend = "ip daddr . meta l4proto . th dport";
        assert_eq!(
            chain("check-endpoints"),
            format!(
                "{frontend} @drop-services goto count-dropped-connections\n\
                 {frontend} @reject-services goto count-refused-connections"
            )
        );
        assert_eq!(
            chain("count-dropped-connections"),
            format!("add @dropped-connections {{ {frontend} counter }}\ndrop")
        );
        assert_eq!(
            chain("count-nodeport-refused-connections"),
            "add @nodeport-refused-connections { meta l4proto . th dport counter }\ngoto refuse"
        );
        assert_eq!(
            chain(ChainName::DROP_OTHER_SOURCES),
            format!("add @dropped-connections {{ {frontend} counter }}\ndrop")
        );
        assert!(chain("check-cluster-ips").ends_with("@cluster-ips goto refuse\nip daddr @service-cidrs drop"));
    }

    #[test]
    fn a_chain_comes_before_those_that_lead_to_it() {
        let program = program(true);
        let mut known = BTreeSet::new();
        for chain in &program.chains {
            for rule in &chain.rules {
                if let Action::Jump(target) | Action::Goto(target) = &rule.action {
                    assert!(known.contains(target), "{} leads to {target}", chain.name);
                }
            }
            known.insert(chain.name.clone());
        }
    }

    #[test]
    fn without_counters_nothing_counts() {
        let program = program(false);
        assert!(!program.chains.iter().flat_map(|chain| &chain.rules).any(|it| matches!(it.action, Action::Count(_))));
        assert!(!program.sets.iter().any(|set| matches!(set, SetName::Counts(..))));
    }
}
