//! `pointsman get`: what the running proxy believes, and the clients that the kernel remembers.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::cluster::{Cluster, page, until};
use crate::common::netns::{Family, Finished, Monitor, Transport};
use crate::world::{PORT, WEB, World, pod_number, web};

fn get(world: &World, args: &[&str]) -> Finished {
    let mut command = world.node.host.command(env!("CARGO_BIN_EXE_pointsman"));
    command.arg("get").args(args).env_remove("POINTSMAN_LOG").output().expect("it starts").into()
}

fn rows(world: &World, args: &[&str]) -> Vec<Value> {
    let finished = get(world, &[args, &["-o", "json"]].concat());
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stderr))
}

#[test]
fn the_running_proxy_lists_what_the_manifests_ask_for_and_changes_nothing() {
    let Some(world) = World::with_web(&[11, 12]) else { return };
    let proxy = world.follow();
    let monitor = Monitor::new(&world.node);
    for what in ["services", "endpoints", "frontends", "clashes"] {
        for format in ["text", "wide", "json"] {
            let asked = get(&world, &[what, "-o", format]);
            let manifests = ["--manifests", world.manifests.path(), "get", what, "-o", format];
            let expected = world.node.pointsman(&manifests);
            assert_eq!((asked.code, &asked.stdout), (Some(0), &expected.stdout), "{what}: {}", asked.stderr);
        }
    }
    let endpoints = rows(&world, &["endpoints", "default/web"]);
    assert_eq!(endpoints.iter().filter(|row| row["reason"] == "ready").count(), 2 * 2 * Family::ALL.len());
    for list in ["services", "endpoints"] {
        let unknown = get(&world, &[list, "elsewhere/web", "-o", "json"]);
        assert_eq!((unknown.code, &*unknown.stdout), (Some(2), ""));
        assert!(unknown.stderr.contains("there is no Service elsewhere/web"), "{}", unknown.stderr);
    }
    assert!(monitor.changes().is_empty());
    // What it believes follows what it hears.
    world.set_web_endpoints(&[]);
    world.settle();
    assert!(get(&world, &["frontends"]).stdout.contains("refuse"), "{}", proxy.log());
}

#[test]
fn lists_are_for_clients_on_this_host_alone() {
    let Some(world) = World::with_web(&[11]) else { return };
    let manifests = ["--manifests", world.manifests.path(), "--watch", "--metrics-bind-address", "0.0.0.0:10249"];
    let proxy = world.node.start_pointsman(&manifests);
    world.settle();
    let (status, body) = page(&world.node.host, 10249, "/listz?of=services").expect("a page");
    assert!(status.contains("200") && body.contains("default/web"), "{status} {body}\n{}", proxy.log());
    let host = "192.0.2.1";
    let ask = |path: &str| {
        let mut stream = TcpStream::connect((host, 10249)).expect("it listens");
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let outside = world.node.client.enter(|| [ask("/listz?of=services"), ask("/statusz")]);
    assert!(outside[0].contains(" 403 ") && !outside[0].contains("default/web"), "{}", outside[0]);
    assert!(outside[1].contains(" 200 "), "{}", outside[1]);
    assert!(world.node.host.enter(|| ask("/listz?of=services")).contains("default/web"), "by its own address");
    for wrong in ["/listz", "/listz?of=pods", "/listz?of=services&after=x"] {
        assert!(page(&world.node.host, 10249, wrong).expect("a page").0.contains(" 400 "), "{wrong}");
    }
}

#[test]
fn remembered_clients_are_listed_with_their_endpoint_and_the_time_left() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.manifests.apply(web().session_affinity(600));
    world.sync();
    for family in Family::ALL {
        let reached =
            world.node.request(Transport::Tcp, family.cluster_ip(WEB), PORT).send().expect("an answer").server;
        let clients = rows(&world, &["clients", "default/web"]);
        let of_family: Vec<_> = clients.iter().filter(|row| row["client"] == family.client_ip().to_string()).collect();
        let [client] = of_family[..] else { panic!("{clients:?}") };
        assert_eq!(client["endpoint"], reached.to_string());
        assert!(pod_number(reached.ip()) > 0);
        if std::env::var("POINTSMAN_TEST_BACKEND").is_ok_and(|backend| backend == "nft") {
            continue;
        }
        let left = client["secondsLeft"].as_u64().expect("a number");
        assert!((590..=600).contains(&left), "{client}");
    }
    let table = get(&world, &["clients", "default/web"]).stdout;
    assert!(table.starts_with("SERVICE") && table.lines().count() == 3, "{table}");
    for (args, expected) in [
        (&["clients"][..], "NAMESPACE/SERVICE"),
        (&["clients", "default/other"], "no frontend of default/other with session affinity"),
    ] {
        let finished = get(&world, args);
        assert_eq!(finished.code, Some(2));
        assert!(finished.stderr.contains(expected), "{}", finished.stderr);
    }
}

#[test]
fn without_a_proxy_it_says_what_to_check() {
    let Some(world) = World::new() else { return };
    let finished = get(&world, &["services"]);
    assert_eq!(finished.code, Some(2), "{}", finished.stdout);
    assert!(finished.stderr.contains("Is a Pointsman running on this node"), "{}", finished.stderr);
}

#[test]
fn a_proxy_that_has_programmed_nothing_yet_lists_nothing_and_says_so() {
    let Some(mut cluster) = Cluster::new() else { return };
    cluster.server.down();
    let proxy = cluster.start();
    until(&proxy, "its pages are served", || page(&cluster.node.host, 10249, "/statusz").is_some());
    let mut command = cluster.node.host.command(env!("CARGO_BIN_EXE_pointsman"));
    let finished: Finished = command.args(["get", "services"]).output().expect("it starts").into();
    assert_eq!((finished.code, &*finished.stdout), (Some(2), ""), "{}", proxy.log());
    assert!(finished.stderr.contains("nothing was programmed yet: the proxy is STARTING"), "{}", finished.stderr);
}
