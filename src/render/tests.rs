use super::*;
use crate::fixtures::{World, name, service, service_cidr, slice};
use crate::state::Event;

/// A world in which shop/web is programmed and much of it changes.
fn changed() -> World {
    let mut world = World::with([
        service("shop/web").into(),
        slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r, 10.1.0.3 R r").into(),
        service("shop/gone").ips(&["10.96.0.2"]).into(),
        Event::ServiceCidrApplied(service_cidr("kubernetes", &["10.96.0.0/16"])),
    ]);
    world.apply(slice("shop/web-1").endpoints("10.1.0.2 R r, 10.1.0.3 R r, 10.1.0.9 R r"));
    world.apply(Event::ServiceDeleted(name("shop/gone")));
    world.apply(service("shop/new").ips(&["10.96.0.3", "fd00:96::3"]).ports(&["- 53/udp"]));
    world
}

#[test]
fn a_plan_is_printed_in_service_terms() {
    let expected = "\
- shop/gone:http 10.96.0.2:80/tcp
+ shop/new 10.96.0.3:53/udp
    + refused: no endpoints
+ shop/new [fd00:96::3]:53/udp
    + refused: no endpoints
~ shop/web:http 10.96.0.1:80/tcp
    - endpoint 10.1.0.1:8080
    + endpoint 10.1.0.9:8080
~ cluster IPs: undefined ports are refused
    - 10.96.0.2
    + 10.96.0.3
    + fd00:96::3
- endpoints that may be on this node: masqueraded when they connect to themselves
    - 10.1.0.1:8080/tcp
Plan: 2 to add, 2 to change, 2 to remove (9 operations)
";
    assert_eq!(text(&changed().plan(), Colour::Off), expected);
}

#[test]
fn colour_is_added_on_request_and_changes_no_text() {
    let plan = changed().plan();
    let (plain, coloured) = (text(&plan, Colour::Off), text(&plan, Colour::On));
    assert!(!plain.contains('\x1b'));
    for line in ["\x1b[31m- shop/gone:http 10.96.0.2:80/tcp\x1b[0m\n", "    \x1b[32m+ endpoint 10.1.0.9:8080\x1b[0m\n"]
    {
        assert!(coloured.contains(line), "{coloured}");
    }
    let escapes = ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"];
    assert_eq!(escapes.iter().fold(coloured, |text, escape| text.replace(escape, "")), plain);
    assert!(plain.ends_with(" operations)\n"), "the last line has no sign");
}

#[test]
fn an_empty_plan_says_that_there_are_no_differences() {
    let world = World::with([service("shop/web").into()]);
    let expected = "No differences.\nPlan: 0 to add, 0 to change, 0 to remove (0 operations)\n";
    assert_eq!(text(&world.plan(), Colour::On), expected);
    assert_eq!(nft(&world.plan()), "");
}

#[test]
fn one_operation_is_in_the_singular() {
    let mut world =
        World::with([service("shop/web").into(), slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2"]).into()]);
    world.apply(service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]));
    world.sync();
    world.apply(Event::ServiceCidrApplied(service_cidr("kubernetes", &["10.96.0.0/16"])));
    let expected = "\
+ ServiceCIDRs: unallocated addresses are dropped
    + 10.96.0.0/16
Plan: 1 to add, 0 to change, 0 to remove (1 operation)
";
    assert_eq!(text(&world.plan(), Colour::Off), expected);
}

