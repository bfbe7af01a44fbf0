//! Plans that are not acknowledged.

use super::*;
use crate::dataplane::Family;

#[test]
fn nothing_is_assumed_after_a_failure() {
    let mut world = programmed();
    world.apply(small_slice(1, 2));
    let Next::Commit(plan) = world.engine.next(Moment::default()) else { panic!("a change") };
    // It was applied, and the answer was lost.
    assert_eq!(world.kernel.apply(&plan.operations), Ok(()));
    let failure = Failure { kind: FailureKind::Unanswered, message: "no answer".to_owned() };
    let failed = world.engine.failed(*plan, &failure, Moment::default());
    assert_eq!((failed.failures, failed.up_to_date), (1, vec![Family::Ip6]));
    assert!(matches!(world.engine.clone().next(Moment::default()), Next::Read), "at once, the first time");
    assert_eq!(world.sync(), [""; 0]);
}

#[test]
fn a_family_for_which_anything_waits_is_not_up_to_date_when_a_plan_of_the_other_one_fails() {
    // Of changes of one weight those of IPv4 come first.
    let of_six: [Option<Event>; 3] = [
        None,
        Some(slice("shop/six-1").ip6().ready(&["fd00:1::1"]).into()),
        Some(Event::ServiceCidrApplied(service_cidr("kubernetes", &["fd00:96::/112"]))),
    ];
    for event in of_six {
        let mut world = World::sliced(20);
        world.apply(service("shop/six").ips(&["fd00:96::6"]));
        (1..=20).for_each(|n| drop(world.apply(small(n))));
        world.apply(slice("shop/six-1").ip6().ready(&["fd00:1::9"]));
        (1..=20).for_each(|n| drop(world.apply(small_slice(n, 9))));
        world.sync();
        (1..=20).for_each(|n| drop(world.apply(small_slice(n, 1))));
        let waits = event.is_some();
        event.into_iter().for_each(|event| drop(world.apply(event)));
        let Next::Commit(plan) = world.engine.next(Moment::default()) else { panic!("a change") };
        assert!(plan.operations.iter().all(|operation| operation.family == Family::Ip));
        let failure = Failure { kind: FailureKind::Unanswered, message: "no answer".to_owned() };
        let failed = world.engine.failed(*plan, &failure, Moment::default());
        assert_eq!(failed.up_to_date, if waits { vec![] } else { vec![Family::Ip6] });
    }
}
