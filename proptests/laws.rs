//! The laws of `pointsman::diff`, over random histories.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

mod common;

use std::collections::BTreeSet;

use common::{Proxy, assert_satisfies, cases, event, history, scope, settings};
use pointsman::dataplane::{
    ChainName, Endpoint, Family, Frontend, Key, Object, Operation, Program, ProgramFeatures, SetName, SizeClass, Verb,
};
use pointsman::diff::{Acknowledged, FrontendChange, Installed, Plan, diff};
use pointsman::engine::EngineSettings;
use pointsman::state::{Cluster, Desired, TrafficPolicy};
use proptest::prelude::*;

/// Plays a history and checks something after each sync.
fn play(
    history: Vec<common::Move>,
    mut check: impl FnMut(&Proxy, &Acknowledged, &Plan) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut proxy = Proxy::new();
    for step in history {
        let before = proxy.acknowledged();
        if let Some(plan) = proxy.make(step) {
            check(&proxy, &before, &plan)?;
        }
    }
    let before = proxy.acknowledged();
    let plan = proxy.sync();
    check(&proxy, &before, &plan)
}

fn assert_same(a: &Acknowledged, b: &Acknowledged) -> Result<(), TestCaseError> {
    prop_assert_eq!(&a.frontends, &b.frontends);
    prop_assert_eq!(&a.shared, &b.shared);
    Ok(())
}

/// The number of element operations on a frontend's slots, if its endpoints were placed like this.
fn cost(before: &[Endpoint], after: &[Endpoint]) -> usize {
    (0..before.len().max(after.len()))
        .map(|slot| match (before.get(slot), after.get(slot)) {
            (Some(old), Some(new)) => {
                if old == new {
                    0
                } else {
                    2
                }
            }
            _ => 1,
        })
        .sum()
}

/// Every order of the endpoints.
fn orders(endpoints: &[Endpoint]) -> Vec<Vec<Endpoint>> {
    match endpoints {
        [] => vec![Vec::new()],
        _ => (0..endpoints.len())
            .flat_map(|first| {
                let mut rest = endpoints.to_vec();
                let head = rest.remove(first);
                orders(&rest).into_iter().map(move |tail| [vec![head], tail].concat())
            })
            .collect(),
    }
}

fn slots(installed: Option<&Installed>, policy: TrafficPolicy) -> Vec<Endpoint> {
    let Some(installed) = installed else { return Vec::new() };
    let Some(affinity) = &installed.affinity else { return installed.endpoints(policy).collect() };
    let list = affinity.list(policy);
    let endpoint = |id| list.endpoints.iter().find(|(of, _)| of == id).map(|(_, endpoint)| *endpoint);
    list.slots.iter().filter_map(|(_, id)| endpoint(id)).collect()
}

