use std::collections::BTreeMap;

use super::*;
use crate::dataplane::{Element, Key, SetName, TableOutline};
use crate::diff::{Plan, SharedElement};
use crate::fixtures::{World, ip, service, slice};

/// How long each look and each comparison takes.
const TOOK: Duration = Duration::from_millis(1);

/// The ClusterIP of the Service.
fn cluster_ip() -> SharedElement {
    SharedElement { set: SetName::ClusterIps, key: Key::Addr(ip("10.96.0.1")) }
}

/// A watch over the tables of a small cluster in a kernel in memory.
struct Watched {
    world: World,
    watch: DriftWatch,
    now: Moment,
    handle: u64,
    /// Changes wait to be committed.
    is_busy: bool,
}

impl Watched {
    fn new(reaction: Reaction) -> Self {
        let mut world = World::with([
            service("shop/web").ips(&["10.96.0.1"]).into(),
            slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2"]).into(),
        ]);
        world.sync();
        let mut watched =
            Self { world, watch: DriftWatch::new(reaction), now: Moment::default(), handle: 7, is_busy: false };
        watched.watch.synced(watched.now);
        assert_eq!(watched.step(), DriftStep::Look, "once, to know what is there");
        assert_eq!(watched.look(), None);
        watched
    }

    fn step(&mut self) -> DriftStep {
        self.watch.next(Some(&self.world.acknowledged()), self.is_busy, self.now)
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
    }

    fn hear(&mut self, program: &str) {
        let writer = Writer { program: program.to_owned(), pid: 8_812 };
        self.watch.heard(ForeignCommit { generation: 3, writer }, self.now);
    }

    /// An outline of the kernel as it is.
    fn outline(&self) -> (Outline, ElementCounts) {
        let (mut outline, tables) = (Outline::default(), self.world.kernel.contents(&Family::ALL));
        for family in Family::ALL {
            let Some(table) = tables.get(family) else { continue };
            let mut counts = BTreeMap::<SetName, usize>::new();
            let mut contents = table.clone();
            let is_listed = |set: SetName| set.definition().interval;
            contents.elements.retain(|element| is_listed(element.set));
            let others = table.elements.iter().filter(|element| !is_listed(element.set));
            others.for_each(|element| *counts.entry(element.set).or_default() += 1);
            outline
                .set(family, Some(TableOutline { handle: self.handle, contents, counts, ..TableOutline::default() }));
        }
        let mut counts = ElementCounts::default();
        counts.restart(&self.world.acknowledged().count_elements());
        (outline, counts)
    }

    fn look(&mut self) -> Option<DriftNews> {
        let (outline, counts) = self.outline();
        let held = self.world.acknowledged().clone();
        self.watch.looked(&outline, (&held, &counts, &Family::ALL), TOOK, self.now)
    }

    /// What a comparison finds where another program has deleted a Service's ClusterIP.
    fn differing(&self) -> Differing {
        let mut read = self.world.acknowledged();
        assert!(read.shared.remove(&cluster_ip()).is_some());
        self.world.acknowledged().differing(&read, &Family::ALL)
    }

    /// The engine has read the tables, and this differed.
    fn read_again(&mut self, deviations: Vec<Deviation>) -> Option<DriftNews> {
        assert!(self.watch.expected().is_some());
        let news = self.watch.read_again(Some(deviations), self.now);
        assert!(self.watch.expected().is_none(), "it is compared once");
        news
    }

    /// The engine commits this many operations, and has no more.
    fn settle(&mut self, operations: usize) -> Option<DriftNews> {
        let operation = crate::dataplane::Operation::add(Family::Ip, crate::dataplane::Object::Table);
        let plan = Plan { operations: vec![operation; operations], ..Plan::default() };
        self.watch.committed(&plan, (true, false), self.now)
    }

    /// The same, and what is not asked for waits to be deleted.
    fn settle_later(&mut self) -> Option<DriftNews> {
        self.watch.committed(&Plan::default(), (true, true), self.now)
    }

