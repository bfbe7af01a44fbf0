use super::*;
use crate::engine::Moment;
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
fn frontends_in_quarantine_leave_no_empty_group_in_what_is_divided() {
    let [refused, other] = ["10.96.0.1 80/tcp", "10.96.0.2 80/tcp"].map(frontend);
    let mut backlog = Backlog::default();
    backlog.add_frontends([refused, other]);
    let (held, desired, scope) = (Acknowledged::empty(), Desired::default(), crate::fixtures::scope());
    let mut quarantine = Quarantine::default();
    quarantine.add([(refused, "no".to_owned())].into(), &desired, Moment::default());
    let with = Comparison { held: &held, desired: &desired, scope: &scope, quarantine: &quarantine };
    assert_eq!(backlog.select(with, usize::MAX, true).groups(), [[other]]);
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
