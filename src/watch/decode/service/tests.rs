use std::sync::Arc;

use super::*;

fn decode(json: &str) -> Result<Decoded<Service>, NotProxied> {
    Service::decode(serde_json::from_str(json).unwrap(), &mut Interner::default())
}

fn service(spec: &str) -> Arc<Service> {
    let json = format!(r#"{{"metadata":{{"name":"web","namespace":"shop"}},"spec":{spec}}}"#);
    match decode(&json) {
        Ok(Decoded::Object(service)) => service,
        other => panic!("{spec}: {other:?}"),
    }
}

fn ips(spec: &str) -> Vec<String> {
    service(spec).cluster_ips.iter().map(ToString::to_string).collect()
}

fn problems(spec: &str) -> Vec<(String, Reason, String)> {
    service(spec).problems.iter().map(|p| (p.field.clone(), p.reason, p.found.clone())).collect()
}

fn problem(field: &str, reason: Reason, found: &str) -> (String, Reason, String) {
    (field.to_owned(), reason, found.to_owned())
}

#[test]
fn a_whole_service_is_read() {
    let json = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop","labels":{"a":"b"},
        "creationTimestamp":"2026-01-02T03:04:05Z","managedFields":[{}]},"spec":{"type":"ClusterIP","clusterIP":
        "10.96.0.10","clusterIPs":["10.96.0.10","fd00::10"],"ipFamilies":["IPv4","IPv6"],"internalTrafficPolicy":
        "Local","sessionAffinity":"None","ports":[{"name":"http","port":80,"targetPort":"web"},{"name":"dns",
        "protocol":"UDP","port":53,"nodePort":30053}]},"status":{"loadBalancer":{}}}"#;
    let Ok(Decoded::Object(service)) = decode(json) else { panic!() };
    assert_eq!(service.name, ObjectName::new("shop", "web"));
    assert_eq!(service.created.unwrap().to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(service.cluster_ips, ["10.96.0.10".parse::<IpAddr>().unwrap(), "fd00::10".parse().unwrap()]);
    assert!(service.internal_traffic_local);
    let ports: Vec<_> = service.ports.iter().map(|p| (&*p.name, p.protocol.nft(), p.port)).collect();
    assert_eq!(ports, [("http", "tcp", 80), ("dns", "udp", 53)]);
    assert!(service.problems.is_empty());
}

#[test]
fn external_addresses_ranges_and_node_ports_are_read_and_bad_ones_named() {
    let json = r#"{"metadata":{"name":"web","namespace":"shop"},"spec":{"type":"LoadBalancer","clusterIP":"10.96.0.10",
        "externalTrafficPolicy":"Local","externalIPs":["198.51.100.1"," ","banana","0.0.0.0"],
        "loadBalancerSourceRanges":[" 203.0.113.7/25 ","x"],"sessionAffinity":"ClientIP",
        "ports":[{"port":80,"nodePort":30080},{"port":81,"nodePort":0},{"port":82,"nodePort":99999}]},
        "status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.9"},{"hostname":"lb"},{"ip":"198.51.100.8","ipMode":"Proxy"},
        {"ip":"127.0.0.1"},{"ip":"198.51.100.7","ipMode":"VIP"}]}}}"#;
    let Ok(Decoded::Object(service)) = decode(json) else { panic!() };
    let text = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(&service.external_ips), ["198.51.100.1"]);
    assert_eq!(text(&service.load_balancer_ips), ["198.51.100.9", "198.51.100.7"]);
    assert_eq!(*service.source_ranges, ["203.0.113.0/25".parse().unwrap()]);
    assert!(service.external_traffic_local);
    let node_ports: Vec<_> = service.ports.iter().map(|port| port.node_port.map(u16::from)).collect();
    assert_eq!(node_ports, [Some(30080), None, None]);
    let fields: Vec<_> = service.problems.iter().map(|problem| (problem.field.as_str(), problem.reason)).collect();
    assert_eq!(
        fields,
        [
            ("spec.ports[2].nodePort", Reason::BadPort),
            ("spec.externalIPs[2]", Reason::BadAddress),
            ("spec.externalIPs[3]", Reason::BadAddress),
            ("status.loadBalancer.ingress[3].ip", Reason::BadAddress),
            ("spec.loadBalancerSourceRanges[1]", Reason::BadAddress),
            ("spec.healthCheckNodePort", Reason::BadPort),
        ]
    );
}

