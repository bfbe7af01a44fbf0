use super::*;
use crate::dataplane::{Element, EndpointList, Object, SizeClass};
use crate::fixtures::{World, frontend, name, scope, service, service_cidr, slice};
use crate::state::{Decoded, Event, Service};

/// A programmed world in which shop/web has endpoints 10.1.0.1 to 10.1.0.n on another node.
fn web(endpoints: u8) -> World {
    World::with([service("shop/web").into(), endpoints_of_web((1..=endpoints).collect::<Vec<_>>().as_slice()).into()])
}

fn endpoints_of_web(last_bytes: &[u8]) -> crate::fixtures::SliceBuilder {
    last_bytes.iter().fold(slice("shop/web-1"), |slice, n| slice.endpoints(&format!("10.1.0.{n} R r")))
}

/// The operations with what they have in common left out: `add endpoints { … }`.
fn short(operations: &[String]) -> Vec<String> {
    operations.iter().map(|text| text.replace("element ip pointsman ", "")).collect()
}

#[test]
fn the_first_endpoint_moves_the_frontend_from_refused_to_balanced() {
    let mut world = web(1);
    world.sync_after(endpoints_of_web(&[]));
    assert_eq!(
        short(&world.sync_after(endpoints_of_web(&[1]))),
        [
            r#"delete reject-services { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
            r#"add internal-1 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
            "add endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080 }",
        ]
    );
}

#[test]
fn one_more_endpoint_within_the_class_is_one_operation() {
    let mut world = web(9);
    let added = ["add endpoints { 10.96.0.1 . tcp . 80 . 9 : 10.1.0.99 . 8080 }"];
    assert_eq!(short(&world.sync_after(endpoints_of_web(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 99]))), added);
}

#[test]
fn one_more_endpoint_beyond_the_class_moves_the_frontend_to_the_next_class() {
    let mut world = web(5);
    world.sync_after(endpoints_of_web(&[1, 2, 3, 4]));
    assert_eq!(
        short(&world.sync_after(endpoints_of_web(&[1, 2, 3, 4, 5]))),
        [
            r#"delete internal-4 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
            r#"add internal-5 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
            "add endpoints { 10.96.0.1 . tcp . 80 . 4 : 10.1.0.5 . 8080 }",
        ]
    );
}

#[test]
fn a_class_that_is_new_to_the_table_comes_with_its_set_and_chain_in_the_same_batch() {
    let mut world = web(1);
    let operations = world.sync_after(endpoints_of_web(&[1, 2]));
    let program: Vec<&str> = operations.iter().map(String::as_str).filter(|o| !o.contains(" element ")).collect();
    assert_eq!(program.len(), 12, "{program:#?}");
    assert_eq!(
        &program[..4],
        [
            "flush chain ip pointsman services",
            "add set ip pointsman internal-2 { typeof ip daddr . meta l4proto . th dport; }",
            "add chain ip pointsman pick-2",
            "add chain ip pointsman from-internal-2",
        ]
    );
    let rules = |chain: &str| {
        let start = format!("add rule ip pointsman {chain} ");
        program.iter().filter(|operation| operation.starts_with(&start)).count()
    };
    assert_eq!(["pick-2", "from-internal-2", "to-cluster-ip", "services"].map(rules), [1, 1, 1, 5]);
    assert_eq!(operations.len() - program.len(), 3);
}

#[test]
fn a_replaced_endpoint_is_two_operations_on_its_slot() {
    let mut world = web(4);
    assert_eq!(
        short(&world.sync_after(endpoints_of_web(&[1, 3, 4, 9]))),
        [
            "delete endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.1.0.2 . 8080 }",
            "add endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.1.0.9 . 8080 }",
        ]
    );
}

#[test]
fn a_removed_endpoint_leaves_its_slot_to_the_last() {
    let mut world = web(10);
    assert_eq!(
        short(&world.sync_after(endpoints_of_web(&[1, 3, 4, 5, 6, 7, 8, 9, 10]))),
        [
            "delete endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.1.0.2 . 8080 }",
            "delete endpoints { 10.96.0.1 . tcp . 80 . 9 : 10.1.0.10 . 8080 }",
            "add endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.1.0.10 . 8080 }",
        ]
    );
}

