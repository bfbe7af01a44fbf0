//! The search for refused frontends, and their quarantine.

use super::*;
use crate::dataplane::Family;
use crate::diff::Plan;
use crate::state::TrafficPolicy;

/// A driven engine: what happened, and when.
struct Driven {
    world: World,
    now: Moment,
    /// How often a plan was refused and that was no step of a search.
    failures: usize,
    reads: usize,
    /// What went into quarantine.
    quarantined: Vec<String>,
    up_to_date: Vec<Family>,
}

impl Driven {
    /// So many small Services are to be programmed.
    fn new(services: u8) -> Self {
        let mut world = World::sliced(usize::MAX);
        for n in 1..=services {
            world.apply(small(n));
            world.apply(small_slice(n, 1));
        }
        Self { world, now: at(0), failures: 0, reads: 0, quarantined: Vec::new(), up_to_date: Vec::new() }
    }

    /// Runs until nothing is due before this second. The kernel refuses some plans; `between` is called after each commit.
    fn run(&mut self, until: u64, refuses: impl Fn(&Plan) -> bool, mut between: impl FnMut(&mut World)) {
        loop {
            match self.world.engine.next(self.now) {
                Next::Wait(Some(moment)) if moment <= at(until) => self.now = moment,
                Next::Wait(_) => {
                    self.now = at(until);
                    return;
                }
                Next::Read => {
                    self.reads += 1;
                    let held = Acknowledged::from(self.world.kernel.contents(&Family::ALL));
                    self.world.engine.read_back(held, self.now);
                }
                Next::Commit(plan) => {
                    let missing = self.world.kernel.clone().apply(&plan.operations).is_err();
                    if refuses(&plan) || missing {
                        let kind = if missing { FailureKind::Missing } else { FailureKind::Refused };
                        let failure = Failure { kind, message: "no".to_owned() };
                        let failed = self.world.engine.failed(*plan, &failure, self.now);
                        self.failures += usize::from(!failed.is_search);
                        self.up_to_date.extend(failed.up_to_date);
                    } else {
                        assert_eq!(self.world.kernel.apply(&plan.operations), Ok(()));
                        let committed = self.world.engine.committed(*plan, self.now, self.now);
                        self.quarantined.extend(committed.refused.iter().map(|it| it.problem.field.clone()));
                    }
                    between(&mut self.world);
                }
            }
        }
    }

    /// The addresses that the kernel has frontends of.
    fn addresses(&self) -> std::collections::BTreeSet<std::net::IpAddr> {
        let held = Acknowledged::from(self.world.kernel.contents(&Family::ALL));
        held.frontends.keys().map(|frontend| frontend.addr).collect()
    }
}

fn at(seconds: u64) -> Moment {
    Moment::from_start(Duration::from_secs(seconds))
}

/// Whether a plan writes elements of a frontend of this address.
fn touches(plan: &Plan, addr: &str) -> bool {
    let addr = crate::fixtures::ip(addr);
    plan.operations.iter().any(|operation| match &operation.object {
        Object::Element(element) => match element.key {
            Key::Frontend(frontend) | Key::Slot(frontend, _) => frontend.addr == addr,
            _ => false,
        },
        _ => false,
    })
}

#[test]
fn a_refused_frontend_stays_in_quarantine_without_failures_while_nothing_else_changes() {
    let mut driven = Driven::new(50);
    driven.run(300, |plan| touches(plan, "10.96.0.7"), |_| {});
    assert_eq!((driven.addresses().len(), driven.failures, driven.reads), (49, 2, 3));
    assert_eq!(driven.quarantined, ["10.96.0.7:80/tcp"], "it is told once");
    driven.run(340, |_| false, |_| {});
    assert_eq!(driven.addresses().len(), 50, "it is tried again");
}

#[test]
fn another_version_of_a_refused_frontend_is_tried_at_once_and_alone() {
    let mut driven = Driven::new(50);
    driven.run(5, |plan| touches(plan, "10.96.0.7"), |_| {});
    let failures = driven.failures;
    driven.world.apply(small_slice(7, 9));
    driven.run(20, |plan| touches(plan, "10.96.0.7"), |_| {});
    assert_eq!((driven.failures, driven.addresses().len()), (failures, 49));
    driven.world.apply(small_slice(7, 10));
    driven.run(21, |_| false, |_| {});
    assert_eq!(driven.addresses().len(), 50);
}