    /// A commit of this many operations which deletes what waited.
    fn tidy(&mut self, operations: usize, has_leftovers: bool) -> Option<DriftNews> {
        let operation = crate::dataplane::Operation::add(Family::Ip, crate::dataplane::Object::Table);
        let plan = Plan { operations: vec![operation; operations], ..Plan::default() };
        self.watch.committed(&plan, (false, has_leftovers), self.now)
    }
}

#[test]
fn a_commit_of_another_program_is_looked_at_and_then_everything_is_compared_once() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.pass(100);
    watched.hear("calico-felix");
    assert_eq!((watched.step(), watched.look()), (DriftStep::Look, None));
    assert_eq!(watched.step(), DriftStep::Compare);
    assert_eq!(
        watched.watch.compared(Some(Differing::default()), Some(&watched.world.acknowledged()), TOOK, watched.now),
        None
    );
    assert_eq!(watched.step(), DriftStep::Wait(Some(watched.now + QUIET_COMPARE_PAUSE)));
}

#[test]
fn looks_and_comparisons_take_their_share_of_the_time_however_much_is_heard() {
    let mut watched = Watched::new(Reaction::Repair);
    let (mut looks, mut comparisons) = (0, 0);
    for _ in 0..10_000 {
        watched.pass(1);
        watched.hear("calico-felix");
        loop {
            match watched.step() {
                DriftStep::Look => {
                    looks += 1;
                    assert_eq!(watched.look(), None);
                }
                DriftStep::Compare => {
                    comparisons += 1;
                    assert_eq!(
                        watched.watch.compared(
                            Some(Differing::default()),
                            Some(&watched.world.acknowledged()),
                            Duration::from_millis(5),
                            watched.now
                        ),
                        None
                    );
                }
                _ => break,
            }
        }
    }
    // Within 10 seconds: 1 ms in 50, and 5 ms in 2,000.
    assert!((190..=201).contains(&looks), "{looks}");
    assert!((4..=6).contains(&comparisons), "{comparisons}");
}

#[test]
fn a_missing_table_is_told_with_its_writer_repaired_at_once_and_its_end_is_told() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.pass(100);
    watched.hear("nft");
    watched.world.kernel.remove_table(Family::Ip);
    assert_eq!(watched.step(), DriftStep::Look);
    watched.pass(2);
    let Some(DriftNews::Found { report, pause, .. }) = watched.look() else { panic!("nothing found") };
    assert_eq!(report.writers(), "\"nft\" (pid 8812)");
    assert_eq!(report.deviations(), "table ip pointsman is missing");
    assert_eq!((pause, watched.watch.drift()), (Some(Duration::ZERO), Some(&report)));
    assert_eq!(watched.step(), DriftStep::Repair);
    assert_eq!(watched.step(), DriftStep::Wait(None), "the engine is about it");
    watched.pass(50);
    let news = watched.settle(12);
    let Some(DriftNews::Repaired { lasted, operations: 12, .. }) = news else { panic!("{news:?}") };
    assert_eq!((lasted.as_millis(), watched.watch.drift()), (52, None));
}

#[test]
fn a_table_of_another_number_was_deleted_and_made_again() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.handle = 8;
    watched.hear("nft");
    let Some(DriftNews::Found { report, .. }) = watched.look() else { panic!("nothing found") };
    assert_eq!(report.deviations, [Family::Ip6, Family::Ip].map(Deviation::TableReplaced));
}

#[test]
fn what_a_comparison_finds_is_told_only_when_the_reading_confirms_it() {
    let mut watched = Watched::new(Reaction::Repair);
    for is_confirmed in [false, true] {
        watched.pass(60_000);
        watched.hear("nft");
        watched.look();
        assert_eq!(watched.step(), DriftStep::Compare);
        let differing = watched.differing();
        assert_eq!(
            watched.watch.compared(Some(differing), Some(&watched.world.acknowledged()), TOOK, watched.now),
            None
        );
        assert_eq!((watched.step(), watched.watch.drift()), (DriftStep::Repair, None));
        let read = if is_confirmed { vec![Deviation::Shared(1, cluster_ip())] } else { Vec::new() };
        let told = watched.read_again(read.clone());
        // In both cases something of the cluster's has changed meanwhile.
        let settled = watched.settle(4);
        match (is_confirmed, told, settled) {
            (false, None, None) => assert_eq!(watched.watch.verified().1, Some(watched.now)),
            (true, Some(DriftNews::Found { report, .. }), Some(DriftNews::Repaired { operations: 4, .. })) => {
                assert_eq!((report.program(), &report.deviations), ("nft", &read));
            }
            (_, told, settled) => panic!("{told:?}, {settled:?}"),
        }
    }
}

