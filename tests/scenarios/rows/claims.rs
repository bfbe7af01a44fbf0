//! Frontends that two Services claim, and Services that are not proxied.

use crate::given::{local, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Expected::{Dropped, Untouched};
use crate::words::Place::{Cluster, External, Primary, Vip};
use crate::words::Source::Client;
use crate::words::{Row, masqueraded, row};

/// Of two Services that claim a frontend one has it by its ClusterIP, by endpoints, or by age, whichever comes first by name.
pub fn groups() -> Vec<Group> {
    const OLD: &str = "2020-01-01T00:00:00Z";
    let apps = [
        web("j1-newer", 51).node_port(3051).vip(1).external_ip(External(1)).endpoints([local(11)]),
        web("j1-older", 52).node_port(3051).vip(1).external_ip(External(1)).endpoints([local(12)]).created(OLD),
        // Of the same age: the first by name.
        web("j2-a", 53).external_ip(External(2)).endpoints([local(13)]),
        web("j2-b", 54).external_ip(External(2)).endpoints([local(14)]),
        // The older one has no endpoints: the other one serves.
        web("j3-newer", 55).vip(3).endpoints([local(15)]),
        web("j3-older", 56).vip(3).created(OLD),
        // The older one names the ClusterIP of the other one.
        web("j7-newer", 60).endpoints([local(13)]),
        web("j7-older", 61).external_ip(Cluster(60)).endpoints([local(14)]).created(OLD),
        web("j4", 57).vip(4).endpoints([local(11)]).with("type", "ExternalName".into()),
        web("j5", 58).vip(5).endpoints([local(11)]).label("service.kubernetes.io/service-proxy-name", "other"),
        web("j6", 59).proxied_vip(6).node_port(3059).endpoints([local(11)]),
    ];
    vec![Group::new(Section::Claims, apps, ROWS)]
}

const ROWS: [Row; 14] = [
    row("the older of two Services has the NodePort", Client, Primary, 3051, masqueraded(&[12])),
    row("the older of two Services has the load-balancer IP", Client, Vip(1), 80, masqueraded(&[12])),
    row("the older of two Services has the external IP", Client, External(1), 80, masqueraded(&[12])),
    row("the newer of two Services keeps its ClusterIP", Client, Cluster(51), 80, masqueraded(&[11])),
    row(
        "of two Services of one age the first by name has the external IP",
        Client,
        External(2),
        80,
        masqueraded(&[13]),
    ),
    row(
        "the newer of two Services has the load-balancer IP if the older one has no endpoints",
        Client,
        Vip(3),
        80,
        masqueraded(&[15]),
    ),
    row(
        "a Service keeps its ClusterIP although an older one has it as an external IP",
        Client,
        Cluster(60),
        80,
        masqueraded(&[13]),
    ),
    // Not proxied: as if the address were not allocated.
    row("the ClusterIP of an ExternalName Service is dropped", Client, Cluster(57), 80, Dropped),
    row("the load-balancer IP of an ExternalName Service is left alone", Client, Vip(4), 80, Untouched),
    row("the ClusterIP of a Service with another proxy is dropped", Client, Cluster(58), 80, Dropped),
    row("the load-balancer IP of a Service with another proxy is left alone", Client, Vip(5), 80, Untouched),
    row("a load-balancer IP of mode Proxy is left alone", Client, Vip(6), 80, Untouched),
    row(
        "a load-balancer IP of mode Proxy leaves the Service its ClusterIP",
        Client,
        Cluster(59),
        80,
        masqueraded(&[11]),
    ),
    row("a load-balancer IP of mode Proxy leaves the Service its NodePort", Client, Primary, 3059, masqueraded(&[11])),
];
