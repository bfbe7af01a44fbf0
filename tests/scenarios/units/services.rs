//! Which Services count, with which addresses and ports; and input as lenient as the API server stores it.

use super::check::{Unit, change, given};
use super::docs::{service, service_with_ingress, simple, slice};

/// The spec of a load balancer of both families; `$IP` is its ClusterIP.
const MIXED: &str = r#"{type: LoadBalancer, clusterIP: "$IP", clusterIPs: ["$IP"], externalIPs: ["198.51.100.1", "2001:db8::1"],
    loadBalancerSourceRanges: ["0.0.0.0/1", "2001:db8::/33"], ports: [{name: http, port: 80}]}"#;

const MIXED_INGRESS: &str = r#"[{ip: "203.0.113.1"}, {ip: "2001:db8:1::1"}]"#;

/// The rows.
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
        given("no objects give no frontends", []).frontends(&[]),
        given("a headless Service over UDP has no frontends", [simple("ns/headless", "None", "rpc:UDP:1234")])
            .frontends(&[]),
        given("a headless Service over SCTP has no frontends", [simple("ns/headless", "None", "rpc:SCTP:1234")])
            .frontends(&[]),
        given("a headless Service without ports has no frontends", [simple("ns/headless", "None", "")]).frontends(&[]),
        given(
            "each port of a ClusterIP is a frontend",
            [simple("ns/dns", "172.16.55.4", "something:UDP:1234 else:UDP:1235")],
        )
        .frontends(&["172.16.55.4:1234/udp", "172.16.55.4:1235/udp"]),
        given("each NodePort is a frontend beside that of its ClusterIP", [service("ns/np", node_ports)]).frontends(&[
            "172.16.55.10:345/udp",
            "172.16.55.10:344/tcp",
            "NodePort 30345/udp (IPv4)",
            "NodePort 30344/tcp (IPv4)",
        ]),
        given("a load-balancer IP is a frontend", load_balancer("[{ip: 10.1.2.4}]")).frontends(with_vip),
        given("a load-balancer IP of mode VIP is a frontend", load_balancer("[{ip: 10.1.2.4, ipMode: VIP}]"))
            .frontends(with_vip),
        given("a load-balancer IP of mode Proxy is no frontend", load_balancer("[{ip: 10.1.2.4, ipMode: Proxy}]"))
            .frontends(without_vip),
        given(
            "a hostname or an unreadable IP of a load balancer is no frontend",
            load_balancer("[{hostname: lb.example}, {ip: banana}]"),
        )
        .frontends(without_vip),
        given("an ExternalName Service has no frontends", [service("ns/named", external_name)]).frontends(&[]),
        given("a Service of IPv6 has its ClusterIP", [simple("ns/six", "fd00::7", "http:TCP:80")])
            .frontends(&["[fd00::7]:80/tcp"]),
        given("a Service of IPv4 has its ClusterIP", [simple("ns/four", "10.96.0.7", "http:TCP:80")])
            .frontends(&["10.96.0.7:80/tcp"]),
        // Of a Service of one family only the addresses of that family count.
        given("a Service of IPv4 has its IPv4 addresses only", mixed("10.96.0.1")).frontends(v4),
        given("a Service of IPv6 has its IPv6 addresses only", mixed("fd00::1")).frontends(v6),
        given("spaces around an external IP do not matter", [service("ns/spaces", spaces)])
            .frontends(&["10.96.0.1:80/tcp", "198.51.100.1:80/tcp"]),
        given(
            "a Service without a ClusterIP has no frontends and others keep theirs",
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
        change("four Services that are added have all their frontends", [], four())
            .frontends(&many)
            .touches(&["ns/four", "ns/one", "ns/three", "ns/two"]),
        change(
            "three Services that are removed lose their frontends and so does a removed port",
            four(),
            [simple("ns/one", "172.16.55.4", "a:UDP:1234")],
        )
        .frontends(&["172.16.55.4:1234/udp"])
        .touches(&["ns/four", "ns/one", "ns/three", "ns/two"]),
        change("a Service that becomes a load balancer gets its load-balancer IP", [plain()], [load_balancer()])
            .frontends(&["172.16.55.4:80/tcp", "1.2.3.4:80/tcp"])
            .touches(&["ns/one"]),
        change("a load balancer that is listed again changes nothing", [load_balancer()], [load_balancer()])
            .touches(&[])
            .sends_nothing(),
        change(
            "a load balancer that becomes a ClusterIP Service loses its load-balancer IP",
            [load_balancer()],
            [plain()],
        )
        .frontends(&["172.16.55.4:80/tcp"])
        .touches(&["ns/one"]),
        change("a removed Service leaves nothing", [plain()], []).leaves_nothing(),
        // What a proxy does not read changes nothing.
        change("a label of no meaning to the proxy changes nothing", [plain()], [labelled("team: blue")])
            .touches(&[])
            .sends_nothing(),
        change(
            "a label that names another proxy removes the Service",
            [plain()],
            [labelled("service.kubernetes.io/service-proxy-name: other")],
        )
        .leaves_nothing(),
        change(
            "a Service whose label of another proxy goes gets its frontends",
            [labelled("service.kubernetes.io/service-proxy-name: other")],
            [plain()],
        )
        .frontends(&["172.16.55.4:80/tcp"]),
    ]
}