#[test]
fn what_was_committed_while_the_tables_were_compared_is_no_drift() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.hear("nft");
    watched.look();
    assert_eq!(watched.step(), DriftStep::Compare);
    let differing = watched.differing();
    // The Service goes and comes again.
    let element = Element::from(cluster_ip());
    for operation in [Operation::delete_element(element.clone()), Operation::add_element(element)] {
        let plan = Plan { operations: vec![operation], ..Plan::default() };
        watched.watch.committed(&plan, (true, false), watched.now);
    }
    assert_eq!(
        watched.watch.compared(Some(differing.clone()), Some(&watched.world.acknowledged()), TOOK, watched.now),
        None
    );
    assert!(!matches!(watched.step(), DriftStep::Repair));
    watched.pass(120_000);
    watched.hear("nft");
    watched.look();
    assert_eq!(watched.step(), DriftStep::Compare);
    assert_eq!(watched.watch.compared(Some(differing), Some(&watched.world.acknowledged()), TOOK, watched.now), None);
    assert_eq!(watched.step(), DriftStep::Repair, "nothing was committed during this one");
}

#[test]
fn a_comparison_waits_for_changes_that_wait_to_be_committed_but_not_for_ever() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.hear("nft");
    watched.look();
    watched.is_busy = true;
    assert_eq!(watched.step(), DriftStep::Wait(Some(watched.now + MAX_COMPARE_DELAY)));
    watched.pass(10);
    watched.is_busy = false;
    assert_eq!(watched.step(), DriftStep::Compare);
    let held = watched.world.acknowledged();
    assert_eq!(watched.watch.compared(Some(Differing::default()), Some(&held), TOOK, watched.now), None);
    watched.is_busy = true;
    watched.now = watched.now + QUIET_COMPARE_PAUSE;
    assert_eq!(watched.step(), DriftStep::Wait(Some(watched.now + MAX_COMPARE_DELAY)));
    watched.now = watched.now + MAX_COMPARE_DELAY;
    assert_eq!(watched.step(), DriftStep::Compare);
}

#[test]
fn a_comparison_makes_way_for_large_changes_but_not_for_ever() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.hear("nft");
    watched.look();
    let due = watched.now;
    assert!(!watched.watch.makes_way(watched.now), "none is running");
    assert_eq!(watched.step(), DriftStep::Compare);
    watched.pass(5);
    assert!(watched.watch.makes_way(watched.now));
    assert!(!watched.watch.makes_way(watched.now), "it was broken off");
    watched.is_busy = true;
    assert_eq!(watched.step(), DriftStep::Wait(Some(due + MAX_COMPARE_DELAY)));
    watched.is_busy = false;
    assert_eq!(watched.step(), DriftStep::Compare, "as soon as nothing waits");
    assert!(watched.watch.makes_way(watched.now));
    watched.is_busy = true;
    watched.now = due + MAX_COMPARE_DELAY;
    assert_eq!(watched.step(), DriftStep::Compare);
    assert!(!watched.watch.makes_way(watched.now), "it has waited long enough");
    // What was heard before it is not forgotten.
    let differing = watched.differing();
    let held = watched.world.acknowledged();
    assert_eq!(watched.watch.compared(Some(differing), Some(&held), TOOK, watched.now), None);
    assert_eq!(watched.step(), DriftStep::Repair);
    let deviation = Deviation::Shared(1, cluster_ip());
    let told = watched.read_again(vec![deviation]);
    let Some(DriftNews::Found { report, .. }) = told else { panic!("{told:?}") };
    assert_eq!(report.program(), "nft");
}

