use super::*;

#[test]
fn a_load_balancer_that_should_not_ask_is_told_by_its_health_check() {
    let Decoded::Object(web) = service("shop/web").node_port(30_080).decoded() else { panic!("a Service") };
    let mut web = (*web).clone();
    web.load_balancer_ips = vec![ip("198.51.100.1")].into();
    (web.external_traffic_local, web.health_check_node_port) = (true, std::num::NonZeroU16::new(31_000));
    let world = World::with([
        Event::ServiceApplied(Decoded::Object(Arc::new(web))),
        slice("shop/web-1").endpoints("10.1.0.1 R r").into(),
    ]);
    let dropped = explained(&world, "203.0.113.7", "198.51.100.1", 80);
    assert_eq!((dropped.verdict, dropped.reason), (Verdict::Dropped, VerdictReason::NoLocalEndpoint));
    let said = text(&dropped, world.snapshot(), &ruleset(&world));
    assert!(said.contains("\nHEALTH    health check port 31000 answers 503: 0 ready endpoints here\n"), "{said}");
    let fix = dropped.fix(world.snapshot()).unwrap();
    assert!(fix.contains("http://node-a:31000/healthz"), "{fix}");
}

#[test]
fn a_service_that_refuses_is_told_what_its_slices_lack() {
    let mut world = World::with([service("shop/web").into()]);
    let mut fix = |slice: Option<crate::fixtures::SliceBuilder>| {
        slice.into_iter().for_each(|slice| drop(world.apply(slice)));
        world.sync();
        let explanation = explained(&world, "203.0.113.7", "10.96.0.1", 80);
        assert_eq!(explanation.reason, VerdictReason::NoEndpoint);
        (explanation.fix(world.snapshot()).unwrap(), text(&explanation, world.snapshot(), &ruleset(&world)))
    };
    assert!(fix(None).0.starts_with("there is no EndpointSlice of shop/web: check the selector"));
    let other = fix(Some(slice("shop/web-1").ip6())).0;
    assert!(other.starts_with("there is no EndpointSlice of shop/web with addressType IPv4"), "{other}");
    let named = slice("shop/web-1").ready(&["10.1.0.1"]);
    let (misnamed, said) = fix(Some(named.clone().ports(&["htpp 8080/tcp"])));
    let gap = "EndpointSlice shop/web-1 has no port named http (it has htpp)";
    assert!(misnamed.starts_with(gap), "{misnamed}");
    assert!(said.contains(&format!("\nSLICE     {gap}: its 1 endpoint gets nothing here\n")), "{said}");
    let (protocol, _) = fix(Some(named.clone().ports(&["http 8080/udp", "- 1/tcp"])));
    let gap = "EndpointSlice shop/web-1 has no port named http/tcp (it has http/udp, one without a name/tcp)";
    assert!(protocol.starts_with(gap), "{protocol}");
    let (unnamed, _) = fix(Some(named.ports(&[])));
    assert!(unnamed.starts_with("EndpointSlice shop/web-1 has no port named http (it has none)"), "{unnamed}");
    let (empty, _) = fix(Some(slice("shop/web-1")));
    assert!(empty.starts_with("the EndpointSlices of shop/web have no endpoint: check the selector"), "{empty}");
    let (unready, said) = fix(Some(slice("shop/web-1").endpoints("10.1.0.1 L -")));
    assert!(unready.starts_with("look at the readiness of its pods: kubectl -n shop get endpointslices"), "{unready}");
    assert!(!said.contains("SLICE"), "{said}");
}

