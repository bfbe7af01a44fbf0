//! Which Services count, with which addresses and ports; and input as lenient as the API server stores it.

use super::check::{Unit, change, given};
use super::docs::{service, service_with_ingress, simple, slice};

/// The spec of a load balancer of both families; `$IP` is its ClusterIP.
const MIXED: &str = r#"{type: LoadBalancer, clusterIP: "$IP", clusterIPs: ["$IP"], externalIPs: ["198.51.100.1", "2001:db8::1"],
    loadBalancerSourceRanges: ["0.0.0.0/1", "2001:db8::/33"], ports: [{name: http, port: 80}]}"#;

const MIXED_INGRESS: &str = r#"[{ip: "203.0.113.1"}, {ip: "2001:db8:1::1"}]"#;

/// Sections Q and P, and what of section C packets do not show.
pub fn rows() -> Vec<Unit> {
    let mut rows = building();
    rows.extend(updates());
    rows.extend(cluster_ip_of_each_family());
    rows.extend(lists_of_addresses());
    rows.extend(lenient());
    rows
}

fn building() -> Vec<Unit> {
    let load_balancer = |ingress| {
        let spec = "{type: LoadBalancer, clusterIP: 172.16.55.11, loadBalancerIP: 5.6.7.8, \
                    ports: [{name: p, port: 8675, nodePort: 30061}]}";
        [service_with_ingress("ns/lb", spec, ingress)]
    };
    let with_vip = &["172.16.55.11:8675/tcp", "10.1.2.4:8675/tcp", "NodePort 30061/tcp (IPv4)"];
    let without_vip = &["172.16.55.11:8675/tcp", "NodePort 30061/tcp (IPv4)"];
    let mixed = |ip| [service_with_ingress("ns/mixed", &MIXED.replace("$IP", ip), MIXED_INGRESS)];
    let v4 = &["10.96.0.1:80/tcp", "203.0.113.1:80/tcp", "198.51.100.1:80/tcp"];
    let v6 = &["[fd00::1]:80/tcp", "[2001:db8:1::1]:80/tcp", "[2001:db8::1]:80/tcp"];
    let node_ports = "{type: NodePort, clusterIP: 172.16.55.10, ports: [{name: a, protocol: UDP, port: 345, nodePort: 30345}, \
                      {name: b, port: 344, nodePort: 30344}]}";
    let external_name = "{type: ExternalName, clusterIP: 172.16.55.10, externalName: foo, ports: [{port: 80}]}";
    let spaces = r#"{clusterIP: 10.96.0.1, externalIPs: [" 198.51.100.1", " "], ports: [{port: 80}]}"#;
    vec![
        given("Q1", []).frontends(&[]),
        given("Q2", [simple("ns/headless", "None", "rpc:UDP:1234")]).frontends(&[]),
        given("Q3", [simple("ns/headless", "None", "rpc:SCTP:1234")]).frontends(&[]),
        given("Q4", [simple("ns/headless", "None", "")]).frontends(&[]),
        given("Q5", [simple("ns/dns", "172.16.55.4", "something:UDP:1234 else:UDP:1235")])
            .frontends(&["172.16.55.4:1234/udp", "172.16.55.4:1235/udp"]),
        given("Q6", [service("ns/np", node_ports)]).frontends(&[
            "172.16.55.10:345/udp",
            "172.16.55.10:344/tcp",
            "NodePort 30345/udp (IPv4)",
            "NodePort 30344/tcp (IPv4)",
        ]),
        given("Q7", load_balancer("[{ip: 10.1.2.4}]")).frontends(with_vip),
        given("Q8", load_balancer("[{ip: 10.1.2.4, ipMode: VIP}]")).frontends(with_vip),
        given("Q9", load_balancer("[{ip: 10.1.2.4, ipMode: Proxy}]")).frontends(without_vip),
        given("Q9b", load_balancer("[{hostname: lb.example}, {ip: banana}]")).frontends(without_vip),
        given("Q11", [service("ns/named", external_name)]).frontends(&[]),
        given("Q12", [simple("ns/six", "fd00::7", "http:TCP:80")]).frontends(&["[fd00::7]:80/tcp"]),
        given("Q13", [simple("ns/four", "10.96.0.7", "http:TCP:80")]).frontends(&["10.96.0.7:80/tcp"]),
        // Of a Service of one family only the addresses of that family count.
        given("Q14", mixed("10.96.0.1")).frontends(v4),
        given("Q15", mixed("fd00::1")).frontends(v6),
        given("Q18", [service("ns/spaces", spaces)]).frontends(&["10.96.0.1:80/tcp", "198.51.100.1:80/tcp"]),
        given(
            "Q23",
            [simple("ns/a", "None", "p:TCP:1"), simple("ns/b", "", "p:TCP:2"), simple("ns/c", "10.96.0.3", "p:TCP:3")],
        )
        .frontends(&["10.96.0.3:3/tcp"]),
    ]
}