#[test]
fn a_frontend_whose_newer_version_is_accepted_during_the_search_is_not_put_into_quarantine() {
    let mut driven = Driven::new(50);
    let bad = crate::fixtures::ip("10.1.7.1");
    let refuses = |plan: &Plan| {
        let is_bad = |operation: &Operation| match &operation.object {
            Object::Element(element) => {
                element.value.and_then(crate::dataplane::Value::endpoint).is_some_and(|endpoint| endpoint.addr == bad)
            }
            _ => false,
        };
        plan.operations.iter().any(is_bad)
    };
    let mut changed = false;
    driven.run(300, refuses, |world| {
        let web = frontend("10.96.0.7 80/tcp");
        let refused = world.engine.bisect.as_ref().is_some_and(|bisect| bisect.has_refused(&web));
        if refused && !std::mem::replace(&mut changed, true) {
            world.apply(small_slice(7, 2));
        }
    });
    assert!(changed && driven.quarantined.is_empty(), "{:?}", driven.quarantined);
    let held = driven.world.acknowledged();
    let endpoints: Vec<_> = held.frontends[&frontend("10.96.0.7 80/tcp")].endpoints(TrafficPolicy::Cluster).collect();
    assert_eq!(endpoints[0].addr, crate::fixtures::ip("10.1.7.2"));
}

#[test]
fn a_refused_service_of_many_ports_does_not_keep_larger_ones_from_being_programmed() {
    let mut driven = Driven::new(50);
    driven.run(1, |_| false, |_| {});
    driven.world.apply(huge(17));
    driven.world.apply(huge_slice(17, 1, 0));
    for n in 1..=5 {
        driven.world.apply(service(&format!("shop/large{n}")).ips(&[&format!("10.96.8.{n}")]));
        let addrs: Vec<String> = (1..=60).map(|endpoint| format!("10.50.{n}.{endpoint}")).collect();
        let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
        driven.world.apply(slice(&format!("shop/large{n}-1")).ready(&addrs));
    }
    driven.run(60, |plan| touches(plan, "10.96.9.9"), |_| {});
    assert_eq!(driven.addresses().len(), 55);
}

#[test]
fn what_is_refused_altogether_is_a_failure_and_no_reason_for_quarantine() {
    let mut driven = Driven::new(30);
    driven.run(20, |plan| !plan.frontends.is_empty(), |_| {});
    assert!(driven.failures > 4 && driven.quarantined.is_empty(), "{} {:?}", driven.failures, driven.quarantined);
}

/// Ten small Services, and `bad` others of which the kernel refuses every frontend. Returns how often a plan failed that was no step of a
/// search, and how many frontends went into quarantine. `first`: the small ones are programmed before.
fn refuse_many(bad: u32, first: bool) -> (usize, usize) {
    let mut driven = Driven::new(10);
    if first {
        driven.run(0, |_| false, |_| {});
    }
    let addr = |n: u32| format!("10.97.{}.{}", n / 250, 1 + n % 250);
    for n in 0..bad {
        driven.world.apply(service(&format!("shop/bad{n}")).ips(&[&addr(n)]));
        driven.world.apply(slice(&format!("shop/bad{n}-1")).ready(&["10.1.0.1"]));
    }
    let is_bad = |frontend: &Frontend| matches!(frontend.addr, std::net::IpAddr::V4(addr) if addr.octets()[1] == 97);
    driven.run(1, |plan| plan.frontends.iter().any(|change| is_bad(&change.frontend)), |_| {});
    (driven.failures, driven.quarantined.len())
}

#[test]
fn a_search_finds_so_many_refused_frontends_and_is_given_up_beyond_that() {
    assert_eq!(refuse_many(256, false), (2, 256));
    let (failures, quarantined) = refuse_many(257, false);
    assert!(failures > 2 && quarantined == 0, "{failures} failures, {quarantined} in quarantine");
}

#[test]
fn a_search_in_which_nothing_is_accepted_is_given_up_sooner() {
    assert_eq!(refuse_many(16, true), (2, 16));
    let (failures, quarantined) = refuse_many(17, true);
    assert!(failures > 2 && quarantined == 0, "{failures} failures, {quarantined} in quarantine");
}

