use super::*;
use crate::fixtures::frontend;

#[test]
fn single_keys_are_not_noted_while_everything_is_compared() {
    let changed = ChangedFrontend { frontend: frontend("10.96.0.1 80/tcp"), weight: 3, elements: 3 };
    let these = || ChangedKeys::These { frontends: vec![changed], shared: Vec::new(), elements: 3 };
    let mut backlog = Backlog::default();
    backlog.add(these(), &Desired::default());
    assert_eq!((backlog.new.len(), backlog.is_empty()), (1, false));
    backlog.add(ChangedKeys::Everything, &Desired::default());
    backlog.add(these(), &Desired::default());
    assert_eq!((backlog.new.len(), backlog.is_empty()), (0, false), "they would only take memory");
}

#[test]
fn what_waits_concerns_its_families() {
    let mut backlog = Backlog::default();
    assert!(backlog.is_empty() && !backlog.concerns(Family::Ip));
    backlog.add_frontends([frontend("fd00::1 80/tcp")]);
    assert!(!backlog.is_empty() && backlog.concerns(Family::Ip6) && !backlog.concerns(Family::Ip));
    let element = SharedElement::from(SharedDemand::NodePortAddress("192.0.2.1".parse().unwrap()));
    let mut backlog = Backlog::default();
    backlog.add_shared([element]);
    assert!(!backlog.is_empty() && backlog.concerns(Family::Ip) && !backlog.concerns(Family::Ip6));
    backlog.compare_everything();
    assert!(Family::ALL.into_iter().all(|family| backlog.concerns(family)));
}