/// What is printed of shop/web when its endpoints change from one state to another.
fn transition(before: &str, after: &str) -> String {
    let local = || service("shop/web").local();
    let mut world = World::with([local().into(), slice("shop/web-1").endpoints(before).into()]);
    world.apply(slice("shop/web-1").endpoints(after));
    let printed = text(&world.plan(), Colour::Off);
    let frontend = printed.lines().skip_while(|line| !line.starts_with("~ shop/web")).skip(1);
    frontend.take_while(|line| line.starts_with(' ')).map(str::trim).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_change_of_outcome_is_described() {
    for (before, after, expected) in [
        ("", "10.1.0.1 L r", "~ refused: no endpoints -> balanced; + endpoint 10.1.0.1:8080"),
        ("10.1.0.1 L r", "", "~ balanced -> refused: no endpoints; - endpoint 10.1.0.1:8080"),
        ("", "10.1.0.1 R r", "~ refused: no endpoints -> dropped: no endpoints on this node"),
        ("10.1.0.1 R r", "10.1.0.1 L r", "~ dropped: no endpoints on this node -> balanced; + endpoint 10.1.0.1:8080"),
        ("10.1.0.1 L r", "10.1.0.1 L r, 10.1.0.2 L r", "+ endpoint 10.1.0.2:8080"),
    ] {
        assert_eq!(transition(before, after), expected);
    }
}

#[test]
fn the_new_owner_of_a_frontend_is_named() {
    let mut world = World::with([service("shop/web").into()]);
    world.apply(service("lab/web").created(1));
    let printed = text(&world.plan(), Colour::Off);
    let expected = "~ lab/web:http 10.96.0.1:80/tcp\n    ~ held by shop/web:http -> lab/web:http\n";
    assert!(printed.starts_with(expected), "{printed}");
}

#[test]
fn a_table_is_created_brought_up_to_date_or_rebuilt() {
    let mut world = World::new();
    let printed = text(&world.plan(), Colour::Off);
    assert!(printed.starts_with("+ table ip pointsman\n    + program created ("), "{printed}");
    assert!(printed.ends_with("Plan: 2 to add, 0 to change, 0 to remove (146 operations)\n"), "{printed}");
    world.sync();

    world.apply(service("shop/web"));
    world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
    let printed = text(&world.plan(), Colour::Off);
    assert!(
        printed.starts_with("~ table ip pointsman\n    ~ program brought up to date (11 operations)\n"),
        "{printed}"
    );

    let mut plan = world.plan();
    plan.tables[0].rebuilt = true;
    let printed = text(&plan, Colour::Off);
    let expected = "    ~ program removed and created again: it holds sets of other types (11 operations)\n";
    assert!(printed.contains(expected), "{printed}");
}

#[test]
fn a_plan_that_only_repairs_slots_says_so() {
    let mut world = World::with([service("shop/web").into(), slice("shop/web-1").ready(&["10.1.0.1"]).into()]);
    let frontend = crate::fixtures::frontend("10.96.0.1 80/tcp");
    let mut installed = (*world.acknowledged().frontends[&frontend]).clone();
    let twice = crate::dataplane::Endpoint { addr: crate::fixtures::ip("10.1.0.1"), port: 8080 };
    installed.slots = [(0, twice), (1, twice)].into_iter().collect();
    let mut held = world.acknowledged();
    held.frontends.insert(frontend, std::sync::Arc::new(installed));
    world.hold(held.unverified());
    let printed = text(&world.plan(), Colour::Off);
    assert!(printed.starts_with("~ shop/web:http 10.96.0.1:80/tcp\n    ~ slots repaired\n"), "{printed}");
}

#[test]
fn as_nft_each_operation_is_a_command_on_its_own_line() {
    let world = changed();
    let printed = nft(&world.plan());
    assert_eq!(printed.lines().count(), world.plan().operations.len());
    assert!(printed.ends_with('\n'));
    for line in printed.lines() {
        let words: Vec<&str> = line.split(' ').take(4).collect();
        assert!(matches!(words[..], ["add" | "delete", "element", "ip" | "ip6", "pointsman"]), "{line}");
        assert!(line.ends_with(" }"), "{line}");
    }
    let expected = "delete element ip pointsman cluster-ips { 10.96.0.2 }\n";
    assert!(printed.starts_with(expected), "{printed}");
}

#[test]
fn names_from_the_cluster_cannot_forge_a_line_or_an_escape() {
    let mut world = World::new();
    world.apply(service("shop/we\nb\x1b[31m\"").ports(&["http\u{7} 80/tcp"]));
    let plan = world.plan();
    let printed = [text(&plan, Colour::Off), nft(&plan)].concat();
    assert!(!printed.contains(['\x1b', '\u{7}']) && !printed.contains("\nb"), "{printed}");
    assert!(printed.contains("+ shop/we_b__31m_:http_ 10.96.0.1:80/tcp\n"), "{printed}");
}

#[test]
fn added_changed_and_removed_session_affinity_is_described() {
    let mut world = World::with([service("shop/web").into(), slice("shop/web-1").ready(&["10.1.0.1"]).into()]);
    for (seconds, expected) in [
        (60, "+ session affinity: clients stay for 60 s"),
        (90, "- session affinity: clients stay for 60 s\n    + session affinity: clients stay for 90 s"),
        (0, "- session affinity: clients stay for 90 s"),
    ] {
        world.apply(service("shop/web").affinity(seconds));
        let printed = text(&world.plan(), Colour::Off);
        assert!(printed.contains(&format!("~ shop/web:http 10.96.0.1:80/tcp\n    {expected}\n")), "{printed}");
        world.sync();
    }
}