#[test]
fn a_family_is_not_up_to_date_while_its_frontends_wait_in_a_search() {
    let mut driven = Driven::new(30);
    let six = |world: &mut World, round: u8| {
        for n in 1..=10 {
            world.apply(service(&format!("shop/six{n}")).ips(&[&format!("fd00:96::{n}")]));
            world.apply(slice(&format!("shop/six{n}-1")).ip6().ready(&[&format!("fd00:1::{round}:{n}")]));
        }
    };
    six(&mut driven.world, 1);
    driven.run(1, |_| false, |_| {});
    (1..=30).for_each(|n| drop(driven.world.apply(small_slice(n, 2))));
    six(&mut driven.world, 2);
    driven.run(10, |plan| !plan.frontends.is_empty(), |_| {});
    assert_eq!(driven.up_to_date, []);
}

#[test]
fn tables_that_vanish_during_a_search_are_a_failure_and_programmed_again() {
    let mut driven = Driven::new(50);
    driven.run(1, |_| false, |_| {});
    (1..=12).for_each(|n| drop(driven.world.apply(small_slice(n, 3))));
    let mut gone = false;
    driven.run(
        20,
        |plan| touches(plan, "10.96.0.7"),
        |world| {
            let searches = world.engine.bisect.as_ref().is_some_and(|bisect| !bisect.is_done());
            if searches && !std::mem::replace(&mut gone, true) {
                Family::ALL.into_iter().for_each(|family| world.kernel.remove_table(family));
            }
        },
    );
    assert!(gone);
    assert_eq!(driven.addresses().len(), 49);
    assert_eq!(driven.quarantined, ["10.96.0.7:80/tcp"]);
}

#[test]
fn a_table_that_has_to_be_rebuilt_keeps_its_content_while_that_is_refused() {
    let mut driven = Driven::new(50);
    driven.world.apply(small(1).affinity(10));
    driven.run(1, |_| false, |_| {});
    let mut tables = driven.world.kernel.contents(&Family::ALL);
    let mut table = tables.get(Family::Ip).cloned().unwrap();
    table.sets.get_mut("hairpin").unwrap().recognised = false;
    tables.set(Family::Ip, Some(table));
    driven.world.engine.read_back(Acknowledged::from(tables), at(1));
    let mut least = usize::MAX;
    driven.run(
        10,
        |plan| !plan.frontends.is_empty(),
        |world| {
            let held = Acknowledged::from(world.kernel.contents(&Family::ALL));
            least = least.min(held.frontends.len());
        },
    );
    assert_eq!(least, 50);
}

#[test]
fn frontends_of_a_search_come_after_what_they_need() {
    let mut driven = Driven::new(50);
    let refuses = |plan: &Plan| touches(plan, "10.96.0.7") || touches(plan, "10.96.0.107");
    let mut added = false;
    driven.run(29, refuses, |world| {
        let searches = world.engine.bisect.as_ref().is_some_and(|bisect| !bisect.is_done());
        if searches && !std::mem::replace(&mut added, true) {
            for n in 101..=110 {
                world.apply(small(n));
                world.apply(slice(&format!("shop/small{n}-1")).endpoints(&format!("10.1.{n}.1 L r")));
            }
        }
        let held = Acknowledged::from(world.kernel.contents(&Family::ALL));
        for frontend in held.frontends.keys() {
            let address = crate::diff::SharedElement::from(crate::state::SharedDemand::ClusterIp(frontend.addr));
            assert!(held.shared.contains(&address), "{frontend} came without its ClusterIP");
        }
        for n in 101..=110 {
            let is_there = held.frontends.contains_key(&frontend(&format!("10.96.0.{n} 80/tcp")));
            let addr = crate::fixtures::ip(&format!("10.1.{n}.1"));
            let mut hairpin = held.shared.iter().filter(|it| matches!(it.key, Key::Hairpin(to, _) if to.addr == addr));
            assert!(!is_there || hairpin.next().is_some(), "10.96.0.{n} cannot reach itself");
        }
    });
    assert!(added);
    assert_eq!(driven.addresses().len(), 58);
}