#[test]
fn the_endpoint_in_the_last_slot_goes_with_one_operation() {
    let mut world = web(10);
    let deleted = ["delete endpoints { 10.96.0.1 . tcp . 80 . 9 : 10.1.0.10 . 8080 }"];
    assert_eq!(short(&world.sync_after(endpoints_of_web(&[1, 2, 3, 4, 5, 6, 7, 8, 9]))), deleted);
}

#[test]
fn the_last_endpoint_moves_the_frontend_from_balanced_to_refused() {
    let mut world = web(1);
    assert_eq!(
        short(&world.sync_after(endpoints_of_web(&[]))),
        [
            r#"delete internal-1 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
            "delete endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080 }",
            r#"add reject-services { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
        ]
    );
}

#[test]
fn a_deleted_service_takes_all_its_elements_along_and_nothing_else() {
    let mut world = World::with([
        service("shop/web").into(),
        slice("shop/web-1").endpoints("10.1.0.1 L r").into(),
        service("shop/db").ips(&["10.96.0.2"]).into(),
        slice("shop/db-1").ready(&["10.1.0.2"]).into(),
    ]);
    assert_eq!(
        short(&world.sync_after(Event::ServiceDeleted(name("shop/web")))),
        [
            "delete cluster-ips { 10.96.0.1 }",
            r#"delete internal-1 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
            "delete hairpin { 10.1.0.1 . 10.1.0.1 . tcp . 8080 }",
            "delete endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080 }",
        ]
    );
}

#[test]
fn an_element_that_two_services_ask_for_stays_until_both_are_gone() {
    let mut world = World::with([
        service("shop/web").into(),
        slice("shop/web-1").endpoints("10.1.0.1 L r").into(),
        service("shop/copy").ips(&["10.96.0.2"]).into(),
        slice("shop/copy-1").endpoints("10.1.0.1 L r").into(),
    ]);
    let hairpin = "delete hairpin { 10.1.0.1 . 10.1.0.1 . tcp . 8080 }";
    let first = short(&world.sync_after(Event::ServiceDeleted(name("shop/web"))));
    assert!(first.len() == 3 && !first.iter().any(|o| o.contains("hairpin")), "{first:#?}");
    let second = short(&world.sync_after(Event::ServiceDeleted(name("shop/copy"))));
    assert!(second.len() == 4 && second.contains(&hairpin.to_owned()), "{second:#?}");
}

#[test]
fn a_change_that_no_packet_would_notice_gives_no_operations() {
    let mut world = web(2);
    let events: [Event; 5] = [
        service("shop/web").problem("metadata.labels").into(),
        service("shop/web").created(7).into(),
        endpoints_of_web(&[2, 1]).into(),
        endpoints_of_web(&[1, 2]).endpoints("10.1.0.3 R -").into(),
        slice("shop/web-2").ready(&["10.1.0.1"]).into(),
    ];
    for event in events {
        assert_eq!(world.sync_after(event.clone()), [""; 0], "{event:?}");
    }
}

#[test]
fn endpoints_that_come_and_go_between_two_syncs_give_no_operations() {
    let mut world = web(2);
    world.apply(endpoints_of_web(&[2, 7, 8, 9]));
    world.apply(endpoints_of_web(&[1, 2]));
    assert_eq!(world.sync(), [""; 0]);
}

#[test]
fn another_holder_of_a_frontend_is_a_new_comment_and_its_endpoints() {
    let mut world = web(2);
    world.apply(slice("lab/web-1").ready(&["10.1.0.2", "10.1.0.7"]));
    assert_eq!(
        short(&world.sync_after(service("lab/web").created(1))),
        [
            r#"delete internal-2 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
            "delete endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080 }",
            r#"add internal-2 { 10.96.0.1 . tcp . 80 comment "lab/web:http" }"#,
            "add endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.1.0.7 . 8080 }",
        ]
    );
}

