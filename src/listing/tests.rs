use super::*;
use crate::fixtures::{World, service, slice};
use crate::state::Snapshot;

/// A cluster with a Service of each kind that lists tell apart.
fn world() -> World {
    let mut world = World::new();
    world.apply(service("shop/web").ips(&["10.96.0.1"]).node_port(30_080).created(5));
    world.apply(slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r, 10.1.0.3 R n"));
    world.apply(service("shop/other").ips(&["10.96.0.2"]).external_ips(&["203.0.113.1"]).created(9));
    world
        .apply(service("dev/older").ips(&["10.96.0.3"]).external_ips(&["203.0.113.1"]).created(7).local().affinity(60));
    world
}

fn all(snapshot: &Snapshot, subject: ListSubject, filter: &ListFilter, max_rows: usize) -> (ListRows, usize) {
    let mut page = list(snapshot, subject, filter, None, max_rows).unwrap();
    let mut pages = 1;
    while let Some(next) = page.next.take() {
        let more = list(snapshot, subject, filter, Some(&next), max_rows).unwrap();
        page.rows.extend(more.rows);
        page.next = more.next;
        pages += 1;
    }
    page.rows.sort();
    (page.rows, pages)
}

fn table(world: &World, subject: ListSubject, filter: &str) -> String {
    let filter = if filter.is_empty() { ListFilter::default() } else { ListFilter::parse(filter).unwrap() };
    all(world.snapshot(), subject, &filter, 100).0.table(TableWidth::Narrow)
}

#[test]
fn services_show_their_ports_and_how_many_endpoints_are_used() {
    assert_eq!(
        table(&world(), ListSubject::Services, "shop"),
        "SERVICE     CLUSTER-IPS  PORTS              ENDPOINTS\n\
         shop/other  10.96.0.2    http:80/tcp        0/0\n\
         shop/web    10.96.0.1    http:80/tcp@30080  2/3\n"
    );
}

#[test]
fn endpoints_say_why_they_are_used_or_not() {
    assert_eq!(
        table(&world(), ListSubject::Endpoints, ""),
        "SERVICE        POLICY   ENDPOINT       NODE    USED  REASON\n\
         shop/web:http  Cluster  10.1.0.1:8080  node-a  yes   ready\n\
         shop/web:http  Cluster  10.1.0.2:8080  node-b  yes   ready\n\
         shop/web:http  Cluster  10.1.0.3:8080  node-b  no    not-ready\n"
    );
}

#[test]
fn frontends_say_what_happens_to_connections() {
    assert_eq!(
        table(&world(), ListSubject::Frontends, "shop/web"),
        "SERVICE        FRONTEND           KIND       OUTCOME  ENDPOINTS  LOCAL\n\
         shop/web:http  10.96.0.1:80/tcp   internal   balance  2          -\n\
         shop/web:http  0.0.0.0:30080/tcp  node-port  balance  2          -\n"
    );
    let wide = all(world().snapshot(), ListSubject::Frontends, &ListFilter::parse("dev").unwrap(), 100).0;
    let wide = wide.table(TableWidth::Wide);
    assert!(wide.contains("dev/older:http  203.0.113.1:80/tcp  external  refuse   0          -      60        all      shop/other:http\n"), "{wide}");
}

#[test]
fn a_clash_names_the_loser_the_winner_and_the_rule() {
    let mut world = world();
    let expected = "LOSER            FRONTEND            WINNER          RULE\n\
         shop/other:http  203.0.113.1:80/tcp  dev/older:http  older\n";
    assert_eq!(table(&world, ListSubject::Clashes, ""), expected);
    assert_eq!(table(&world, ListSubject::Clashes, "shop/other"), expected);
    assert_eq!(table(&world, ListSubject::Clashes, "dev"), expected);
    assert_eq!(table(&world, ListSubject::Clashes, "shop/web"), "LOSER  FRONTEND  WINNER  RULE\n");
    world.apply(slice("shop/other-1").ready(&["10.1.0.9"]));
    assert!(table(&world, ListSubject::Clashes, "").ends_with("  shop/other:http  has-endpoints\n"));
    world.apply(service("a/first").ips(&["203.0.113.1"]));
    let clashes = table(&world, ListSubject::Clashes, "");
    assert_eq!(clashes.matches("a/first:http  cluster-ip\n").count(), 2, "{clashes}");
    world.apply(service("a/first").ips(&["10.96.0.9"]).external_ips(&["198.51.100.1"]));
    world.apply(service("b/second").ips(&["10.96.0.10"]).external_ips(&["198.51.100.1"]));
    assert!(table(&world, ListSubject::Clashes, "b").contains("a/first:http  first-by-name\n"));
}

#[test]
fn pages_of_any_size_have_every_row_once() {
    let mut world = World::new();
    for n in 1..=40 {
        let name = format!("shop/web{n}");
        world.apply(service(&name).ips(&[&format!("10.96.0.{n}")]).external_ips(&["203.0.113.1"]));
        world.apply(slice(&format!("{name}-1")).endpoints("10.1.0.1 L r, 10.1.0.2 R r, 10.1.0.3 R n"));
    }
    for subject in ListSubject::ALL {
        for filter in [ListFilter::default(), ListFilter::parse("shop/web7").unwrap()] {
            let (expected, pages) = all(world.snapshot(), subject, &filter, usize::MAX);
            assert_eq!(pages, 1);
            for max_rows in [1, 2, 7] {
                let (rows, pages) = all(world.snapshot(), subject, &filter, max_rows);
                assert_eq!(rows, expected, "{subject:?} {max_rows}");
                assert!(pages > 2 || filter != ListFilter::default() || subject == ListSubject::Clashes);
            }
        }
    }
    let page = list(world.snapshot(), ListSubject::Endpoints, &ListFilter::default(), None, 50).unwrap();
    assert!(matches!(page.rows, ListRows::Endpoints(rows) if rows.len() == 50));
}

#[test]
fn a_place_of_another_list_and_a_name_that_is_none_are_refused() {
    let world = world();
    let at = |subject, after| list(world.snapshot(), subject, &ListFilter::default(), Some(after), 10);
    assert!(at(ListSubject::Services, "10.96.0.1,tcp,80").is_err());
    assert!(at(ListSubject::Frontends, "0000000000000000.0").is_err());
    assert!(at(ListSubject::Frontends, "10.96.0.1,tcp,80").is_ok());
    for name in ["", "/web", "shop/", "shop/web/x", "shop/we b", "a&b"] {
        assert!(ListFilter::parse(name).is_err(), "{name}");
    }
}

#[test]
fn a_policy_that_confines_only_clients_outside_gives_an_endpoint_two_rows() {
    use crate::state::{Decoded, Event};
    let mut world = World::new();
    let Decoded::Object(web) = service("shop/web").decoded() else { panic!("a Service") };
    let web = crate::state::Service { external_traffic_local: true, ..(*web).clone() };
    world.apply(Event::ServiceApplied(Decoded::Object(web.into())));
    world.apply(slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r"));
    let table = table(&world, ListSubject::Endpoints, "");
    for row in ["Cluster  10.1.0.2:8080  node-b  yes   ready\n", "Local    10.1.0.2:8080  node-b  no    other-node\n"] {
        assert!(table.contains(row), "{table}");
    }
}

#[test]
fn a_service_with_thousands_of_ports_has_a_short_cell_and_all_ports_in_its_row() {
    let ports: Vec<String> = (1..=5_000).map(|n| format!("a-port-with-a-name-{n} {n}/tcp")).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let mut world = World::new();
    world.apply(service("shop/web").ports(&ports));
    let filter = ListFilter::default();
    let (rows, _) = all(world.snapshot(), ListSubject::Services, &filter, 100);
    for width in [TableWidth::Narrow, TableWidth::Wide] {
        let table = rows.table(width);
        assert!(table.contains(",a-port-with-a-name-10:10/tcp,+4990  0/0"), "{table}");
    }
    assert!(matches!(rows, ListRows::Services(rows) if rows[0].ports.len() == 5_000));
}

#[test]
fn a_huge_cell_pads_no_other_row() {
    let huge = "x".repeat(70_000);
    let text = columns(&["A", "B"], &[vec![huge.clone(), "1".to_owned()], vec!["a".to_owned(), "2".to_owned()]]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], format!("{huge}  1"));
    assert_eq!(lines[2].len(), MAX_WIDTH + "  2".len());
}