#[test]
fn the_external_policy_counts_only_where_the_service_can_be_reached_from_outside() {
    for (more, local) in [
        (r#""type":"NodePort""#, true),
        (r#""type":"LoadBalancer""#, true),
        (r#""type":"ClusterIP""#, false),
        (r#""externalIPs":["198.51.100.1"]"#, true),
    ] {
        let spec = format!(r#"{{"clusterIP":"10.0.0.1","externalTrafficPolicy":"Local",{more}}}"#);
        assert_eq!(service(&spec).external_traffic_local, local, "{spec}");
    }
}

#[test]
fn session_affinity_lasts_as_long_as_asked_for_or_three_hours() {
    let affinity = |more: &str| {
        let spec = format!(r#"{{"clusterIP":"10.0.0.1","ports":[{{"port":80}}],{more}}}"#);
        (service(&spec).session_affinity.map(NonZeroU32::get), problems(&spec))
    };
    let config = |seconds: &str| {
        format!(r#""sessionAffinity":"ClientIP","sessionAffinityConfig":{{"clientIP":{{"timeoutSeconds":{seconds}}}}}"#)
    };
    assert_eq!(affinity(&config("90")), (Some(90), vec![]));
    assert_eq!(affinity(&config("86400")), (Some(86_400), vec![]));
    assert_eq!(affinity(r#""sessionAffinity":"ClientIP""#), (Some(10_800), vec![]));
    assert_eq!(affinity(&config("90").replace("ClientIP\"", "None\"")), (None, vec![]));
    for bad in ["0", "-1", "86401", "\"long\"", "99999999999"] {
        let (seconds, problems) = affinity(&config(bad));
        assert_eq!((seconds, problems.len()), (Some(10_800), 1), "{bad}: {problems:?}");
    }
}

#[test]
fn only_a_load_balancer_of_local_traffic_has_a_health_check_port() {
    let check = |kind: &str, policy: &str, port: &str| {
        let spec = format!(
            r#"{{"type":"{kind}","clusterIP":"10.0.0.1","externalTrafficPolicy":"{policy}"{port},"ports":[{{"port":80}}]}}"#
        );
        (service(&spec).health_check_node_port.map(NonZeroU16::get), problems(&spec))
    };
    let port = r#","healthCheckNodePort":32000"#;
    assert_eq!(check("LoadBalancer", "Local", port), (Some(32_000), vec![]));
    for (kind, policy) in [("LoadBalancer", "Cluster"), ("NodePort", "Local"), ("ClusterIP", "Local")] {
        assert_eq!(check(kind, policy, port), (None, vec![]), "{kind} {policy}");
    }
    for (port, found) in [
        (r#","healthCheckNodePort":0"#, "0"),
        (r#","healthCheckNodePort":70000"#, "70000"),
        (r#","healthCheckNodePort":"http""#, "http"),
        ("", "no value"),
    ] {
        let expected = problem("spec.healthCheckNodePort", Reason::BadPort, found);
        assert_eq!(check("LoadBalancer", "Local", port), (None, vec![expected]));
        assert_eq!(check("LoadBalancer", "Cluster", port), (None, vec![]), "ignored");
    }
}

#[test]
fn headless_external_and_foreign_services_are_not_proxied() {
    for json in [
        r#"{"metadata":{"name":"x","namespace":"n"},"spec":{"clusterIP":"None"}}"#,
        r#"{"metadata":{"name":"x","namespace":"n"},"spec":{"clusterIPs":["None"]}}"#,
        r#"{"metadata":{"name":"x","namespace":"n"},"spec":{"type":"ExternalName","clusterIP":"10.0.0.1"}}"#,
        r#"{"metadata":{"name":"x","namespace":"n","labels":{"service.kubernetes.io/service-proxy-name":""}},
            "spec":{"clusterIP":"10.0.0.1"}}"#,
    ] {
        assert_eq!(decode(json), Err(NotProxied(ObjectName::new("n", "x"))), "{json}");
    }
}

#[test]
fn a_service_without_a_cluster_ip_is_there_and_says_so() {
    for (spec, field, found) in [
        (r#"{"ports":[{"port":80}]}"#, "spec.clusterIP", "no value"),
        (r#"{"clusterIP":"","ports":[{"port":80}]}"#, "spec.clusterIP", r#""""#),
        (r#"{"clusterIP":null,"clusterIPs":[],"ports":[{"port":80}]}"#, "spec.clusterIP", "no value"),
        (
            r#"{"clusterIP":"","clusterIPs":[""],"ipFamilies":["IPv4"],"ports":[{"port":80}]}"#,
            "spec.clusterIPs[0]",
            r#""""#,
        ),
        (r#"{"clusterIp":"10.0.0.1","type":"NodePort","ports":[{"port":80}]}"#, "spec.clusterIP", "no value"),
    ] {
        assert_eq!(problems(spec), [problem(field, Reason::BadAddress, found)], "{spec}");
        assert!(service(spec).cluster_ips.is_empty(), "{spec}");
    }
    let nothing = r#"{"metadata":{"name":"x","namespace":"n"}}"#;
    let Ok(Decoded::Object(nothing)) = decode(nothing) else { panic!("{nothing}") };
    assert_eq!(nothing.problems[0].field, "spec.clusterIP");
}

#[test]
fn each_family_takes_its_first_cluster_ip() {
    let none: &[&str] = &[];
    for (spec, expected) in [
        (r#"{"clusterIP":"10.0.0.1"}"#, &["10.0.0.1"] as &[&str]),
        (r#"{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"]}"#, &["10.0.0.1"]),
        (r#"{"clusterIPs":["fd00::1"]}"#, &["fd00::1"]),
        (r#"{"clusterIP":"10.0.0.1","ipFamilies":["IPv4"]}"#, &["10.0.0.1"]),
        (
            r#"{"clusterIP":"fd00::1","clusterIPs":["fd00::1","10.0.0.1"],"ipFamilies":["IPv6","IPv4"]}"#,
            &["fd00::1", "10.0.0.1"],
        ),
        (r#"{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"],"ipFamilies":["IPv4"]}"#, &["10.0.0.1"]),
        (
            r#"{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","10.0.0.2"],"ipFamilies":["IPv4","IPv4"]}"#,
            &["10.0.0.1"],
        ),
        (r#"{"clusterIP":"172.30.0.041"}"#, &["172.30.0.41"]),
        (r#"{"clusterIP":"banana"}"#, none),
    ] {
        assert_eq!(ips(spec), expected, "{spec}");
    }
}

#[test]
fn a_bad_cluster_ip_is_named_and_the_other_family_works() {
    let spec =
        r#"{"clusterIP":"banana","clusterIPs":["banana","fd00::1"],"ipFamilies":["IPv4","IPv6"],"ports":[{"port":1}]}"#;
    assert_eq!(ips(spec), ["fd00::1"]);
    assert_eq!(problems(spec), [problem("spec.clusterIPs[0]", Reason::BadAddress, "banana")]);
    let spec = r#"{"clusterIP":"127.0.0.1","ports":[{"port":1}]}"#;
    assert_eq!(problems(spec), [problem("spec.clusterIP", Reason::BadAddress, "127.0.0.1")]);
    let spec = r#"{"clusterIPs":["10.0.0.1"],"ipFamilies":["IPv5"],"ports":[{"port":1}]}"#;
    assert_eq!(problems(spec), [problem("spec.ipFamilies[0]", Reason::UnsupportedAddressType, "IPv5")]);
}

#[test]
fn a_bad_port_costs_only_itself() {
    let spec = r#"{"clusterIP":"10.0.0.1","ports":[{"port":99999},{"port":"http"},{"port":0},{"port":-1},{"port":80.5},
        {"port":null},"x",{"port":{}},{"port":53,"protocol":"ICMP"},{"name":"good","port":443}]}"#;
    assert_eq!(service(spec).ports.len(), 1);
    assert_eq!(
        problems(spec),
        [
            problem("spec.ports[0].port", Reason::BadPort, "99999"),
            problem("spec.ports[1].port", Reason::BadPort, "http"),
            problem("spec.ports[2].port", Reason::BadPort, "0"),
            problem("spec.ports[3].port", Reason::BadPort, "-1"),
            problem("spec.ports[4].port", Reason::BadPort, "80.5"),
            problem("spec.ports[5].port", Reason::BadPort, "no value"),
            problem("spec.ports[6]", Reason::BadPort, "x"),
            problem("spec.ports[7].port", Reason::BadPort, "an object"),
            problem("spec.ports[8].protocol", Reason::BadProtocol, "ICMP"),
        ]
    );
}

#[test]
fn a_service_without_ports_is_kept_and_named() {
    let no_ports = problem("spec.ports", Reason::NoPorts, "no ports");
    for spec in [r#"{"clusterIP":"10.0.0.1"}"#, r#"{"clusterIP":"10.0.0.1","ports":[]}"#] {
        assert_eq!(problems(spec), std::slice::from_ref(&no_ports));
    }
}

#[test]
fn an_object_without_a_name_or_a_spec_is_unreadable() {
    let unreadable = |json| match decode(json) {
        Ok(Decoded::Unreadable(unreadable)) => (unreadable.0, unreadable.1.field),
        other => panic!("{json}: {other:?}"),
    };
    assert_eq!(unreadable("{}").1, "metadata.name");
    let spec = unreadable(r#"{"metadata":{"name":"x"},"spec":7}"#);
    assert_eq!(spec, (ObjectName::new("default", "x"), "spec".to_owned()));
}

#[test]
fn a_dropped_source_range_says_when_none_is_left() {
    let problem = |ranges: &str, status: &str| {
        let json = format!(
            r#"{{"metadata":{{"name":"web"}},"spec":{{"type":"LoadBalancer","clusterIP":"10.0.0.1","ports":[{{"port":80}}],
            "loadBalancerSourceRanges":{ranges}}},"status":{{"loadBalancer":{{"ingress":[{status}]}}}}}}"#
        );
        let decoded = Service::decode(serde_json::from_str(&json).unwrap(), &mut Interner::default());
        let Ok(Decoded::Object(service)) = decoded else { panic!("{json}: {decoded:?}") };
        service.problems.iter().map(|problem| problem.found.clone()).collect::<Vec<_>>()
    };
    let (v4, v6) = (r#"{"ip":"203.0.113.1"}"#, r#"{"ip":"2001:db8::1"}"#);
    let open = "; no range is left, so the load-balancer IPs are open to all sources over";
    assert_eq!(problem(r#"["banana"]"#, v4), [format!("banana{open} IPv4")]);
    assert_eq!(problem(r#""10.0.0.0/8""#, v6), [format!("10.0.0.0/8{open} IPv6")]);
    assert_eq!(problem(r#"["10.0.0.0/8","banana"]"#, v4), ["banana"]);
    assert_eq!(problem(r#"["10.0.0.0/8","banana"]"#, &format!("{v4},{v6}")), [format!("banana{open} IPv6")]);
    assert_eq!(problem(r#"["10.0.0.0/8"]"#, v6), [""; 0], "as written");
}

#[test]
fn a_port_without_a_protocol_is_a_tcp_port_however_that_is_written() {
    for protocol in ["", r#","protocol":null"#, r#","protocol":"""#, r#","protocol":"TCP""#] {
        let spec = format!(r#"{{"clusterIP":"10.96.0.10","ports":[{{"port":80{protocol}}}]}}"#);
        let service = service(&spec);
        let ports: Vec<_> = service.ports.iter().map(|port| (port.protocol.nft(), port.port)).collect();
        assert_eq!((ports, service.problems.len()), (vec![("tcp", 80)], 0), "{protocol}");
    }
    for protocol in [r#"" ""#, r#""ICMP""#, "6", "[]"] {
        let spec = format!(r#"{{"clusterIP":"10.96.0.10","ports":[{{"port":80,"protocol":{protocol}}}]}}"#);
        assert_eq!(service(&spec).ports.len(), 0, "{protocol}");
        assert_eq!(problems(&spec)[0].1, Reason::BadProtocol, "{protocol}");
    }
}

#[test]
fn values_that_a_field_does_not_know_are_named_and_the_default_holds() {
    let spec = r#"{"type":"Foo","clusterIP":"10.96.0.1","sessionAffinity":"clientip","internalTrafficPolicy":"local",
        "externalTrafficPolicy":7,"ports":[{"port":80},{"port":"81"}]}"#;
    let expected = [
        problem("spec.type", Reason::UnknownValue, "Foo"),
        problem("spec.sessionAffinity", Reason::UnknownValue, "clientip"),
        problem("spec.internalTrafficPolicy", Reason::UnknownValue, "local"),
        problem("spec.externalTrafficPolicy", Reason::UnknownValue, "7"),
        problem("spec.ports[1].port", Reason::BadPort, "\"81\", a text in quotes,"),
    ];
    assert_eq!(problems(spec), expected);
    let service = service(spec);
    assert!(!service.internal_traffic_local && service.session_affinity.is_none());
    let known = r#"{"type":"","clusterIP":"10.96.0.1","sessionAffinity":null,"internalTrafficPolicy":"","ports":[{"port":80}]}"#;
    assert_eq!(problems(known), []);
}

#[test]
fn a_cluster_ip_that_is_not_used_is_named() {
    let lacks = |spec: &str| problems(spec).into_iter().map(|(field, _, found)| (field, found)).collect::<Vec<_>>();
    let without = r#"{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00::1"],"ports":[{"port":80}]}"#;
    let expected = ("spec.clusterIPs[1]".to_owned(), "fd00::1; spec.ipFamilies is missing".to_owned());
    assert_eq!(lacks(without), [expected]);
    let short = r#"{"clusterIPs":["10.96.0.1","fd00::1"],"ipFamilies":["IPv4"],"ports":[{"port":80}]}"#;
    let expected = ("spec.clusterIPs[1]".to_owned(), "fd00::1; spec.ipFamilies has no entry for it".to_owned());
    assert_eq!(lacks(short), [expected]);
}