#[test]
fn all_deletions_come_before_all_additions_each_by_family_set_and_key() {
    let mut world = web(3);
    world.apply(service("shop/db").ips(&["10.96.0.2", "fd00:96::2"]));
    world.apply(Event::ServiceCidrApplied(service_cidr("kubernetes", &["10.96.0.0/16", "fd00:96::/112"])));
    world.apply(endpoints_of_web(&[1, 9]));
    let operations = world.sync();
    let program = operations.iter().take_while(|o| !o.contains(" element ")).count();
    assert_eq!(
        operations[program..],
        [
            r#"delete element ip pointsman internal-3 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
            "delete element ip pointsman endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.1.0.2 . 8080 }",
            "delete element ip pointsman endpoints { 10.96.0.1 . tcp . 80 . 2 : 10.1.0.3 . 8080 }",
            "add element ip pointsman cluster-ips { 10.96.0.2 }",
            "add element ip pointsman service-cidrs { 10.96.0.0/16 }",
            r#"add element ip pointsman internal-2 { 10.96.0.1 . tcp . 80 comment "shop/web:http" }"#,
            r#"add element ip pointsman reject-services { 10.96.0.2 . tcp . 80 comment "shop/db:http" }"#,
            "add element ip pointsman endpoints { 10.96.0.1 . tcp . 80 . 1 : 10.1.0.9 . 8080 }",
            "add element ip6 pointsman cluster-ips { fd00:96::2 }",
            "add element ip6 pointsman service-cidrs { fd00:96::/112 }",
            r#"add element ip6 pointsman reject-services { fd00:96::2 . tcp . 80 comment "shop/db:http" }"#,
        ]
    );
}

#[test]
fn a_table_out_of_scope_is_left_alone() {
    let mut world = World::new();
    world.apply(service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]));
    let only_ip = Scope { families: vec![Family::Ip], ..scope() };
    let plan = diff(&world.acknowledged(), world.desired(), &only_ip);
    assert!(plan.operations.iter().all(|operation| operation.family == Family::Ip));
    assert_eq!(plan.frontends.iter().map(|c| c.frontend).collect::<Vec<_>>(), [frontend("10.96.0.1 80/tcp")]);
    assert_eq!(plan.shared.len(), 1);
    assert!(!plan.next.has_table(Family::Ip6));
    assert!(diff(&plan.next, world.desired(), &only_ip).is_empty());
}

#[test]
fn a_restart_over_what_was_programmed_has_nothing_to_do() {
    let mut world = web(5);
    // Removals leave the slots in an order that a fresh start would not choose.
    world.sync_after(endpoints_of_web(&[1, 3, 4, 5]));
    world.restart();
    assert_eq!(world.sync(), [""; 0]);
}

#[test]
fn a_restart_after_missed_changes_does_what_it_would_have_done() {
    let (mut known, mut read) = (web(4), web(4));
    read.restart();
    for world in [&mut known, &mut read] {
        world.apply(endpoints_of_web(&[1, 3, 4, 9]));
        world.apply(service("shop/db").ips(&["10.96.0.2"]));
    }
    let operations = known.sync();
    assert!(!operations.is_empty());
    assert_eq!(read.sync(), operations);
}

#[test]
fn a_frontend_that_another_program_put_into_several_sets_is_repaired() {
    let mut world = web(2);
    let strays = [
        SetName::DropServices,
        SizeClass::for_endpoints(1).map(|class| SetName::Slots(EndpointList::Any, class)).unwrap(),
    ]
    .map(|set| Element::member(set, crate::dataplane::Key::Frontend(frontend("10.96.0.1 80/tcp"))));
    let one = Operation::add(Family::Ip, Object::Set(strays[1].set));
    let strays = strays.map(Operation::add_element);
    assert_eq!(world.kernel.apply(&[&[one], &strays[..]].concat()), Ok(()));
    world.restart();
    let repairs: Vec<String> = short(&world.sync()).into_iter().filter(|o| o.contains('{')).collect();
    assert_eq!(
        repairs.iter().filter(|o| o.starts_with("delete")).collect::<Vec<_>>(),
        ["delete drop-services { 10.96.0.1 . tcp . 80 }", "delete slots-1 { 10.96.0.1 . tcp . 80 }"]
    );
    world.restart();
    assert_eq!(world.sync(), [""; 0]);
}

#[test]
fn what_is_shown_agrees_with_what_is_done() {
    let mut world = web(2);
    world.apply(service("shop/db").ips(&["10.96.0.2"]));
    world.apply(Event::ServiceDeleted(name("shop/web")));
    let plan = world.plan();
    let kinds: Vec<_> = plan.frontends.iter().map(|c| (c.before.is_some(), c.after.is_some())).collect();
    assert_eq!(kinds, [(true, false), (false, true)]);
    let shared: Vec<_> = plan.shared.iter().map(|c| (c.element.key.to_string(), c.added)).collect();
    assert_eq!(shared, [("10.96.0.1".to_owned(), false), ("10.96.0.2".to_owned(), true)]);
    assert_eq!(plan.tables, []);
}