#[test]
fn a_comparison_during_which_a_commit_failed_or_the_engine_read_the_tables_finds_nothing_and_is_made_again() {
    for has_read in [false, true] {
        let mut watched = Watched::new(Reaction::Repair);
        watched.hear("nft");
        watched.look();
        assert_eq!(watched.step(), DriftStep::Compare);
        let differing = watched.differing();
        if has_read {
            assert_eq!(watched.watch.read_again(None, watched.now), None);
        } else {
            watched.watch.failed(Some((watched.world.acknowledged(), &[])), watched.now);
        }
        assert_eq!(
            watched.watch.compared(Some(differing), Some(&watched.world.acknowledged()), TOOK, watched.now),
            None
        );
        assert!(!matches!(watched.step(), DriftStep::Repair));
        watched.pass(1_000);
        if has_read {
            assert_eq!((watched.step(), watched.look()), (DriftStep::Look, None), "of tables that may be others");
        }
        assert_eq!(watched.step(), DriftStep::Compare);
    }
}

#[test]
fn a_failed_commit_after_a_foreign_one_is_attributed_to_it_if_more_differs_than_the_commit_wrote() {
    let mut watched = Watched::new(Reaction::Repair);
    let found = || vec![Deviation::Shared(1, cluster_ip())];
    let fail = |watched: &mut Watched| {
        let operations = [Operation::add_element(Element::from(cluster_ip()))];
        watched.watch.failed(Some((watched.world.acknowledged(), &operations)), watched.now);
        let expected = watched.watch.expected().expect("what was tried");
        assert!(expected.written.has_shared(&cluster_ip()));
    };
    fail(&mut watched);
    assert_eq!(
        (watched.read_again(found()), watched.settle(3)),
        (None, None),
        "nothing was heard: the failure is the kernel's"
    );
    watched.hear("nft");
    fail(&mut watched);
    assert_eq!((watched.read_again(Vec::new()), watched.settle(3)), (None, None), "only what the commit wrote");
    watched.hear("nft");
    fail(&mut watched);
    assert!(matches!(watched.read_again(found()), Some(DriftNews::Found { .. })));
    assert!(matches!(watched.settle(3), Some(DriftNews::Repaired { .. })));
}

#[test]
fn an_observer_never_repairs_and_tells_the_end() {
    let mut watched = Watched::new(Reaction::Observe);
    watched.hear("nft");
    let kept = watched.world.kernel.clone();
    watched.world.kernel.remove_table(Family::Ip);
    assert!(matches!(watched.look(), Some(DriftNews::Found { pause: None, .. })));
    watched.pass(1_000);
    assert!(!matches!(watched.step(), DriftStep::Repair));
    assert!(watched.watch.drift().is_some());
    watched.world.kernel = kept;
    watched.hear("nft");
    assert!(matches!(watched.look(), Some(DriftNews::Repaired { operations: 0, .. })));
    assert!(watched.watch.drift().is_none());
}

#[test]
fn repairs_that_are_undone_are_slowed_down() {
    let mut watched = Watched::new(Reaction::Repair);
    let kept = watched.world.kernel.clone();
    let mut repairs = 0;
    for _ in 0..10_000 {
        watched.pass(1);
        watched.hear("nft");
        watched.world.kernel.remove_table(Family::Ip);
        loop {
            match watched.step() {
                DriftStep::Look => drop(watched.look()),
                DriftStep::Compare => drop(watched.watch.compared(None, None, TOOK, watched.now)),
                DriftStep::Repair => {
                    repairs += 1;
                    watched.world.kernel = kept.clone();
                    watched.settle(5);
                }
                DriftStep::Wait(_) => break,
            }
        }
    }
    assert!(
        (10..=12).contains(&repairs),
        "{repairs} within 10 s: two at once, then one in a second, which costs a millisecond"
    );
}

