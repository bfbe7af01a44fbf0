use super::*;

#[test]
fn destinations_are_parsed_and_others_are_refused() {
    for text in
        ["10.96.0.1:80/tcp", "10.96.0.1", "[fd00::1]:80", "fd00::1", "shop/web", "shop/web:http/udp", "node:30080"]
    {
        assert!(Destination::parse(text).is_ok(), "{text}");
    }
    for text in ["", "web", "/web", "shop/", "a/b/c/", "10.96.0.1:x", "shop/web:80/foo"] {
        assert!(Destination::parse(text).is_err(), "{text}");
    }
    let world = web();
    let ask = |to: &str, from: &str| {
        let sender = Sender::parse(from).unwrap();
        let host = BTreeSet::from([ip("192.0.2.1")]);
        let packet = Destination::parse(to)?.packet(&sender, world.engine.snapshot(), &Options::default(), &host)?;
        Ok::<_, String>((packet.daddr.to_string(), packet.dport, packet.iif.is_some()))
    };
    assert_eq!(ask("shop/web:http", "pod"), Ok(("10.96.0.1".to_owned(), 80, true)));
    assert_eq!(ask("10.96.0.2", "node"), Ok(("10.96.0.2".to_owned(), 80, false)));
    assert_eq!(ask("10.96.0.2:81", "192.0.2.1"), Ok(("10.96.0.2".to_owned(), 81, false)));
    assert!(ask("shop/unknown:80", "outside").unwrap_err().contains("no Service shop/unknown"));
    assert!(Sender::parse("somewhere").is_err());
}

#[test]
fn a_port_that_is_none_is_told_with_those_that_there_are() {
    let ports: Vec<String> = (1..=5_000).map(|n| format!("p{n} {n}/tcp")).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let world = World::with([
        service("shop/web").ports(&["http 80/tcp", "dns 53/udp"]).into(),
        service("shop/large").ips(&["10.96.0.2"]).ports(&ports).into(),
    ]);
    let refusal = |to: &str| {
        let ask = |to: &str| {
            let options = Options::default();
            Destination::parse(to)?.packet(&Sender::Outside, world.engine.snapshot(), &options, &BTreeSet::new())
        };
        ask(to).unwrap_err()
    };
    let ten = "1/tcp, 2/tcp, 3/tcp, 4/tcp, 5/tcp, 6/tcp, 7/tcp, 8/tcp, 9/tcp, 10/tcp and 4990 more";
    for (to, expected) in [
        ("shop/web:foo", "Service shop/web has no port foo; it has http 80/tcp, dns 53/udp".to_owned()),
        ("shop/web:http/udp", "Service shop/web has no port http/udp; it has http 80/tcp, dns 53/udp".to_owned()),
        ("shop/web/sctp", "Service shop/web has no sctp port; it has http 80/tcp, dns 53/udp".to_owned()),
        ("shop/web:80/foo", "\"foo\" is no protocol: expected tcp, udp or sctp, as in shop/web:80/tcp".to_owned()),
        ("10.96.0.1/foo", "\"foo\" is no protocol: expected tcp, udp or sctp, as in 10.96.0.1/tcp".to_owned()),
        ("shop/large", format!("Service shop/large has several ports: name one of {ten}")),
        ("10.96.0.2", format!("10.96.0.2 has several ports: name one of {ten}")),
        ("fd00::1:80", "no Service has fd00::1:80: name a port, as in [fd00::1]:80/tcp".to_owned()),
        ("fd00::a", "no Service has fd00::a: name a port, as in [fd00::a]:80/tcp".to_owned()),
        ("10.96.0.9", "no Service has 10.96.0.9: name a port, as in 10.96.0.9:80/tcp".to_owned()),
    ] {
        assert_eq!(refusal(to), expected);
    }
}
