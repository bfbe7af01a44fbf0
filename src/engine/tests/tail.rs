use super::*;
use crate::fixtures::{NODE, empty_lists};
use crate::state::View;

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
    timed.world.restart();
    assert_eq!(timed.commit(), [(vec![], SyncProgress::CaughtUp)]);
    assert_eq!(timed.elements(), held);
    assert_eq!(timed.pass(GRACE * 2).len(), 1);
    assert_eq!(timed.elements(), held - 2);
}

#[test]
fn a_failed_tail_is_an_ordinary_difference() {
    let mut timed = programmed(2);
    timed.after(web(1));
    timed.now = timed.now + GRACE;
    let Next::Commit(plan) = timed.world.engine.next(timed.now) else { panic!("the tail") };
    timed.world.engine.failed(*plan, &Failure { is_refusal: false, message: "no answer".to_owned() }, timed.now);
    assert!(!timed.world.engine.has_leftovers());
    timed.commit();
    assert_eq!(timed.pass(GRACE * 2).len(), 2, "the class waits once more, and what is behind it with it");
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

#[test]
fn without_session_affinity_the_ids_of_endpoints_that_stay_are_left_for_a_while() {
    let by_id =
        |operations: &[String]| operations.iter().filter(|it| it.starts_with("delete endpoints-by-id ")).count();
    for (endpoints, gone_at_once) in [("10.1.0.1 R r, 10.1.0.2 R r", 1), ("10.1.0.8 R r, 10.1.0.9 R r", 0), ("", 3)] {
        // Another one keeps the sets.
        let other = service("shop/other").ips(&["10.96.0.2"]).affinity(60);
        let of_other = slice("shop/other-1").ready(&["10.1.9.1", "10.1.9.2", "10.1.9.3"]);
        let web = [service("shop/web").affinity(60).into(), web(3).into()];
        let mut timed = Timed::with([other.into(), of_other.into()].into_iter().chain(web));
        timed.world.apply(slice("shop/web-1").endpoints(endpoints));
        let operations = timed.after(service("shop/web"));
        assert_eq!(by_id(&operations), gone_at_once, "{endpoints}: {operations:#?}");
        let later = timed.pass(GRACE * 3);
        assert_eq!(
            later.iter().map(|(operations, _)| by_id(operations)).sum::<usize>(),
            3 - gone_at_once,
            "{endpoints}"
        );
    }
}

#[test]
fn a_node_port_whose_clients_keep_their_endpoints_from_now_on_serves_packets_that_have_passed_the_new_look_up() {
    let mut timed = Timed::with([
        service("shop/web").node_port(30002).into(),
        slice("shop/web-1").endpoints("10.1.0.1 R r").into(),
    ]);
    let changed = timed.after(service("shop/web").node_port(30002).affinity(60));
    let left = "delete nodeport-slots-1 { tcp . 30002 }".to_owned();
    assert!(!changed.contains(&left), "{changed:#?}");
    let later = timed.pass(GRACE);
    assert!(later.iter().any(|(operations, _)| operations.contains(&left)), "{later:#?}");
}

#[test]
fn an_id_that_goes_soon_after_another_leads_to_an_endpoint_that_stays_for_a_while() {
    let only = |n: u8| slice("shop/web-1").endpoints(&format!("10.1.0.{n} R r"));
    let mut timed = Timed::with([service("shop/web").affinity(60).into(), only(1).into()]);
    let by_id = |operations: &[String]| -> Vec<String> {
        operations.iter().filter(|operation| operation.contains("endpoints-by-id")).cloned().collect()
    };
    let first = by_id(&timed.after(only(2)));
    assert_eq!(first.iter().filter(|it| it.starts_with("delete")).count(), 1, "at once: {first:#?}");
    let second = by_id(&timed.after(only(3)));
    assert_eq!(
        second.iter().filter(|it| it.contains("10.1.0.3")).count(),
        2,
        "its own, and that of the second: {second:#?}"
    );
    assert_eq!(second.iter().filter(|it| it.contains("10.1.0.2")).count(), 1, "nothing leads there: {second:#?}");
    let later = timed.pass(GRACE * 3);
    let gone: Vec<String> = later.iter().flat_map(|(operations, _)| operations.clone()).collect();
    assert_eq!(gone.len(), 1, "{later:#?}");
    assert!(!timed.world.engine.has_leftovers());
    assert_eq!(timed.pass(GRACE * 3), []);
}

#[test]
fn an_id_that_goes_alone_goes_at_once_and_nothing_is_committed_later() {
    let mut timed = Timed::with([service("shop/web").affinity(60).into(), web(2).into()]);
    timed.after(web(1));
    timed.pass(GRACE * 3);
    let changed = timed.after(slice("shop/web-1").endpoints("10.1.0.9 R r"));
    assert_eq!(changed.iter().filter(|operation| operation.contains("endpoints-by-id")).count(), 2, "{changed:#?}");
    assert_eq!(timed.pass(GRACE * 3), []);
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
fn after_a_reading_classes_wait_as_if_their_order_had_just_changed() {
    let mut timed = programmed(1);
    timed.world.engine.distrust();
    timed.commit();
    let left = r#"delete internal-1 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#.to_owned();
    assert!(!timed.after(web(2)).contains(&left), "the answer to a batch with another order may be lost");
    let later: Vec<String> = timed.pass(GRACE * 3).into_iter().flat_map(|(operations, _)| operations).collect();
    assert_eq!(later, [left]);
    assert!(
        timed.after(web(3)).iter().any(|operation| operation.contains("delete internal-2")),
        "the order is known again"
    );
}