#[test]
fn messages_that_were_lost_are_a_cause_to_look_and_to_compare() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.pass(1_000);
    watched.watch.lost(watched.now);
    assert_eq!((watched.step(), watched.look()), (DriftStep::Look, None));
    assert_eq!(watched.step(), DriftStep::Compare);
}

#[test]
fn a_repair_is_over_when_what_is_not_asked_for_is_deleted() {
    let mut watched = Watched::new(Reaction::Repair);
    for confirmed_by_look in [true, false] {
        watched.pass(120_000);
        watched.hear("nft");
        if confirmed_by_look {
            let kept = watched.world.kernel.clone();
            watched.world.kernel.remove_table(Family::Ip);
            assert!(watched.look().is_some());
            watched.world.kernel = kept;
        } else {
            watched.look();
            watched.step();
            let differing = watched.differing();
            assert_eq!(
                watched.watch.compared(Some(differing), Some(&watched.world.acknowledged()), TOOK, watched.now),
                None
            );
        }
        assert_eq!(watched.step(), DriftStep::Repair);
        let told = watched.read_again(vec![Deviation::Shared(1, cluster_ip())]);
        assert_eq!(told.is_some(), !confirmed_by_look, "{told:?}");
        assert_eq!(watched.settle_later(), None, "not repaired yet");
        assert!(watched.watch.drift().is_some());
        watched.pass(50);
        let news = watched.tidy(1, false);
        assert!(matches!(news, Some(DriftNews::Repaired { operations: 1, .. })), "{news:?}");
    }
}

#[test]
fn under_changes_that_always_leave_something_a_repair_is_over_after_a_second() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.hear("nft");
    let kept = watched.world.kernel.clone();
    watched.world.kernel.remove_table(Family::Ip);
    watched.look();
    watched.world.kernel = kept;
    assert_eq!(watched.step(), DriftStep::Repair);
    assert!(watched.settle_later().is_none());
    watched.pass(999);
    assert!(watched.tidy(1, true).is_none());
    assert!(matches!(watched.step(), DriftStep::Wait(Some(_))));
    watched.pass(1);
    assert!(matches!(watched.watch.tidied(true, watched.now), Some(DriftNews::Repaired { .. })));
}

#[test]
fn a_comparison_that_is_due_while_a_look_has_to_wait_wakes_the_loop_no_earlier_than_the_look() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.pass(3_600_000);
    watched.hear("nft");
    assert_eq!(watched.step(), DriftStep::Look);
    assert_eq!(watched.look(), None);
    watched.hear("nft");
    let DriftStep::Wait(Some(at)) = watched.step() else { panic!("a pause between two looks") };
    assert!(at > watched.now, "the loop would wake again and again");
}

#[test]
fn a_look_or_a_comparison_during_which_the_machine_stood_still_delays_the_next_one_by_minutes_at_most() {
    let mut watched = Watched::new(Reaction::Repair);
    let standstill = Duration::from_secs(3_600);
    watched.hear("nft");
    let (outline, counts) = watched.outline();
    let held = watched.world.acknowledged().clone();
    let looked = watched.watch.looked(&outline, (&held, &counts, &Family::ALL), standstill, watched.now);
    assert_eq!(looked, None);
    watched.hear("nft");
    watched.pass(60_000);
    assert_eq!(watched.step(), DriftStep::Look);
    assert_eq!(watched.look(), None);
    assert_eq!(watched.step(), DriftStep::Compare);
    assert_eq!(
        watched.watch.compared(
            Some(Differing::default()),
            Some(&watched.world.acknowledged()),
            standstill,
            watched.now
        ),
        None
    );
    watched.pass(600_000);
    assert_eq!(watched.step(), DriftStep::Compare);
}

#[test]
fn a_comparison_that_began_before_a_look_found_something_does_not_end_that() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.hear("calico-felix");
    watched.pass(100);
    watched.look();
    assert_eq!(watched.step(), DriftStep::Compare);
    watched.pass(100);
    watched.hear("nft");
    watched.world.kernel.remove_table(Family::Ip);
    assert!(matches!(watched.look(), Some(DriftNews::Found { .. })));
    assert_eq!(
        watched.watch.compared(Some(Differing::default()), Some(&watched.world.acknowledged()), TOOK, watched.now),
        None
    );
    assert!(watched.watch.drift().is_some());
    assert_eq!(watched.step(), DriftStep::Repair);
}

