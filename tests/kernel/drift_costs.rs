//! What hearing other programs costs, and how soon a large node is back: measurements, which print.
//!
//! `POINTSMAN_BINARY=target/release/pointsman cargo test --test kernel -- --ignored drift_costs --nocapture`

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pointsman::apply::{Backend, Netlink};
use pointsman::dataplane::Family::{Ip, Ip6};
use pointsman::dataplane::{Element, ElementCounts, Key, Object, Operation, SetName};
use pointsman::diff::Acknowledged;

use crate::drift::{FOUND, REPAIRED, can_look, count, nft, outage};
use crate::world::World;

#[test]
#[ignore = "a measurement"]
fn a_commit_costs_little_more_while_other_programs_are_heard() {
    let Some(world) = World::new() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    world.node.host.enter(|| {
        runtime.block_on(async {
            let mut netlink = Netlink::open().expect("a socket");
            let set = SetName::ClusterIps;
            let begin = [Operation::add(Ip, Object::Table), Operation::add(Ip, Object::Set(set))];
            netlink.commit(&begin).await.expect("committed");
            let element = |n: u8| Element::member(set, Key::Addr([10, 96, 0, n].into()));
            for round in 0..4 {
                let listener = (round % 2 == 1).then(|| netlink.listen().expect("a socket").expect("it can listen"));
                let mut times = Vec::new();
                for n in 0..40_000_u32 {
                    let element = element((n / 2 % 250) as u8);
                    let operation =
                        if n % 2 == 0 { Operation::add_element(element) } else { Operation::delete_element(element) };
                    let began = Instant::now();
                    netlink.commit(&[operation]).await.expect("committed");
                    times.push(began.elapsed());
                }
                let heard = listener.is_some();
                println!("heard: {heard}; a commit of one element takes {:?} (p50)", median(times));
                if let Some(mut listener) = listener {
                    assert_eq!(listener.waiting_news().expect("open"), None, "own commits are not heard");
                }
            }
        });
    });
    let world = World::with_web(&[11, 12, 13]).expect("as before");
    world.sync();
    world.node.host.enter(|| {
        runtime.block_on(async {
            let mut netlink = Netlink::open().expect("a socket");
            let mut times = Vec::new();
            for _ in 0..200 {
                let began = Instant::now();
                netlink.outline(&[Ip, Ip6]).await.expect("read").expect("an outline");
                times.push(began.elapsed());
            }
            println!("a look at both tables takes {:?} (p50)", median(times));
        });
    });
}

#[test]
#[ignore = "a measurement"]
fn a_look_at_many_frontends_with_session_affinity() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let text: String = (0..5_000)
        .map(|n| {
            let ip = format!("10.96.{}.{}", 1 + n / 250, 1 + n % 250);
            format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{n}, namespace: many}}\nspec: {{clusterIP: {ip}, clusterIPs: \
                 [{ip}], sessionAffinity: ClientIP, ports: [{{name: http, port: 80, protocol: TCP}}]}}\n---\napiVersion: \
                 discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{n}-1, namespace: many, labels: \
                 {{kubernetes.io/service-name: s{n}}}}}\naddressType: IPv4\nports: [{{name: http, port: 8080, protocol: TCP}}]\n\
                 endpoints: [{{addresses: [10.128.0.11], conditions: {{ready: true}}}}]\n"
            )
        })
        .collect();
    world.manifests.apply_text("many.yaml", &text);
    world.sync();
    world.node.host.enter(|| {
        runtime.block_on(async {
            let mut netlink = Netlink::open().expect("a socket");
            let tables = netlink.read(&[Ip, Ip6]).await.expect("read");
            let held = Acknowledged::from(tables);
            let mut counts = ElementCounts::default();
            counts.restart(&held.count_elements());
            for _ in 0..5 {
                let began = Instant::now();
                let outline = netlink.outline(&[Ip, Ip6]).await.expect("read").expect("an outline");
                let read = began.elapsed();
                assert_eq!(held.deviations(&outline, &counts, &[Ip, Ip6]), []);
                println!("5,000 frontends with affinity: read in {read:?}, compared in {:?}", began.elapsed() - read);
            }
        });
    });
}

#[test]
#[ignore = "takes minutes in a debug build: a measurement"]
fn a_large_quiet_node_is_back_after_a_flush() {
    if !can_look() {
        return;
    }
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let (services, endpoints) = (10_000_u32, 5_u32);
    let mut text = String::new();
    for n in 0..services {
        let ip = format!("10.96.{}.{}", 1 + n / 250, 1 + n % 250);
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{n}, namespace: many}}\nspec: {{clusterIP: {ip}, clusterIPs: [{ip}], \
             ports: [{{name: http, port: 80, protocol: TCP}}]}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: \
             {{name: s{n}-1, namespace: many, labels: {{kubernetes.io/service-name: s{n}}}}}\naddressType: IPv4\nports: [{{name: http, port: \
             8080, protocol: TCP}}]\nendpoints:\n"
        ));
        for e in 0..endpoints {
            let address: IpAddr =
                [10, 128, u8::try_from(n / 250).expect("small"), u8::try_from(10 + e).expect("small")].into();
            text.push_str(&format!("- {{addresses: [{address}], conditions: {{ready: true}}}}\n"));
        }
    }
    world.manifests.apply_text("many.yaml", &text);
    let proxy = world.node.start_pointsman(&["--manifests", world.manifests.path(), "--watch"]);
    let deadline = Instant::now() + Duration::from_secs(300);
    while !proxy.log().contains("watching over our tables") {
        assert!(Instant::now() < deadline, "{}", proxy.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(1));
    for (name, commands) in [
        ("flush ruleset", "flush ruleset".to_owned()),
        ("one element deleted", "delete element ip pointsman cluster-ips { 10.96.0.10 }".to_owned()),
        ("one map flushed", "flush map ip pointsman endpoints".to_owned()),
    ] {
        let before = count(&proxy, REPAIRED);
        let outage = outage(&world, &proxy, || nft(&world, &commands));
        let deadline = Instant::now() + Duration::from_secs(60);
        while count(&proxy, REPAIRED) == before {
            assert!(Instant::now() < deadline, "{}", proxy.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        println!("{name} at 10,000 x 5: the Service answers after {outage:?}");
        std::thread::sleep(Duration::from_secs(20));
    }
    let log = proxy.log();
    log.lines().filter(|line| line.contains(FOUND) || line.contains(REPAIRED)).for_each(|line| println!("{line}"));
}
