//! Which changes of endpoints concern a Service at all. (kube-proxy decides here whether to check for stale UDP flows.)

use super::check::{Unit, again, change};
use super::docs::{simple, slice};

/// The rows.
pub fn rows() -> Vec<Unit> {
    let dns = || simple("ns/dns", "10.96.0.53", "p11:UDP:11 p12:UDP:12");
    let two = |first: &str, second: &str| {
        [dns(), simple("ns/dns2", "10.96.0.54", "p21:UDP:21"), first.to_owned(), second.to_owned()]
    };
    let dns_slice = |ports, endpoints| slice("ns/dns/1", ports, endpoints);
    let dns2_slice = |ports, endpoints| slice("ns/dns2/1", ports, endpoints);
    let p11 = "p11:UDP:11";
    let a = "1.1.1.1@node-a";
    let same = |name, objects| again(name, objects).touches(&[]).sends_nothing();
    vec![
        same("nothing listed again concerns no Service", vec![]),
        same("a slice listed again concerns no Service", vec![dns(), dns_slice(p11, a)]),
        same(
            "two slices listed again concern no Service",
            vec![dns(), dns_slice(p11, a), slice("ns/dns/2", "p12:UDP:12", "1.1.1.2@node-a")],
        ),
        same(
            "a slice of two ports listed again concerns no Service",
            vec![dns(), dns_slice("p11:UDP:11 p12:UDP:12", "1.1.1.1@node-a 1.1.1.2@node-b")],
        ),
        same(
            "slices of two Services listed again concern no Service",
            two(&dns_slice(p11, a), &dns2_slice("p21:UDP:21", "2.2.2.2@node-a")).into(),
        ),
        change("a first slice concerns its Service", [dns()], [dns(), dns_slice(p11, a)]).touches(&["ns/dns"]),
        change("a removed slice concerns its Service", [dns(), dns_slice(p11, a)], [dns()]).touches(&["ns/dns"]),
        change(
            "a port and an endpoint that are added concern their Service",
            [dns(), dns_slice(p11, a)],
            [dns(), dns_slice("p11:UDP:11 p12:UDP:12", "1.1.1.1@node-a 1.1.1.2@node-a")],
        )
        .touches(&["ns/dns"]),
        change(
            "a port and an endpoint that are removed concern their Service",
            [dns(), dns_slice("p11:UDP:11 p12:UDP:12", "1.1.1.1@node-a 1.1.1.2@node-a")],
            [dns(), dns_slice(p11, a)],
        )
        .touches(&["ns/dns"]),
        change(
            "a second slice concerns its Service and serves its own port",
            [dns(), dns_slice(p11, a)],
            [dns(), dns_slice(p11, a), slice("ns/dns/2", "p12:UDP:12", "2.2.2.2@node-b")],
        )
        .touches(&["ns/dns"])
        .lines(&["10.96.0.53:11/udp 1.1.1.1:11", "10.96.0.53:12/udp 2.2.2.2:12"]),
        change(
            "a removed second slice concerns its Service and its own port refuses",
            [dns(), dns_slice(p11, a), slice("ns/dns/2", "p12:UDP:12", "2.2.2.2@node-b")],
            [dns(), dns_slice(p11, a)],
        )
        .touches(&["ns/dns"])
        .lines(&["10.96.0.53:11/udp 1.1.1.1:11", "10.96.0.53:12/udp refused"]),
        change(
            "a port of another name concerns the Service and serves the port of that name",
            [dns(), dns_slice(p11, a)],
            [dns(), dns_slice("p12:UDP:11", a)],
        )
        .touches(&["ns/dns"])
        .lines(&["10.96.0.53:11/udp refused", "10.96.0.53:12/udp 1.1.1.1:11"]),
        change(
            "a port of another number concerns the Service and is the new target port",
            [dns(), dns_slice(p11, a)],
            [dns(), dns_slice("p11:UDP:22", a)],
        )
        .touches(&["ns/dns"])
        .lines(&["10.96.0.53:11/udp 1.1.1.1:22", "10.96.0.53:12/udp refused"]),
        change(
            "changes of two Services concern both",
            two(&dns_slice(p11, a), &dns2_slice("p21:UDP:21", "2.2.2.2@node-a")),
            two(&dns_slice(p11, "1.1.1.1@node-a 1.1.1.2@node-b"), &dns2_slice("p21:UDP:21", "2.2.2.3@node-a")),
        )
        .touches(&["ns/dns", "ns/dns2"]),
        change(
            "a first endpoint in an empty slice concerns the Service",
            [dns(), dns_slice("", "")],
            [dns(), dns_slice(p11, a)],
        )
        .touches(&["ns/dns"]),
        change(
            "an only endpoint that begins to terminate concerns the Service and goes on serving",
            [dns(), dns_slice(p11, a)],
            [dns(), dns_slice(p11, "1.1.1.1@node-a!t")],
        )
        .touches(&["ns/dns"])
        .lines(&["10.96.0.53:11/udp 1.1.1.1:11", "10.96.0.53:12/udp refused"]),
        change(
            "a terminating endpoint that goes concerns the Service and leaves it refused",
            [dns(), dns_slice(p11, "1.1.1.1@node-a!t")],
            [dns(), dns_slice(p11, "")],
        )
        .touches(&["ns/dns"])
        .lines(&["10.96.0.53:11/udp refused", "10.96.0.53:12/udp refused"]),
    ]
}