fn updates() -> Vec<Unit> {
    let four = || {
        [
            simple("ns/one", "172.16.55.4", "a:UDP:1234 b:UDP:1235"),
            simple("ns/two", "172.16.55.10", "a:UDP:345 b:UDP:344"),
            simple("ns/three", "172.16.55.11", "a:TCP:8675 b:TCP:8676"),
            simple("ns/four", "172.16.55.12", "a:TCP:8677 b:SCTP:8677 c:UDP:8677 d:TCP:80"),
        ]
    };
    let confined =
        "{type: LoadBalancer, externalTrafficPolicy: Local, clusterIP: 172.16.55.4, ports: [{name: a, port: 80}]}";
    let load_balancer = || service_with_ingress("ns/one", confined, "[{ip: 1.2.3.4}]");
    let plain = || simple("ns/one", "172.16.55.4", "a:TCP:80");
    let labelled = |label: &str| {
        plain().replace("name: one}", &format!("name: one, labels: {{{label}}}, resourceVersion: \"7\"}}"))
    };
    let many: Vec<&str> = vec![
        "172.16.55.4:1234/udp",
        "172.16.55.4:1235/udp",
        "172.16.55.10:345/udp",
        "172.16.55.10:344/udp",
        "172.16.55.11:8675/tcp",
        "172.16.55.11:8676/tcp",
        "172.16.55.12:8677/tcp",
        "172.16.55.12:8677/sctp",
        "172.16.55.12:8677/udp",
        "172.16.55.12:80/tcp",
    ];
    vec![
        change("Q19", [], four()).frontends(&many).touches(&["ns/four", "ns/one", "ns/three", "ns/two"]),
        change("Q20", four(), [simple("ns/one", "172.16.55.4", "a:UDP:1234")])
            .frontends(&["172.16.55.4:1234/udp"])
            .touches(&["ns/four", "ns/one", "ns/three", "ns/two"]),
        change("Q21", [plain()], [load_balancer()])
            .frontends(&["172.16.55.4:80/tcp", "1.2.3.4:80/tcp"])
            .touches(&["ns/one"]),
        change("Q21b", [load_balancer()], [load_balancer()]).touches(&[]).sends_nothing(),
        change("Q21c", [load_balancer()], [plain()]).frontends(&["172.16.55.4:80/tcp"]).touches(&["ns/one"]),
        change("Q22", [plain()], []).leaves_nothing(),
        // What a proxy does not read changes nothing.
        change("Q46", [plain()], [labelled("team: blue")]).touches(&[]).sends_nothing(),
        change("Q47", [plain()], [labelled("service.kubernetes.io/service-proxy-name: other")]).leaves_nothing(),
        change("Q48", [labelled("service.kubernetes.io/service-proxy-name: other")], [plain()])
            .frontends(&["172.16.55.4:80/tcp"]),
    ]
}