#[test]
fn a_comparison_that_says_nothing_is_repeated_soon_if_something_was_heard() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.hear("nft");
    watched.pass(100);
    watched.look();
    assert_eq!(watched.step(), DriftStep::Compare);
    assert_eq!(watched.watch.compared(None, None, TOOK, watched.now), None);
    assert_eq!(watched.step(), DriftStep::Wait(Some(watched.now + MIN_COMPARE_PAUSE)));
}

#[test]
fn soon_after_the_start_everything_is_compared_because_nothing_was_heard_before() {
    let mut watched = Watched::new(Reaction::Repair);
    assert_eq!(watched.step(), DriftStep::Wait(Some(watched.now + FIRST_COMPARE_PAUSE)));
    watched.now = watched.now + FIRST_COMPARE_PAUSE;
    assert_eq!(watched.step(), DriftStep::Compare);
    watched.watch.compared(Some(Differing::default()), Some(&watched.world.acknowledged()), TOOK, watched.now);
    assert_eq!(watched.step(), DriftStep::Wait(Some(watched.now + QUIET_COMPARE_PAUSE)));
}

#[test]
fn a_table_that_a_repair_has_read_is_the_known_one() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.pass(100);
    watched.hear("nft");
    watched.world.kernel.remove_table(Family::Ip);
    assert!(watched.look().is_some());
    assert_eq!(watched.step(), DriftStep::Repair);
    // Meanwhile another program restores both tables, and the reading finds nothing wrong with them.
    watched.handle = 8;
    watched.hear("nft");
    watched.world.restart();
    watched.world.sync();
    assert_eq!(watched.read_again(Vec::new()), None);
    assert!(matches!(watched.settle(0), Some(DriftNews::Repaired { .. })));
    watched.pass(1_000);
    assert_eq!((watched.step(), watched.look()), (DriftStep::Look, None));
}

#[test]
fn what_else_is_changed_during_the_pause_before_a_repair_is_looked_at_and_told() {
    let mut watched = Watched::new(Reaction::Repair);
    for _ in 0..2 {
        watched.watch.pace.repaired(TOOK, watched.now);
    }
    watched.world.kernel.remove_table(Family::Ip6);
    watched.hear("first");
    let Some(DriftNews::Found { pause: Some(pause), .. }) = watched.look() else { panic!("it is found") };
    assert!(pause > Duration::ZERO);
    watched.pass(100);
    watched.world.kernel.remove_table(Family::Ip);
    watched.hear("second");
    assert_eq!(watched.step(), DriftStep::Look);
    let Some(DriftNews::Widened { report }) = watched.look() else { panic!("it is told") };
    assert_eq!(report.deviations, Family::ALL.map(Deviation::TableMissing));
    assert_eq!(report.writers().matches(" or ").count(), 1, "{}", report.writers());
    let DriftStep::Wait(Some(at)) = watched.step() else { panic!("the pause goes on") };
    assert!(at > watched.now);
    watched.hear("third");
    watched.pass(100);
    assert_eq!((watched.step(), watched.look()), (DriftStep::Look, None), "the same is told once");
    watched.pass(2_000);
    assert_eq!(watched.step(), DriftStep::Repair);
}

#[test]
fn a_comparison_that_decided_nothing_is_made_again_soon() {
    let mut watched = Watched::new(Reaction::Repair);
    watched.pass(10_000);
    assert_eq!(watched.step(), DriftStep::Compare);
    assert_eq!(watched.watch.compared(None, None, TOOK, watched.now), None);
    assert!(matches!(watched.step(), DriftStep::Wait(Some(at)) if at == watched.now + Duration::from_secs(10)));
    watched.pass(10_000);
    assert_eq!(watched.step(), DriftStep::Compare);
}