#[test]
fn an_endpoint_that_only_this_client_does_not_get_says_why() {
    let world = web();
    let sticky = frontend("10.96.0.4 80/tcp");
    let id = world.acknowledged().frontends[&sticky].id_of(ip("10.1.2.2")).unwrap();
    let client = Element::member(SetName::Clients(sticky), Key::Client(ip("203.0.113.7")));
    let mut held = ruleset(&world);
    held.add_clients(&[Element { value: Some(Value::Id(id)), ..client }]);
    let (saddr, daddr, iif) = (ip("203.0.113.7"), ip("10.96.0.4"), Some("outside".to_owned()));
    let packet = Packet { saddr, daddr, protocol: Protocol::Tcp, dport: 80, iif, opens: true };
    let remembered = explain(world.engine.snapshot(), &held, &packet, &BTreeSet::new());
    assert_eq!(reasons(&remembered), ["10.1.2.2 ready", "10.1.2.1 other-remembered"]);
    let said = text(&remembered, world.snapshot(), &held);
    assert!(said.contains("arrives from outside"), "{said}");

    let world = World::with([
        service("shop/web").load_balancer_ips(&["198.51.100.1"]).source_ranges(&["203.0.113.0/24"]).into(),
        slice("shop/web-1").ready(&["10.1.0.1"]).into(),
    ]);
    let blocked = explained(&world, "192.0.2.77", "198.51.100.1", 80);
    assert_eq!(reasons(&blocked), ["10.1.0.1 source-not-allowed"]);
    let empty = Ruleset::default();
    let unprogrammed = explain(world.engine.snapshot(), &empty, &blocked.packet, &BTreeSet::new());
    assert_eq!(reasons(&unprogrammed), ["10.1.0.1 not-programmed"]);
}

#[test]
fn a_share_is_never_zero() {
    let slices = |n: u32| {
        let endpoints =
            (0..n).map(|at| SliceEndpoint::new((0x0a40_0000 + at).to_be_bytes().into(), EndpointPlace::default()));
        let slice = slice("shop/web-1").build();
        Event::SliceApplied(Decoded::Object(Arc::new(crate::state::EndpointSlice {
            endpoints: endpoints.collect(),
            ..(*slice).clone()
        })))
    };
    for (endpoints, share) in [(3, "33.3 %"), (2_500, "0.04 %"), (25_000, "< 0.01 %")] {
        let world = World::with([service("shop/web").into(), slices(endpoints)]);
        let explanation = explained(&world, "203.0.113.7", "10.96.0.1", 80);
        let said = text(&explanation, world.snapshot(), &ruleset(&world));
        assert!(said.starts_with(&format!("DELIVERED  to {endpoints} of {endpoints} endpoints, {share} each;")));
        assert!(said.contains(&format!("  {share}  ready (ready)\n")));
    }
}

#[test]
fn clients_of_node_ports_and_external_ips_are_not_told_of_a_load_balancer() {
    let Decoded::Object(web) = service("shop/web").node_port(30_080).external_ips(&["198.51.100.7"]).decoded() else {
        panic!("a Service")
    };
    let mut web = (*web).clone();
    web.load_balancer_ips = vec![ip("198.51.100.1")].into();
    (web.external_traffic_local, web.health_check_node_port) = (true, std::num::NonZeroU16::new(31_000));
    let here = Node { addresses: vec![ip("192.0.2.1")], ..Node::default() };
    let here = Node { name: crate::fixtures::name(NODE), ..here };
    let world = World::with([
        Event::NodeApplied(Decoded::Object(Arc::new(here))),
        Event::ServiceApplied(Decoded::Object(Arc::new(web))),
        slice("shop/web-1").endpoints("10.1.0.1 R r").into(),
    ]);
    for (to, dport, expected) in [
        ("198.51.100.1", 80, "the load balancer has to ask http://node-a:31000/healthz"),
        ("198.51.100.7", 80, "clients have to come to a node that has an endpoint"),
        ("192.0.2.1", 30_080, "clients have to come to a node that has an endpoint"),
    ] {
        let explanation = explained(&world, "203.0.113.7", to, dport);
        assert_eq!(explanation.reason, VerdictReason::NoLocalEndpoint, "{to}");
        let fix = explanation.fix(world.snapshot()).unwrap();
        assert!(fix.starts_with(expected), "{to}: {fix}");
    }
}
