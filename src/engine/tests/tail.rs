use super::*;
use crate::dataplane::{Element, Endpoint, EndpointList, Operation};
use crate::fixtures::{NODE, empty_lists, ip};
use crate::state::{Decoded, Node, View};

mod affinity;

const GRACE: Duration = Duration::from_millis(50);

/// A world whose time passes, and in which what packets may look up is left for a while.
struct Timed {
    world: World,
    now: Moment,
}

impl Timed {
    /// Everything of this was programmed, and nothing is left of changes.
    fn with(events: impl IntoIterator<Item = Event>) -> Self {
        Self::with_settings(events, |settings| settings)
    }

    fn with_settings(
        events: impl IntoIterator<Item = Event>,
        settings: impl FnOnce(EngineSettings) -> EngineSettings,
    ) -> Self {
        let mut world = World::new();
        let view = View { node_name: NODE.into(), ..View::default() };
        world.engine = Engine::new(settings(EngineSettings::new(crate::fixtures::scope(), view)));
        empty_lists().into_iter().chain(events).for_each(|event| drop(world.apply(event)));
        let mut timed = Self { world, now: Moment::default() };
        timed.commit();
        timed.pass(GRACE * 3);
        timed
    }

    /// Commits what is due. The elements of each batch that was sent, as text, and what it brought.
    fn commit(&mut self) -> Vec<(Vec<String>, SyncProgress)> {
        let mut batches = Vec::new();
        loop {
            match self.world.engine.next(self.now) {
                Next::Commit(plan) => {
                    assert_eq!(self.world.kernel.apply(&plan.operations), Ok(()), "{}", crate::render::nft(&plan));
                    let operations = plan.operations.iter().map(ToString::to_string);
                    let operations = operations.filter(|operation| operation.contains(" element "));
                    let operations = operations.map(|it| it.replace("element ip pointsman ", "")).collect();
                    let committed = self.world.engine.committed(*plan, self.now, self.now);
                    batches.push((operations, committed.progress));
                }
                Next::Read => {
                    let held = self.world.kernel.contents(&crate::dataplane::Family::ALL);
                    self.world.engine.read_back(Acknowledged::from(held), self.now);
                }
                Next::Wait(_) => return batches,
            }
        }
    }

    /// Time passes, and what is due meanwhile is committed.
    fn pass(&mut self, time: Duration) -> Vec<(Vec<String>, SyncProgress)> {
        let (end, mut batches) = (self.now + time, Vec::new());
        while let Next::Wait(Some(at)) = self.world.engine.clone().next(self.now)
            && at <= end
        {
            self.now = at;
            batches.extend(self.commit());
        }
        self.now = end;
        batches
    }

    /// Something happens and is committed: the operations of the only batch.
    fn after(&mut self, event: impl Into<Event>) -> Vec<String> {
        self.world.apply(event);
        let [(operations, SyncProgress::CaughtUp)] = &self.commit()[..] else { panic!("one batch") };
        operations.clone()
    }

    fn elements(&self) -> usize {
        self.world.acknowledged().count_elements().values().sum()
    }
}

fn web(endpoints: u8) -> SliceBuilder {
    (1..=endpoints).fold(slice("shop/web-1"), |slice, n| slice.endpoints(&format!("10.1.0.{n} R r")))
}

/// One Service with so many endpoints, in a table that tests the classes 1, 2, 3 in this order.
fn programmed(endpoints: u8) -> Timed {
    let mut timed = Timed::with([service("shop/web").into()]);
    for count in [3, 2, 1, endpoints] {
        timed.world.apply(web(count));
        timed.commit();
        timed.pass(GRACE * 3);
    }
    timed
}

#[test]
fn a_frontend_that_moves_to_a_class_that_is_tested_later_moves_at_once_and_keeps_its_slots_for_a_while() {
    let mut timed = programmed(1);
    let moved = [
        r#"delete internal-1 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
        r#"add internal-2 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
        "add endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.1.0.2 . 8080 }",
    ];
    assert_eq!(timed.after(web(2)), moved);
    assert_eq!(timed.pass(GRACE * 3), [], "nothing is left");
}

