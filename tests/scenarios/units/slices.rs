//! How the slices of a Service merge, and which changes of endpoints concern it.

use super::check::{Unit, again, change, given};
use super::docs::{simple, slice};

/// A Service with two ports.
fn web() -> String {
    simple("ns/web", "10.96.0.1", "http:TCP:80 https:TCP:443")
}

/// A Service with one port.
fn one() -> String {
    simple("ns/web", "10.96.0.1", "http:TCP:80")
}

/// Section R.
pub fn merging() -> Vec<Unit> {
    let http = |name, endpoints| slice(name, "http:TCP:80", endpoints);
    let both = |name, endpoints| slice(name, "http:TCP:80 https:TCP:443", endpoints);
    let confined = || one().replace("clusterIP:", "internalTrafficPolicy: Local, clusterIP:");
    let first = "10.1.0.1@node-a 10.1.0.2@node-a 10.1.0.3@node-b";
    let second = "10.2.0.1@node-a 10.2.0.2@node-b";
    vec![
        given("R1", [web(), both("ns/web/1", first)]).lines(&[
            "10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80 10.1.0.3:80",
            "10.96.0.1:443/tcp 10.1.0.1:443 10.1.0.2:443 10.1.0.3:443",
        ]),
        given("R1b", [confined(), http("ns/web/1", first)]).lines(&["10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80"]),
        given("R2", [one(), http("ns/web/1", first), http("ns/web/2", second)])
            .lines(&["10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80 10.1.0.3:80 10.2.0.1:80 10.2.0.2:80"]),
        change(
            "R3",
            [one(), http("ns/web/1", "10.1.0.1@node-a")],
            [one(), http("ns/web/1", "10.1.0.2@node-a 10.1.0.3@node-a")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.2:80 10.1.0.3:80"]),
        given("R4", [one(), http("ns/web/1", "10.1.0.1@node-a!n 10.1.0.10@node-a 10.1.0.2@node-a")])
            .lines(&["10.96.0.1:80/tcp 10.1.0.2:80 10.1.0.10:80"]),
        given("R5", [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a!n 10.1.0.3@node-a!t")])
            .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"]),
        given("R6", [one(), http("ns/web/1", "10.1.0.1@node-a!n 10.1.0.2@node-a!n")])
            .lines(&["10.96.0.1:80/tcp refused"]),
        given(
            "R7",
            [
                one(),
                http("ns/web/1", "10.1.0.1@node-a"),
                http("ns/other/1", "10.3.0.1@node-a"),
                http("ns2/web/1", "10.4.0.1@node-a"),
            ],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"]),
        given("R8", [web(), both("ns/web/1", "10.1.0.1@node-a").replace("port: 80}", "port: null}")])
            .lines(&["10.96.0.1:80/tcp refused", "10.96.0.1:443/tcp 10.1.0.1:443"]),
        given(
            "R9",
            [
                one(),
                http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a"),
                slice("ns/web/2", "http:TCP:8080", "10.1.0.1@node-a 10.1.0.2@node-a"),
            ],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.1:8080 10.1.0.2:80 10.1.0.2:8080"]),
        // Terminating in two slices and ready in one: ready, in whatever order they come.
        given(
            "R10",
            [
                one(),
                http("ns/web/1", "10.1.0.1@node-a!t"),
                http("ns/web/2", "10.1.0.1@node-a"),
                http("ns/web/3", "10.1.0.1@node-a!d 10.1.0.2@node-a!t"),
            ],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"]),
        change("R11", [one(), http("ns/web/1", first)], [one(), http("ns/web/1", first)]).touches(&[]).sends_nothing(),
        // Another order is looked at, and found to be the same.
        change(
            "R12",
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a")],
            [one(), http("ns/web/1", "10.1.0.2@node-a 10.1.0.1@node-a")],
        )
        .sends_nothing(),
        change(
            "R12b",
            [web(), both("ns/web/1", first)],
            [web(), slice("ns/web/1", "https:TCP:443 http:TCP:80", first)],
        )
        .sends_nothing(),
        change("R13", [web(), http("ns/web/1", "10.1.0.1@node-a")], [web(), both("ns/web/1", "10.1.0.1@node-a")])
            .lines(&["10.96.0.1:80/tcp 10.1.0.1:80", "10.96.0.1:443/tcp 10.1.0.1:443"])
            .touches(&["ns/web"]),
        change("R13b", [web(), both("ns/web/1", "10.1.0.1@node-a")], [web(), http("ns/web/1", "10.1.0.1@node-a")])
            .lines(&["10.96.0.1:80/tcp 10.1.0.1:80", "10.96.0.1:443/tcp refused"])
            .touches(&["ns/web"]),
        change(
            "R13c",
            [one(), http("ns/web/1", "10.1.0.1@node-a")],
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-b")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80"])
        .touches(&["ns/web"]),
        change("R14", [one(), http("ns/web/1", first)], []).leaves_nothing(),
        change("R14b", [one(), http("ns/web/1", first), http("ns/web/2", second)], []).leaves_nothing(),
        change("R14c", [one(), http("ns/web/1", first), http("ns/api/1", second)], []).leaves_nothing(),
        change("R14d", [one(), http("ns/web/1", first), http("ns2/web/1", second)], []).leaves_nothing(),
        change(
            "R15",
            [one(), http("ns/web/1", first), http("ns/web/2", "10.2.0.1@node-a")],
            [one(), http("ns/web/2", "10.2.0.1@node-a")],
        )
        .lines(&["10.96.0.1:80/tcp 10.2.0.1:80"]),
        given(
            "R17",
            [
                one(),
                http("ns/web/1", "10.1.0.1@node-a"),
                http("ns/web/2", "10.2.0.1@node-a").replace("addressType: IPv4", "addressType: FQDN"),
            ],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"]),
        change(
            "R18",
            [confined(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a"), http("ns/web/2", "10.2.0.1@node-a")],
            [confined(), http("ns/web/1", "10.1.0.2@node-b 10.1.0.3@node-a"), http("ns/web/2", "10.2.0.1@node-a")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.3:80 10.2.0.1:80"]),
        given(
            "R19",
            [
                web(),
                both("ns/web/1", "10.1.0.1@node-a"),
                both("ns/web/2", "10.1.0.2@node-a"),
                http("ns/web/3", "10.1.0.3@node-a"),
            ],
        )
        .lines(&[
            "10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80 10.1.0.3:80",
            "10.96.0.1:443/tcp 10.1.0.1:443 10.1.0.2:443",
        ]),
        change(
            "R22",
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a")],
            [one(), http("ns/web/1", "10.1.0.1@node-a!n 10.1.0.2@node-a!n")],
        )
        .lines(&["10.96.0.1:80/tcp refused"])
        .touches(&["ns/web"]),
        change(
            "R22b",
            [one(), http("ns/web/1", "10.1.0.1@node-a!n 10.1.0.2@node-a!n")],
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a!n")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"])
        .touches(&["ns/web"]),
        change(
            "R22c",
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a")],
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a!t")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"])
        .touches(&["ns/web"]),
        change("R23", [one()], [one()]).touches(&[]).sends_nothing(),
        change("R24", [one()], [one(), http("ns/web/1", "10.1.0.1@node-a")])
            .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"])
            .touches(&["ns/web"]),
        // A slice that moves to another Service leaves the one it belonged to.
        change(
            "R26",
            [one(), http("ns/web/1", "10.1.0.1@node-a")],
            [one(), http("ns/web/1", "10.1.0.1@node-a").replace("service-name: web", "service-name: api")],
        )
        .lines(&["10.96.0.1:80/tcp refused"]),
        change(
            "R27",
            [one(), http("ns/web/1", "10.1.0.1@node-a")],
            [one(), http("ns/web/1", "10.1.0.1@node-a").replace("metadata: {", "metadata: {resourceVersion: \"7\", ")],
        )
        .touches(&[])
        .sends_nothing(),
    ]
}

/// Section S: whether a change concerns the Service at all. (kube-proxy asks here whether old UDP flows must be looked at.)
pub fn changes() -> Vec<Unit> {
    let dns = || simple("ns/dns", "10.96.0.53", "p11:UDP:11 p12:UDP:12");
    let two = |first: &str, second: &str| {
        [dns(), simple("ns/dns2", "10.96.0.54", "p21:UDP:21"), first.to_owned(), second.to_owned()]
    };
    let of = |ports, endpoints| slice("ns/dns/1", ports, endpoints);
    let other = |ports, endpoints| slice("ns/dns2/1", ports, endpoints);
    let p11 = "p11:UDP:11";
    let a = "1.1.1.1@node-a";
    let same = |id, objects| again(id, objects).touches(&[]).sends_nothing();
    vec![
        same("S1", vec![]),
        same("S2", vec![dns(), of(p11, a)]),
        same("S3", vec![dns(), of(p11, a), slice("ns/dns/2", "p12:UDP:12", "1.1.1.2@node-a")]),
        same("S4", vec![dns(), of("p11:UDP:11 p12:UDP:12", "1.1.1.1@node-a 1.1.1.2@node-b")]),
        same("S5", two(&of(p11, a), &other("p21:UDP:21", "2.2.2.2@node-a")).into()),
        change("S6", [dns()], [dns(), of(p11, a)]).touches(&["ns/dns"]),
        change("S7", [dns(), of(p11, a)], [dns()]).touches(&["ns/dns"]),
        change("S8", [dns(), of(p11, a)], [dns(), of("p11:UDP:11 p12:UDP:12", "1.1.1.1@node-a 1.1.1.2@node-a")])
            .touches(&["ns/dns"]),
        change("S9", [dns(), of("p11:UDP:11 p12:UDP:12", "1.1.1.1@node-a 1.1.1.2@node-a")], [dns(), of(p11, a)])
            .touches(&["ns/dns"]),
        change("S10", [dns(), of(p11, a)], [dns(), of(p11, a), slice("ns/dns/2", "p12:UDP:12", "2.2.2.2@node-b")])
            .touches(&["ns/dns"])
            .lines(&["10.96.0.53:11/udp 1.1.1.1:11", "10.96.0.53:12/udp 2.2.2.2:12"]),
        change("S11", [dns(), of(p11, a), slice("ns/dns/2", "p12:UDP:12", "2.2.2.2@node-b")], [dns(), of(p11, a)])
            .touches(&["ns/dns"])
            .lines(&["10.96.0.53:11/udp 1.1.1.1:11", "10.96.0.53:12/udp refused"]),
        change("S12", [dns(), of(p11, a)], [dns(), of("p12:UDP:11", a)])
            .touches(&["ns/dns"])
            .lines(&["10.96.0.53:11/udp refused", "10.96.0.53:12/udp 1.1.1.1:11"]),
        change("S13", [dns(), of(p11, a)], [dns(), of("p11:UDP:22", a)])
            .touches(&["ns/dns"])
            .lines(&["10.96.0.53:11/udp 1.1.1.1:22", "10.96.0.53:12/udp refused"]),
        change(
            "S14",
            two(&of(p11, a), &other("p21:UDP:21", "2.2.2.2@node-a")),
            two(&of(p11, "1.1.1.1@node-a 1.1.1.2@node-b"), &other("p21:UDP:21", "2.2.2.3@node-a")),
        )
        .touches(&["ns/dns", "ns/dns2"]),
        change("S15", [dns(), of("", "")], [dns(), of(p11, a)]).touches(&["ns/dns"]),
        change("S16", [dns(), of(p11, a)], [dns(), of(p11, "1.1.1.1@node-a!t")])
            .touches(&["ns/dns"])
            .lines(&["10.96.0.53:11/udp 1.1.1.1:11", "10.96.0.53:12/udp refused"]),
        change("S17", [dns(), of(p11, "1.1.1.1@node-a!t")], [dns(), of(p11, "")])
            .touches(&["ns/dns"])
            .lines(&["10.96.0.53:11/udp refused", "10.96.0.53:12/udp refused"]),
    ]
}