proptest! {
    #![proptest_config(cases())]

    /// Law 1: after each sync the kernel holds what was planned, and that is what the naive model expects.
    #[test]
    fn a_plan_is_correct(history in history()) {
        play(history, |proxy, _, plan| {
            let held = proxy.read_back();
            assert_same(&held, &plan.next)?;
            assert_satisfies(&held, &proxy.model)
        })?;
    }

    /// Law 2: there is nothing to do right after a sync, not even after reading the kernel back.
    #[test]
    fn a_plan_is_idempotent(history in history()) {
        play(history, |proxy, _, plan| {
            for held in [plan.next.clone(), plan.next.clone().unverified(), proxy.read_back()] {
                prop_assert!(diff(&held, proxy.desired(), &scope()).is_empty());
            }
            Ok(())
        })?;
    }

    /// Law 3: no order of the endpoints would have cost fewer operations, and nothing is deleted only to be added again.
    #[test]
    fn a_plan_is_minimal(history in history()) {
        play(history, |_, _, plan| {
            for change in &plan.frontends {
                for policy in TrafficPolicy::ALL {
                    let (before, after) = (change.before.as_deref(), change.after.as_deref());
                    // The slots of a frontend with session affinity lie in other sets: none of them stays when the affinity comes or goes.
                    let has_affinity = |installed: Option<&Installed>| installed.is_some_and(|it| it.affinity.is_some());
                    let before = before.filter(|_| has_affinity(before) == has_affinity(after));
                    let (before, after) = (slots(before, policy), slots(after, policy));
                    if after.len() <= 6 {
                        let best = orders(&after).iter().map(|order| cost(&before, order)).min();
                        prop_assert_eq!(Some(cost(&before, &after)), best, "{:?}", change);
                    }
                }
            }
            let elements = |verb: Verb| -> BTreeSet<_> {
                let of_verb = plan.operations.iter().filter(|operation| operation.verb == verb);
                of_verb.filter_map(|operation| match &operation.object {
                    Object::Element(element) => Some(element.clone()),
                    _ => None,
                }).collect()
            };
            let (gone, new) = (elements(Verb::Delete), elements(Verb::Add));
            prop_assert_eq!(gone.intersection(&new).next(), None);
            Ok(())
        })?;
    }

    /// Law 4: knowing which keys changed saves work and changes no operation.
    #[test]
    fn a_plan_does_not_depend_on_which_keys_are_known_to_differ(history in history()) {
        play(history, |proxy, before, plan| {
            let again = diff(&before.clone().unverified(), proxy.desired(), &scope());
            prop_assert_eq!(&again.operations, &plan.operations);
            assert_same(&again.next, &plan.next)
        })?;
    }

    /// Law 5, and replay: the same history gives the same batches.
    #[test]
    fn histories_replay_alike(history in history()) {
        let batches = |history: Vec<common::Move>| -> Result<Vec<Vec<Operation>>, TestCaseError> {
            let mut batches = Vec::new();
            play(history, |_, _, plan| { batches.push(plan.operations.clone()); Ok(()) })?;
            Ok(batches)
        };
        prop_assert_eq!(batches(history.clone())?, batches(history)?);
    }

    /// Folding events one by one gives what compiling the final cluster from scratch gives.
    #[test]
    fn incremental_equals_from_scratch(events in prop::collection::vec(event(), 0..60)) {
        let mut proxy = Proxy::new();
        events.into_iter().for_each(|event| proxy.event(event));
        prop_assert_eq!(proxy.desired(), &Desired::from_cluster(proxy.cluster()));
    }

    /// However many events lie between two syncs, one by one or all at once, the same frontends hold the same endpoints.
    #[test]
    fn coalescing_events_changes_nothing_but_slots(events in prop::collection::vec(event(), 0..30)) {
        let (mut eager, mut lazy) = (Proxy::new(), Proxy::new());
        for event in events {
            eager.event(event.clone());
            lazy.event(event);
            eager.sync();
        }
        lazy.sync();
        assert_satisfies(&eager.read_back(), &lazy.model)?;
        assert_satisfies(&lazy.read_back(), &eager.model)?;
    }

    /// The program does not depend on the number of Services, and a batch touches only what changed.
    #[test]
    fn a_change_of_one_service_touches_only_its_elements(history in history(), change in event()) {
        let mut proxy = Proxy::new();
        for step in history {
            proxy.make(step);
        }
        proxy.sync();
        let before = proxy.cluster().clone();
        let changes = before.clone().apply(change.clone()).changes;
        proxy.event(change);
        let plan = proxy.sync();
        let of_touched = |frontend: &Frontend, cluster: &Cluster| {
            changes.services().into_iter().filter_map(|name| cluster.service(name)).any(|service| {
                let addrs = [&service.cluster_ips[..], &service.external_ips, &service.load_balancer_ips];
                let node_ports = service.ports.iter().filter_map(|port| port.node_port);
                addrs.iter().any(|addrs| addrs.contains(&frontend.addr))
                    || frontend.is_node_port() && node_ports.into_iter().any(|port| port.get() == frontend.port)
            })
        };
        for change in &plan.frontends {
            let known = [&before, proxy.cluster()].iter().any(|cluster| of_touched(&change.frontend, cluster));
            prop_assert!(known, "{:?} of {:?}", change, changes);
        }
        for family in Family::ALL {
            let tables = proxy.kernel.contents(&[family]);
            let table = tables.get(family).expect("table");
            let sets: Vec<SetName> = table.sets.keys().map(|name| name.parse().expect("one of ours")).collect();
            let own = sets.iter().filter(|set| matches!(set, SetName::Clients(_))).count();
            let own_chains = table.chains.keys().filter(|name| ChainName::parse_with_affinity(name).is_some()).count();
            let checked = sets.iter().filter(|set| matches!(set, SetName::Sources(_))).count();
            let checks = table.chains.keys().filter(|name| ChainName::parse_check_sources(name).is_some()).count();
            let classes = sets.iter().filter_map(|set| match set {
                SetName::Slots(list, class) => Some((*list, *class)),
                _ => None,
            });
            let affinity = sets.iter().filter_map(|set| match set {
                SetName::AffinitySlots(list, class) => Some((*list, *class)),
                _ => None,
            });
            let affinity: Vec<_> = affinity.collect();
            let internal = sets.iter().filter_map(|set| match set {
                SetName::Internal(class) => Some(*class),
                _ => None,
            });
            let source_checks = sets.contains(&SetName::SourceChecks);
            let wanted = proxy.model.expected().into_iter();
            let wanted: Vec<_> = wanted.filter(|(frontend, _)| frontend.family() == family).collect();
            let is_checked = |expected: &common::Expected| expected.gates.contains(&SetName::SourceChecks);
            let to_check = wanted.iter().filter(|(_, expected)| is_checked(expected)).count();
            prop_assert_eq!(source_checks, to_check > 0);
            prop_assert_eq!((checked, checks), (to_check, to_check), "a set and a chain for each frontend with ranges");
            let with_affinity = || wanted.iter().filter(|(_, expected)| expected.affinity.is_some());
            prop_assert_eq!(own, with_affinity().count(), "one map for each frontend with affinity");
            prop_assert_eq!(own_chains, 2 * own, "one chain for each step");
            let (internal, classes) = (internal.collect(), classes.collect());
            let parts = ProgramFeatures { internal, classes, affinity, source_checks };
            // 1 to 8, and the powers of two from 16 on.
            let most = 8 + SizeClass::MAX.slots().ilog2() as usize - 3;
            prop_assert!(parts.classes.len() <= 4 * most && parts.internal.len() <= most);
            prop_assert!(parts.affinity.len() <= 4 * most);
            let program = Program::new(family, &scope().options, &parts);
            prop_assert_eq!(table.sets.len() - own - checked, program.sets.len());
            prop_assert_eq!(table.chains.len() - own_chains - checks, program.chains.len());
        }
    }

    /// A change that is committed in slices, while others arrive between them: the kernel takes each slice, and holds what the cluster
    /// asks for after the last. In between every frontend has what it had or what it gets; what frontends need is there before
    /// them, and what restricts their addresses is not.
    #[test]
    fn slices_never_leave_a_frontend_in_between(history in history(), operations in 1..20usize) {
        let mut proxy = Proxy::with_settings(EngineSettings { max_slice: operations, grace: None, ..settings() });
        for step in history.into_iter().chain([common::Move::Sync]) {
            match step {
                // Some slices, so that what follows arrives while others wait.
                common::Move::Sync => {
                    for _ in 0..2 {
                        slice(&mut proxy)?;
                    }
                }
                step => drop(proxy.make(step)),
            }
        }
        while slice(&mut proxy)? {}
        assert_satisfies(&proxy.read_back(), &proxy.model)?;
        assert_same(&proxy.read_back(), &proxy.acknowledged())?;
        prop_assert!(diff(&proxy.read_back(), proxy.desired(), &scope()).is_empty());
    }
}

