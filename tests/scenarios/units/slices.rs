//! How the slices of a Service merge.

use super::check::{Unit, change, given};
use super::docs::{simple, slice};

/// A Service with two ports.
fn web() -> String {
    simple("ns/web", "10.96.0.1", "http:TCP:80 https:TCP:443")
}

/// A Service with one port.
fn one() -> String {
    simple("ns/web", "10.96.0.1", "http:TCP:80")
}

/// The rows.
pub fn rows() -> Vec<Unit> {
    let http = |name, endpoints| slice(name, "http:TCP:80", endpoints);
    let both = |name, endpoints| slice(name, "http:TCP:80 https:TCP:443", endpoints);
    let confined = || one().replace("clusterIP:", "internalTrafficPolicy: Local, clusterIP:");
    let first = "10.1.0.1@node-a 10.1.0.2@node-a 10.1.0.3@node-b";
    let second = "10.2.0.1@node-a 10.2.0.2@node-b";
    vec![
        given("a slice with two ports serves both ports with all its endpoints", [web(), both("ns/web/1", first)])
            .lines(&[
                "10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80 10.1.0.3:80",
                "10.96.0.1:443/tcp 10.1.0.1:443 10.1.0.2:443 10.1.0.3:443",
            ]),
        given("internal Local uses the endpoints of this node", [confined(), http("ns/web/1", first)])
            .lines(&["10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80"]),
        given("two slices of a Service serve together", [one(), http("ns/web/1", first), http("ns/web/2", second)])
            .lines(&["10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80 10.1.0.3:80 10.2.0.1:80 10.2.0.2:80"]),
        change(
            "endpoints that are replaced in a slice replace those of the Service",
            [one(), http("ns/web/1", "10.1.0.1@node-a")],
            [one(), http("ns/web/1", "10.1.0.2@node-a 10.1.0.3@node-a")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.2:80 10.1.0.3:80"]),
        given(
            "endpoints are used in the order of their addresses without those that are not ready",
            [one(), http("ns/web/1", "10.1.0.1@node-a!n 10.1.0.10@node-a 10.1.0.2@node-a")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.2:80 10.1.0.10:80"]),
        given(
            "an endpoint that is not ready or terminates is not used while another is ready",
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a!n 10.1.0.3@node-a!t")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"]),
        given(
            "endpoints of which none is ready refuse",
            [one(), http("ns/web/1", "10.1.0.1@node-a!n 10.1.0.2@node-a!n")],
        )
        .lines(&["10.96.0.1:80/tcp refused"]),
        given(
            "slices of other Services and namespaces do not serve",
            [
                one(),
                http("ns/web/1", "10.1.0.1@node-a"),
                http("ns/other/1", "10.3.0.1@node-a"),
                http("ns2/web/1", "10.4.0.1@node-a"),
            ],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"]),
        given(
            "a port without a number does not serve",
            [web(), both("ns/web/1", "10.1.0.1@node-a").replace("port: 80}", "port: null}")],
        )
        .lines(&["10.96.0.1:80/tcp refused", "10.96.0.1:443/tcp 10.1.0.1:443"]),
        given(
            "one address with two target ports serves as two endpoints",
            [
                one(),
                http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a"),
                slice("ns/web/2", "http:TCP:8080", "10.1.0.1@node-a 10.1.0.2@node-a"),
            ],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.1:8080 10.1.0.2:80 10.1.0.2:8080"]),
        // Terminating in two slices and ready in one: ready, in whatever order they come.
        given(
            "an address that is ready in one slice and terminates in others is ready",
            [
                one(),
                http("ns/web/1", "10.1.0.1@node-a!t"),
                http("ns/web/2", "10.1.0.1@node-a"),
                http("ns/web/3", "10.1.0.1@node-a!d 10.1.0.2@node-a!t"),
            ],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"]),
        change(
            "a slice that is listed again changes nothing",
            [one(), http("ns/web/1", first)],
            [one(), http("ns/web/1", first)],
        )
        .touches(&[])
        .sends_nothing(),
        // Another order is looked at, and found to be the same.
        change(
            "endpoints in another order ask nothing of the kernel",
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a")],
            [one(), http("ns/web/1", "10.1.0.2@node-a 10.1.0.1@node-a")],
        )
        .sends_nothing(),
        change(
            "ports in another order ask nothing of the kernel",
            [web(), both("ns/web/1", first)],
            [web(), slice("ns/web/1", "https:TCP:443 http:TCP:80", first)],
        )
        .sends_nothing(),
        change(
            "a port that is added to a slice serves",
            [web(), http("ns/web/1", "10.1.0.1@node-a")],
            [web(), both("ns/web/1", "10.1.0.1@node-a")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80", "10.96.0.1:443/tcp 10.1.0.1:443"])
        .touches(&["ns/web"]),
        change(
            "a port that is removed from a slice refuses",
            [web(), both("ns/web/1", "10.1.0.1@node-a")],
            [web(), http("ns/web/1", "10.1.0.1@node-a")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80", "10.96.0.1:443/tcp refused"])
        .touches(&["ns/web"]),
        change(
            "an endpoint that is added to a slice serves",
            [one(), http("ns/web/1", "10.1.0.1@node-a")],
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-b")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80 10.1.0.2:80"])
        .touches(&["ns/web"]),
        change("a removed Service and its slice leave nothing", [one(), http("ns/web/1", first)], []).leaves_nothing(),
        change(
            "a removed Service and its two slices leave nothing",
            [one(), http("ns/web/1", first), http("ns/web/2", second)],
            [],
        )
        .leaves_nothing(),
        change(
            "a removed Service and slices of two names leave nothing",
            [one(), http("ns/web/1", first), http("ns/api/1", second)],
            [],
        )
        .leaves_nothing(),
        change(
            "a removed Service and slices of two namespaces leave nothing",
            [one(), http("ns/web/1", first), http("ns2/web/1", second)],
            [],
        )
        .leaves_nothing(),
        change(
            "a removed slice takes its endpoints with it",
            [one(), http("ns/web/1", first), http("ns/web/2", "10.2.0.1@node-a")],
            [one(), http("ns/web/2", "10.2.0.1@node-a")],
        )
        .lines(&["10.96.0.1:80/tcp 10.2.0.1:80"]),
        given(
            "a slice of domain names does not serve",
            [
                one(),
                http("ns/web/1", "10.1.0.1@node-a"),
                http("ns/web/2", "10.2.0.1@node-a").replace("addressType: IPv4", "addressType: FQDN"),
            ],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"]),
        change(
            "internal Local follows an endpoint that moves to another node",
            [confined(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a"), http("ns/web/2", "10.2.0.1@node-a")],
            [confined(), http("ns/web/1", "10.1.0.2@node-b 10.1.0.3@node-a"), http("ns/web/2", "10.2.0.1@node-a")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.3:80 10.2.0.1:80"]),
        given(
            "each port is served by the slices that have it",
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
            "endpoints that stop to be ready refuse",
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a")],
            [one(), http("ns/web/1", "10.1.0.1@node-a!n 10.1.0.2@node-a!n")],
        )
        .lines(&["10.96.0.1:80/tcp refused"])
        .touches(&["ns/web"]),
        change(
            "an endpoint that becomes ready serves",
            [one(), http("ns/web/1", "10.1.0.1@node-a!n 10.1.0.2@node-a!n")],
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a!n")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"])
        .touches(&["ns/web"]),
        change(
            "an endpoint that begins to terminate does not serve while another is ready",
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a")],
            [one(), http("ns/web/1", "10.1.0.1@node-a 10.1.0.2@node-a!t")],
        )
        .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"])
        .touches(&["ns/web"]),
        change("a Service without slices that is listed again changes nothing", [one()], [one()])
            .touches(&[])
            .sends_nothing(),
        change("the first slice of a Service serves", [one()], [one(), http("ns/web/1", "10.1.0.1@node-a")])
            .lines(&["10.96.0.1:80/tcp 10.1.0.1:80"])
            .touches(&["ns/web"]),
        // A slice that moves to another Service leaves the one it belonged to.
        change(
            "a slice that moves to another Service leaves the first one without endpoints",
            [one(), http("ns/web/1", "10.1.0.1@node-a")],
            [one(), http("ns/web/1", "10.1.0.1@node-a").replace("service-name: web", "service-name: api")],
        )
        .lines(&["10.96.0.1:80/tcp refused"]),
        change(
            "another resource version changes nothing",
            [one(), http("ns/web/1", "10.1.0.1@node-a")],
            [one(), http("ns/web/1", "10.1.0.1@node-a").replace("metadata: {", "metadata: {resourceVersion: \"7\", ")],
        )
        .touches(&[])
        .sends_nothing(),
    ]
}