#[test]
fn a_frontend_that_moves_to_a_class_that_is_tested_before_is_in_both_for_a_while() {
    let mut timed = programmed(2);
    assert_eq!(timed.after(web(1)), [r#"add internal-1 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#]);
    assert!(timed.world.engine.has_leftovers() && !timed.world.engine.is_due());
    assert_eq!(timed.pass(GRACE - Duration::from_millis(1)), [], "too early");
    let tail = [
        r#"delete internal-2 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
        "delete endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.1.0.2 . 8080 }",
    ];
    let tail = (tail.map(str::to_owned).to_vec(), SyncProgress::Tidied);
    assert_eq!(timed.pass(Duration::from_millis(1)), [tail]);
    assert!(!timed.world.engine.has_leftovers());
    assert_eq!(timed.pass(GRACE * 3), []);
}

#[test]
fn what_keeps_packets_out_holds_at_once() {
    let mut timed = programmed(2);
    let none = [
        r#"delete internal-2 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
        r#"add reject-services { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
    ];
    assert_eq!(timed.after(web(0)), none);
    let [(tail, _)] = &timed.pass(GRACE)[..] else { panic!("a tail") };
    assert_eq!(tail.len(), 2, "its slots: {tail:#?}");
    timed.after(web(2));
    let gone =
        ["delete cluster-ips { 10.96.0.1 }", r#"delete internal-2 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#];
    let deleted = timed.after(Event::ServiceDeleted(name("shop/web")));
    assert!(gone.iter().all(|gone| deleted.contains(&(*gone).to_owned())), "{deleted:#?}");
    timed.pass(GRACE * 2);
    assert_eq!(timed.elements(), 0);
}

#[test]
fn what_is_wanted_again_stays_and_is_not_written_twice() {
    let mut timed = programmed(2);
    timed.after(web(1));
    timed.pass(GRACE / 2);
    assert_eq!(timed.after(web(2)), [r#"delete internal-1 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#]);
    assert_eq!(timed.pass(GRACE * 3), []);
}

#[test]
fn leftovers_go_with_the_next_change_once_their_time_has_come_and_never_before() {
    let mut timed = Timed::with([service("shop/web").into(), web(2).into(), small(2).into(), small_slice(2, 1).into()]);
    timed.after(web(1));
    assert_eq!(timed.after(small_slice(2, 2)).len(), 2, "too early");
    timed.now = timed.now + GRACE;
    assert_eq!(timed.after(small_slice(2, 3)).len(), 2 + 2);
}

#[test]
fn a_frontend_that_changes_without_end_leaves_no_more_than_its_states_of_the_grace_period() {
    let mut timed = programmed(2);
    let (mut most, mut operations) = (0, 0);
    for round in 0..2_000_u32 {
        timed.world.apply(web([1, 3, 2, 9, 0, 5][round as usize % 6]));
        operations += timed.commit().iter().map(|(operations, _)| operations.len()).sum::<usize>();
        operations +=
            timed.pass(Duration::from_millis(7)).iter().map(|(operations, _)| operations.len()).sum::<usize>();
        most = most.max(timed.elements());
    }
    // A ClusterIP, seven gates, and nine slots.
    assert!(most <= 17, "{most}");
    assert!(operations <= 2_000 * 12, "{operations}");
    timed.pass(GRACE * 3);
    assert!(!timed.world.engine.has_leftovers());
    assert_eq!(timed.elements(), 1 + 1 + 3, "a ClusterIP, a gate, and the slots of the last state");
}

#[test]
fn what_is_left_when_the_process_ends_is_tidied_by_the_next_one() {
    let mut timed = programmed(2);
    timed.after(web(1));
    let held = timed.elements();
    timed.world.engine = Engine::new(timed.world.engine.settings().clone());
    empty_lists().into_iter().for_each(|event| drop(timed.world.apply(event)));
    timed.world.apply(service("shop/web"));
    timed.world.apply(web(1));
    assert_eq!(timed.commit(), [(vec![], SyncProgress::CaughtUp)]);
    assert_eq!(timed.elements(), held);
    assert_eq!(timed.pass(GRACE * 2).len(), 1);
    assert_eq!(timed.elements(), held - 2);
}

#[test]
fn a_class_that_the_process_before_left_leads_to_no_endpoint_that_is_gone_when_it_comes_to_be_tested_first() {
    let mut timed = programmed(2);
    timed.after(web(1));
    let settings = EngineSettings { max_slice: 1, ..timed.world.engine.settings().clone() };
    timed.world.engine = Engine::new(settings);
    empty_lists().into_iter().for_each(|event| drop(timed.world.apply(event)));
    timed.world.apply(service("shop/web"));
    timed.world.apply(web(1));
    // Twenty Services of the class that was left: it is tested first from the first slice on, long before the turn of their frontends.
    for n in 2..=21 {
        timed.world.apply(small(n));
        timed.world.apply(slice(&format!("shop/small{n}-1")).endpoints("10.1.1.1 L r").endpoints("10.1.1.2 L r"));
    }
    let batches = timed.commit();
    let gone = "delete endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.1.0.2 . 8080 }".to_owned();
    let stays = "add endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.1.0.1 . 8080 }".to_owned();
    assert!(batches.len() > 20 && [gone, stays].iter().all(|it| batches[0].0.contains(it)), "{:?}", batches[0]);
}

#[test]
fn a_failed_tail_is_an_ordinary_difference() {
    let mut timed = programmed(2);
    timed.after(web(1));
    timed.now = timed.now + GRACE;
    let Next::Commit(plan) = timed.world.engine.next(timed.now) else { panic!("the tail") };
    timed.world.engine.failed(
        *plan,
        &Failure { kind: FailureKind::Unanswered, message: "no answer".to_owned() },
        timed.now,
    );
    assert!(!timed.world.engine.has_leftovers());
    timed.commit();
    let later = timed.pass(Duration::from_secs(1));
    let [(_, SyncProgress::CaughtUp), (tail, SyncProgress::Tidied)] = &later[..] else { panic!("{later:#?}") };
    assert_eq!(tail.len(), 2, "the class waits once more, and what is behind it with it");
    assert_eq!(timed.elements(), 3);
}

#[test]
fn a_first_sync_leaves_nothing() {
    let mut timed = Timed::with([]);
    timed.world.apply(service("shop/web").affinity(60));
    timed.world.apply(web(3));
    timed.commit();
    assert!(!timed.world.engine.has_leftovers());
}

#[test]
fn a_large_tail_is_deleted_in_slices() {
    let slice_of = |endpoints: u16| huge_slice(20, endpoints, 0);
    let events: [Event; 2] = [huge(20).into(), slice_of(100).into()];
    let mut timed = Timed::with_settings(events, |settings| EngineSettings { max_slice: 500, ..settings });
    timed.world.apply(slice_of(0));
    timed.commit();
    let tail = timed.pass(GRACE * 2);
    let sizes: Vec<usize> = tail.iter().map(|(operations, _)| operations.len()).collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size <= 600), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 20 * 64, "the slots that the last draw may hit");
}

#[test]
fn plans_that_leave_nothing_are_not_remembered() {
    let mut timed = Timed::with([small(1).into(), small_slice(1, 1).into()]);
    for n in 2..=20 {
        timed.world.apply(small(n));
        timed.world.apply(small_slice(n, 1));
        timed.commit();
    }
    assert_eq!(timed.world.engine.tail.waiting(), 0);
    timed.world.apply(small_slice(1, 2).endpoints("10.1.1.9 R r"));
    timed.commit();
    timed.world.apply(small_slice(1, 2));
    timed.commit();
    assert_ne!(timed.world.engine.tail.waiting(), 0);
}

/// What becomes of the next batch.
fn fail(timed: &mut Timed, kind: FailureKind) {
    let Next::Commit(plan) = timed.world.engine.next(timed.now) else { panic!("a change") };
    if kind == FailureKind::Unanswered {
        assert_eq!(timed.world.kernel.apply(&plan.operations), Ok(()));
    }
    timed.world.engine.failed(*plan, &Failure { kind, message: "no".to_owned() }, timed.now);
}

#[test]
fn after_a_lost_answer_nothing_is_deleted_before_the_packets_of_that_batch_are_through() {
    let mut timed = programmed(2);
    timed.world.apply(web(1));
    fail(&mut timed, FailureKind::Unanswered);
    assert_eq!(timed.commit(), [], "the tables are read at once, and nothing is planned");
    timed.world.apply(web(3));
    timed.now = timed.now + GRACE / 2;
    assert_eq!(timed.commit(), [], "a change waits, too");
    assert_eq!(timed.pass(GRACE / 2 - Duration::from_millis(1)), []);
    let later = timed.pass(Duration::from_millis(1));
    assert!(matches!(later[..], [(_, SyncProgress::CaughtUp)]), "{later:#?}");
    timed.pass(GRACE * 3);
    assert_eq!(timed.elements(), 1 + 1 + 3, "a ClusterIP, a gate, and the slots of the last state");
}

#[test]
fn a_reading_soon_after_a_commit_is_followed_by_a_plan_when_its_packets_are_through() {
    let mut timed = programmed(2);
    timed.after(web(1));
    timed.world.engine.distrust();
    assert_eq!(timed.commit(), [], "what the batch left is not known any more");
    assert_eq!(timed.pass(GRACE).len(), 1);
}

#[test]
fn a_batch_that_was_not_committed_delays_no_plan() {
    for kind in [FailureKind::Refused, FailureKind::Missing] {
        let mut timed = programmed(2);
        timed.world.apply(web(3));
        fail(&mut timed, kind);
        let batches = timed.commit();
        assert!(matches!(batches[..], [(_, SyncProgress::CaughtUp)]), "{kind:?}: {batches:#?}");
    }
}

#[test]
fn the_chain_that_drops_other_sources_stays_while_the_chain_of_a_frontend_leads_there() {
    let limited = |ranges: &[&str]| service("shop/web").load_balancer_ips(&["203.0.113.1"]).source_ranges(ranges);
    let chains = |timed: &Timed| -> Vec<String> {
        let contents = timed.world.kernel.contents(&crate::dataplane::Family::ALL);
        let table = contents.get(crate::dataplane::Family::Ip).unwrap();
        table.chains.keys().filter(|name| name.contains("sources")).cloned().collect()
    };
    for restarts in [false, true] {
        let mut timed = Timed::with([limited(&["192.0.2.0/24"]).into(), web(1).into()]);
        let all = ["check-sources", "check-sources-203.0.113.1-tcp-80", "drop-other-sources"];
        assert_eq!(chains(&timed), all);
        let elements = timed.after(limited(&[]));
        assert!(elements.iter().any(|it| it.starts_with("delete source-checks { 203.0.113.1 ")), "{elements:?}");
        assert_eq!(chains(&timed), all, "a packet may just have been sent to the chain of the frontend");
        if restarts {
            timed.world.restart();
            timed.commit();
            assert_eq!(chains(&timed), all, "a new process does not know for how long it has been there");
        }
        timed.pass(GRACE * 3);
        assert_eq!(chains(&timed), [""; 0]);
    }
}

#[test]
fn what_is_left_of_a_limited_frontend_goes_and_its_ranges_stay() {
    let limited = || service("shop/web").load_balancer_ips(&["203.0.113.1"]).source_ranges(&["192.0.2.0/24"]);
    let mut timed = Timed::with([limited().into(), web(2).into()]);
    timed.after(web(1));
    assert!(timed.world.engine.has_leftovers());
    let compared = crate::diff::diff(&timed.world.acknowledged(), timed.world.desired(), &crate::fixtures::scope());
    assert_eq!(compared.frontends.len(), 0, "what is left is no change");
    let tails = timed.pass(GRACE * 3);
    let deleted: Vec<&str> = tails.iter().flat_map(|(tail, _)| tail).filter_map(|it| it.split(" {").next()).collect();
    assert_eq!(deleted, ["delete internal-2", "delete slots-2", "delete endpoints", "delete endpoints"]);
    assert!(!timed.world.engine.has_leftovers());
    let held = timed.world.acknowledged();
    assert_eq!(held.frontends, Timed::with([limited().into(), web(1).into()]).world.acknowledged().frontends);
    let sources = &held.frontends[&frontend("203.0.113.1 80/tcp")].sources;
    assert_eq!(sources.len(), 1);
}

#[test]
fn tables_that_are_gone_are_made_again_at_once() {
    let mut timed = programmed(2);
    timed.after(web(3));
    crate::dataplane::Family::ALL.into_iter().for_each(|family| timed.world.kernel.remove_table(family));
    timed.world.engine.distrust();
    let batches = timed.commit();
    assert!(matches!(batches[..], [(_, SyncProgress::CaughtUp)]), "{batches:#?}");
}

#[test]
fn a_gate_whose_endpoints_another_program_deleted_waits_for_no_packet() {
    let mut timed = programmed(2);
    let element = |n: u8| {
        let endpoint = Endpoint { addr: [10, 1, 0, n].into(), port: 8080 };
        Element::slot(EndpointList::Any, frontend("10.96.0.1 80/tcp"), u32::from(n) - 1, endpoint)
    };
    let deleted = [1, 2].map(|n| Operation::delete_element(element(n)));
    assert_eq!(timed.world.kernel.apply(&deleted), Ok(()));
    timed.world.engine.distrust();
    timed.world.apply(web(1));
    let [(repair, SyncProgress::CaughtUp)] = &timed.commit()[..] else { panic!("one batch") };
    let gate = |of: &str| repair.iter().any(|operation| operation.contains(of));
    assert!(gate("add internal-1 ") && gate("delete internal-2 "), "it would hide the endpoint: {repair:#?}");
    assert_eq!(timed.pass(GRACE * 3), []);
}

#[test]
fn leftovers_that_cannot_be_deleted_are_tried_again_after_pauses_that_grow() {
    let mut timed = programmed(2);
    timed.after(web(1));
    let (mut tried, end) = (Vec::new(), timed.now + Duration::from_secs(60));
    while timed.now < end {
        match timed.world.engine.next(timed.now) {
            Next::Wait(Some(at)) => timed.now = at,
            Next::Wait(None) => panic!("forgotten"),
            Next::Read => {
                let held = timed.world.kernel.contents(&crate::dataplane::Family::ALL);
                timed.world.engine.read_back(Acknowledged::from(held), timed.now);
            }
            Next::Commit(plan) if plan.is_empty() => drop(timed.world.engine.committed(*plan, timed.now, timed.now)),
            Next::Commit(plan) => {
                let failure = Failure { kind: FailureKind::Refused, message: "no memory".to_owned() };
                timed.world.engine.failed(*plan, &failure, timed.now);
                tried.push(timed.now);
            }
        }
    }
    assert!((6..=10).contains(&tried.len()), "{tried:?}");
    assert!(tried.is_sorted_by_key(|at| *at) && tried.windows(2).all(|pair| pair[0] < pair[1]));
    let mut moved = timed.commit();
    moved.extend(timed.pass(Duration::from_secs(60)));
    assert!(moved.iter().any(|(operations, _)| operations.len() == 2), "in the end they go: {moved:#?}");
}

#[test]
fn a_huge_change_of_frontends_with_leftovers_is_divided_also_when_a_small_one_changes_the_order_of_classes() {
    let limit = |settings| EngineSettings { max_slice: SLICE, ..settings };
    let mut timed = Timed::with_settings([huge(20).into(), huge_slice(20, 3, 0).into()], limit);
    timed.world.apply(huge_slice(20, 2, 0));
    timed.commit();
    assert!(timed.world.engine.has_leftovers(), "the third slots");
    timed.world.apply(huge_slice(20, 1_000, 1));
    timed.world.apply(small(1));
    timed.world.apply(slice("shop/small1-1").ready(&["10.1.1.1", "10.1.1.2", "10.1.1.3", "10.1.1.4"]));
    let sizes: Vec<usize> = timed.commit().iter().map(|(operations, _)| operations.len()).collect();
    assert!(sizes.len() > 5 && sizes.iter().all(|size| *size <= SLICE + 1_100), "{sizes:?}");
}

#[test]
fn a_comparison_of_everything_deletes_no_shared_element_that_packets_may_still_look_up() {
    let here =
        |count: u8| (1..=count).fold(slice("shop/web-1"), |slice, n| slice.endpoints(&format!("10.1.0.{n} L r")));
    let mut timed = Timed::with([service("shop/web").into(), here(2).into()]);
    let deletes = |batches: Vec<(Vec<String>, SyncProgress)>| {
        let all = batches.into_iter().flat_map(|(operations, _)| operations);
        all.filter(|operation| operation.starts_with("delete hairpin")).count()
    };
    timed.world.apply(here(1));
    assert_eq!(deletes(timed.commit()), 0, "a packet may just have been sent to the endpoint");
    assert_eq!(deletes(timed.pass(GRACE / 5)), 0);
    let node = Node { name: name(NODE), addresses: vec![ip("192.0.2.1")], ..Node::default() };
    timed.world.apply(Event::NodeApplied(Decoded::Object(node.into())));
    assert_eq!(deletes(timed.commit()), 0, "the packet may still be on its way");
    assert_eq!(deletes(timed.pass(GRACE * 2)), 1);
}

#[test]
fn nothing_is_known_of_a_deleted_service_once_its_packets_are_through() {
    let mut timed = Timed::with([service("shop/web").into(), web(3).into()]);
    timed.world.apply(Event::ServiceDeleted(name("shop/web")));
    timed.commit();
    timed.pass(GRACE * 3);
    assert!(!timed.world.engine.has_leftovers());
    assert!(timed.world.acknowledged().frontends.is_empty());
}