/// Commits the next slice and checks what the kernel holds then. False if there was none.
fn slice(proxy: &mut Proxy) -> Result<bool, TestCaseError> {
    let (before, desired) = (proxy.read_back(), proxy.desired().clone());
    let Some(plan) = proxy.step() else { return Ok(false) };
    let held = proxy.read_back();
    assert_same(&held, &plan.next)?;
    // All that would have changed at once.
    let whole = diff(&before, &desired, &scope());
    assert_between(&held, &before, &whole)?;
    Ok(true)
}

/// Checks what a kernel holds that has committed a part of a plan.
fn assert_between(held: &Acknowledged, before: &Acknowledged, plan: &Plan) -> Result<(), TestCaseError> {
    let is_new = |change: &FrontendChange| held.frontends.get(&change.frontend) == change.after.as_ref();
    for change in &plan.frontends {
        let is_old = held.frontends.get(&change.frontend) == change.before.as_ref();
        prop_assert!(is_old || is_new(change), "{} is in between", change.frontend);
    }
    let any_new = plan.frontends.iter().any(|change| change.after.is_some() && is_new(change));
    for added in plan.shared.iter().filter(|change| change.added).map(|change| change.element) {
        let is_held = held.shared.contains(&added);
        match (added.set, added.key) {
            (SetName::Hairpin, _) => prop_assert!(is_held || !any_new, "{} is missing", added.key),
            (SetName::ClusterIps, Key::Addr(addr)) => {
                let mut of_addr = plan.frontends.iter().filter(|change| change.frontend.addr == addr);
                let mut balanced = of_addr.clone().filter(|change| change.after.is_some());
                // It comes with the last of its frontends. One that has something already may change later.
                let is_complete = of_addr.clone().all(is_new);
                let has_all = of_addr.all(|change| is_new(change) || change.before.is_some());
                prop_assert!(is_held || !balanced.any(is_new) || !is_complete, "{addr} is not looked up yet");
                prop_assert!(!is_held || has_all, "{addr} is refused too early");
            }
            _ => {}
        }
    }
    // Whatever does not change stays.
    let changes: BTreeSet<Frontend> = plan.frontends.iter().map(|change| change.frontend).collect();
    for (frontend, installed) in before.frontends.iter().filter(|(frontend, _)| !changes.contains(frontend)) {
        prop_assert_eq!(held.frontends.get(frontend), Some(installed));
    }
    Ok(())
}