/// Which ClusterIP belongs to which family. Rows are pairs, one for each family: here both come of one object.
fn cluster_ip_of_each_family() -> Vec<Unit> {
    let service_with = |name, fields: &str, frontends: &[&str]| {
        given(name, [service("ns/s", &format!("{{{fields}, ports: [{{port: 80}}]}}"))]).frontends(frontends)
    };
    let (v4, v6) = ("10.96.0.1:80/tcp", "[fd00::1]:80/tcp");
    vec![
        service_with("clusterIP alone gives IPv4", "clusterIP: 10.96.0.1", &[v4]),
        service_with("clusterIP alone gives IPv6", "clusterIP: \"fd00::1\"", &[v6]),
        service_with(
            "clusterIPs and families of IPv4 give IPv4",
            "clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ipFamilies: [IPv4]",
            &[v4],
        ),
        service_with(
            "clusterIPs and families of IPv6 give IPv6",
            "clusterIP: \"fd00::1\", clusterIPs: [\"fd00::1\"], ipFamilies: [IPv6]",
            &[v6],
        ),
        service_with(
            "clusterIPs of both families with IPv4 first give both",
            "clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, \"fd00::1\"], ipFamilies: [IPv4, IPv6]",
            &[v4, v6],
        ),
        service_with(
            "clusterIPs of both families with IPv6 first give both",
            "clusterIP: \"fd00::1\", clusterIPs: [\"fd00::1\", 10.96.0.1], ipFamilies: [IPv6, IPv4]",
            &[v4, v6],
        ),
    ]
}

/// Lists of addresses, of which each family takes its own.
fn lists_of_addresses() -> Vec<Unit> {
    let listed = |name, list: &str, frontends: &[&str]| {
        let spec = format!(
            "{{clusterIPs: [10.96.0.1, \"fd00::1\"], ipFamilies: [IPv4, IPv6], externalIPs: {list}, ports: [{{port: 80}}]}}"
        );
        let all = [&["10.96.0.1:80/tcp", "[fd00::1]:80/tcp"], frontends].concat();
        given(name, [service("ns/s", &spec)]).frontends(&all)
    };
    vec![
        listed("an empty list of external IPs gives none", "[]", &[]),
        listed("an external IP of IPv6 is a frontend", "[\"2001:db8::1\"]", &["[2001:db8::1]:80/tcp"]),
        listed("an external IP of IPv4 is a frontend", "[192.0.2.1]", &["192.0.2.1:80/tcp"]),
        listed(
            "external IPs of both families are all frontends",
            "[192.0.2.1, \"2001:db8::1\", 192.0.2.2, \"2001:db8::2\"]",
            &["192.0.2.1:80/tcp", "192.0.2.2:80/tcp", "[2001:db8::1]:80/tcp", "[2001:db8::2]:80/tcp"],
        ),
        listed(
            "an unreadable external IP and a repeated one are left out",
            "[192.0.2.1, banana, 192.0.2.1]",
            &["192.0.2.1:80/tcp"],
        ),
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
        given("addresses with leading zeros are read as decimal numbers", objects).lines(&[
            "172.30.0.41:80/tcp 10.180.0.1:80",
            "1.2.3.4:80/tcp 10.180.0.1:80",
            "192.168.99.22:80/tcp 10.180.0.1:80",
        ]),
        given("ports of one number over TCP and UDP and SCTP lead to their own target ports", protocols).lines(&[
            "172.30.0.42:53/tcp 10.180.0.1:5353 10.180.2.1:5353",
            "172.30.0.42:53/udp 10.180.0.1:53 10.180.2.1:53",
            "172.30.0.42:53/sctp 10.180.0.1:53 10.180.2.1:53",
        ]),
    ]
}