#[test]
fn what_checks_sources_comes_with_the_first_service_that_has_ranges_and_goes_with_the_last() {
    let exposed = |ranges: &[&str]| {
        let Decoded::Object(web) = service("shop/web").decoded() else { panic!("a Service") };
        Event::ServiceApplied(Decoded::Object(Arc::new(Service {
            load_balancer_ips: vec![crate::fixtures::ip("203.0.113.1")].into(),
            source_ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            ..(*web).clone()
        })))
    };
    let mut world = World::with([exposed(&[]), endpoints_of_web(&[1]).into()]);
    let come = world.sync_after(exposed(&["192.0.2.0/24"]));
    let count = |start: &str| come.iter().filter(|o| o.starts_with(start)).count();
    let counts = ["set", "map", "chain", "rule", "element"].map(|kind| count(&format!("add {kind} ip pointsman ")));
    assert_eq!(counts, [1, 1, 5, 6, 2], "the map and what all share, then a set and a chain of its own: {come:#?}");
    assert_eq!(come.len(), 15, "{come:#?}");
    world.restart();
    assert_eq!(world.sync(), [""; 0]);
    // Ranges of whatever length are elements of its own set.
    let set = "ip pointsman sources-203.0.113.1-tcp-80";
    let element = |verb: &str, range: &str| format!("{verb} element {set} {{ {range} }}");
    let more = world.sync_after(exposed(&["192.0.2.0/24", "198.51.100.7/32"]));
    assert_eq!(more, [element("add", "198.51.100.7/32")]);
    let wider = world.sync_after(exposed(&["192.0.2.0/23", "198.51.100.7/32"]));
    assert_eq!(wider, [element("delete", "192.0.2.0/24"), element("add", "192.0.2.0/23")]);
    let go = world.sync_after(exposed(&[]));
    let own = "check-sources-203.0.113.1-tcp-80";
    let all = ["check-sources", "drop-other-sources", "filter-output-early", "filter-prerouting"];
    let mut expected = vec![format!("flush chain ip pointsman {own}")];
    expected.extend(all.map(|chain| format!("flush chain ip pointsman {chain}")));
    expected.extend(all.map(|chain| format!("delete chain ip pointsman {chain}")));
    expected.push("delete map ip pointsman source-checks".to_owned());
    expected.push(format!("delete chain ip pointsman {own}"));
    expected.push(format!("delete set {set}"));
    assert_eq!(go, expected, "the set takes its elements along");
}

#[test]
fn the_bound_of_a_new_frontend_is_near_what_it_takes() {
    let addrs: Vec<String> = (1..=100).map(|n| format!("10.1.0.{n}")).collect();
    let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
    let web = || service("shop/web").load_balancer_ips(&["203.0.113.5"]).source_ranges(&["192.0.2.0/25", "10.0.0.0/8"]);
    for web in [web(), web().affinity(60)] {
        // What others have already is no part of it.
        let other = service("shop/other").ips(&["10.96.0.2"]).load_balancer_ips(&["203.0.113.6"]).affinity(60);
        let slices = ["shop/web-1", "shop/other-1"].map(|name| Event::from(slice(name).ready(&addrs)));
        let mut world =
            World::with([other.source_ranges(&["192.0.2.0/25", "10.0.0.0/8"]).into()].into_iter().chain(slices));
        world.apply(web);
        let plan = world.plan();
        for at in ["10.96.0.1 80/tcp", "203.0.113.5 80/tcp"].map(frontend) {
            let addr = at.addr.to_string();
            let of_frontend = |text: &String| text.contains(&format!("{addr} ")) || text.contains(&format!("{addr}-"));
            let taken = plan.operations.iter().map(ToString::to_string).filter(of_frontend).count();
            let bound = super::size(world.desired().frontends[&at].winner());
            assert!((taken..=taken + 20).contains(&bound), "{at}: {taken} operations, bounded by {bound}");
        }
    }
}