/// Which ClusterIP belongs to which family. Rows are pairs, one for each family: here both come of one object.
fn cluster_ip_of_each_family() -> Vec<Unit> {
    let of = |id, fields: &str, frontends: &[&str]| {
        given(id, [service("ns/s", &format!("{{{fields}, ports: [{{port: 80}}]}}"))]).frontends(frontends)
    };
    let (v4, v6) = ("10.96.0.1:80/tcp", "[fd00::1]:80/tcp");
    vec![
        of("Q24", "clusterIP: 10.96.0.1", &[v4]),
        of("Q26", "clusterIP: \"fd00::1\"", &[v6]),
        of("Q28", "clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ipFamilies: [IPv4]", &[v4]),
        of("Q30", "clusterIP: \"fd00::1\", clusterIPs: [\"fd00::1\"], ipFamilies: [IPv6]", &[v6]),
        of("Q32", "clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, \"fd00::1\"], ipFamilies: [IPv4, IPv6]", &[v4, v6]),
        of("Q34", "clusterIP: \"fd00::1\", clusterIPs: [\"fd00::1\", 10.96.0.1], ipFamilies: [IPv6, IPv4]", &[v4, v6]),
    ]
}

/// Lists of addresses, of which each family takes its own.
fn lists_of_addresses() -> Vec<Unit> {
    let of = |id, list: &str, frontends: &[&str]| {
        let spec = format!(
            "{{clusterIPs: [10.96.0.1, \"fd00::1\"], ipFamilies: [IPv4, IPv6], externalIPs: {list}, ports: [{{port: 80}}]}}"
        );
        let all = [&["10.96.0.1:80/tcp", "[fd00::1]:80/tcp"], frontends].concat();
        given(id, [service("ns/s", &spec)]).frontends(&all)
    };
    vec![
        of("Q36", "[]", &[]),
        of("Q38", "[\"2001:db8::1\"]", &["[2001:db8::1]:80/tcp"]),
        of("Q39", "[192.0.2.1]", &["192.0.2.1:80/tcp"]),
        of(
            "Q40",
            "[192.0.2.1, \"2001:db8::1\", 192.0.2.2, \"2001:db8::2\"]",
            &["192.0.2.1:80/tcp", "192.0.2.2:80/tcp", "[2001:db8::1]:80/tcp", "[2001:db8::2]:80/tcp"],
        ),
        of("Q42", "[192.0.2.1, banana, 192.0.2.1]", &["192.0.2.1:80/tcp"]),
    ]
}

fn lenient() -> Vec<Unit> {
    let spec = "{type: LoadBalancer, clusterIP: 172.30.0.041, externalIPs: [192.168.099.022], loadBalancerSourceRanges: \
                [203.0.113.000/025], ports: [{name: http, port: 80}]}";
    let objects = [
        service_with_ingress("ns/s", spec, "[{ip: 1.2.3.004}]"),
        slice("ns/s/1", "http:TCP:80", "10.180.00.001@node-a"),
    ];
    let protocols = [
        simple("ns/dns", "172.30.0.42", "dns-udp:UDP:53 dns-tcp:TCP:53 dns-sctp:SCTP:53"),
        slice("ns/dns/1", "dns-udp:UDP:53 dns-tcp:TCP:5353 dns-sctp:SCTP:53", "10.180.0.1@node-a 10.180.2.1@node-b"),
    ];
    vec![
        given("P10", objects).lines(&[
            "172.30.0.41:80/tcp 10.180.0.1:80",
            "1.2.3.4:80/tcp 10.180.0.1:80",
            "192.168.99.22:80/tcp 10.180.0.1:80",
        ]),
        given("C7", protocols).lines(&[
            "172.30.0.42:53/tcp 10.180.0.1:5353 10.180.2.1:5353",
            "172.30.0.42:53/udp 10.180.0.1:53 10.180.2.1:53",
            "172.30.0.42:53/sctp 10.180.0.1:53 10.180.2.1:53",
        ]),
    ]
}
