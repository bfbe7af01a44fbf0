//! `pointsman explain --live` follows one real connection, and leaves nothing behind.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::netns::{Failure, Family, Request, Transport, requirements};
use crate::world::{PORT, WEB, World};

/// A node with `default/web`, where the kernel can give a table to a socket.
fn traced_world(pods: &[u16]) -> Option<World> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(5), Some(12)) {
        requirements::skip(format!("Linux {} is older than 5.12, where no table belongs to a socket", release.trim()));
        return None;
    }
    World::with_web(pods)
}

/// Starts to explain `default/web` for the client outside, and waits until the kernel traces.
fn start(world: &World, family: Family) -> Child {
    start_from(world, family, &family.client_ip().to_string())
}

/// The same for another sender.
fn start_from(world: &World, family: Family, from: &str) -> Child {
    start_with(world, family, from, &["--cluster-cidr", "10.128.0.0/16"])
}

/// The same with these options of the proxy.
fn start_with(world: &World, family: Family, from: &str, options: &[&str]) -> Child {
    let to = std::net::SocketAddr::new(family.cluster_ip(WEB), PORT).to_string();
    let mut command = world.node.host.command(env!("CARGO_BIN_EXE_pointsman"));
    command.args(["--manifests", world.manifests.path(), "--against", "kernel"]).args(options);
    command.args(["--hostname-override", "node-a", "explain", "--live", "--from", from, &to, "-o", "json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    until(|| has_table(world));
    child
}

fn has_table(world: &World) -> bool {
    world.node.nft(&["list", "tables"]).contains("pointsman-trace")
}

fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "timed out");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The answer, once the process has ended.
fn answer(child: Child) -> Value {
    let output = child.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Table and chain, and the rule or else the verdict, of each step.
fn hops(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let hops = answer["live"].as_array().expect("a list").iter().map(|hop| {
        let what = if hop["rule"].is_null() { text(&hop["verdict"]) } else { text(&hop["rule"]) };
        (format!("{} {}", text(&hop["table"]), text(&hop["chain"])), what)
    });
    hops.collect()
}

#[test]
fn a_real_connection_takes_the_way_that_is_explained() {
    let Some(world) = traced_world(&[11, 12]) else { return };
    world.sync();
    for family in Family::ALL {
        let child = start(&world, family);
        // Another port of the same address, and the same port of a pod.
        let other = world.node.tcp(family.cluster_ip(WEB), PORT + 1).timeout(Duration::from_millis(200)).send();
        assert_eq!(other, Err(Failure::Refused));
        world.node.tcp(family.pod_ip(11), 8080).send().expect("the pod answers");
        let reached = world.node.tcp(family.cluster_ip(WEB), PORT).send().expect("the Service answers").server;
        let answer = answer(child);
        assert_eq!((&answer["verdict"], &answer["reason"]), (&"delivered".into(), &"balanced".into()));
        assert_eq!(answer["seen"], serde_json::json!({"fate": "passed", "destination": reached.to_string()}));
        let seen = hops(&answer);
        let explained: Vec<(String, String)> = answer["path"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|step| {
                let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
                let rule = text("rule").split(" comment \"").next().unwrap_or_default().to_owned();
                (format!("{} pointsman {}", family.nft(), text("chain")), rule)
            })
            .collect();
        assert!(!explained.is_empty());
        for step in &explained {
            assert!(seen.contains(step), "{step:?} is not in {seen:#?}");
        }
        until(|| !has_table(&world));
    }
}

#[test]
fn a_real_connection_that_keeps_its_source_is_followed_to_its_endpoint() {
    let Some(world) = traced_world(&[11]) else { return };
    let synced = world.node.pointsman_without_cluster_cidr(&["--manifests", world.manifests.path(), "--once"]);
    assert_eq!(synced.code, Some(0), "{}", synced.stderr);
    for family in Family::ALL {
        for from in ["node", &family.client_ip().to_string()] {
            let child = start_with(&world, family, from, &[]);
            let to = std::net::SocketAddr::new(family.cluster_ip(WEB), PORT);
            let client = if from == "node" { &world.node.host } else { &world.node.client };
            let reached = Request::new(client, Transport::Tcp, to).send().expect("the Service answers").server;
            let answer = answer(child);
            assert_eq!(answer["verdict"], "delivered", "{answer:#}");
            assert_eq!(answer["seen"], serde_json::json!({"fate": "passed", "destination": reached.to_string()}));
            assert!(hops(&answer).iter().all(|(_, what)| !what.contains("masquerade")), "{answer:#}");
        }
    }
}

#[test]
fn a_signal_ends_the_wait_for_a_connection_at_once_and_removes_the_trace() {
    let Some(world) = traced_world(&[11]) else { return };
    world.sync();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let child = start(&world, Family::V4);
        let asked = Instant::now();
        kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), signal).expect("ours");
        let output = child.wait_with_output().expect("it ends");
        assert!(asked.elapsed() < Duration::from_secs(10), "{signal}: {:?}", asked.elapsed());
        assert_eq!(output.status.code(), Some(2), "{signal}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted; nothing was changed"));
        until(|| !has_table(&world));
    }
}

#[test]
fn a_packet_that_another_program_drops_is_followed_to_its_chain() {
    let Some(world) = traced_world(&[11]) else { return };
    world.sync();
    world.node.nft(&["add", "table", "inet", "guard"]);
    let chain = "{ type filter hook forward priority 0; policy drop; }";
    world.node.nft(&["add", "chain", "inet", "guard", "forwarded", chain]);
    let child = start(&world, Family::V4);
    let request = world.node.tcp(Family::V4.cluster_ip(WEB), PORT).timeout(Duration::from_millis(200)).send();
    assert_eq!(request, Err(Failure::TimedOut));
    let answer = answer(child);
    let seen = hops(&answer);
    assert_eq!(seen.last(), Some(&("inet guard forwarded".to_owned(), "drop".to_owned())), "{seen:#?}");
    // The verdict is what happened, not what our rules alone would do.
    assert_eq!((&answer["verdict"], &answer["reason"]), (&"dropped".into(), &"other-program".into()));
    assert!(answer["fix"].as_str().is_some_and(|fix| fix.contains("inet guard forwarded")), "{answer:#}");
}

#[test]
fn a_packet_without_a_route_to_its_endpoint_is_not_called_delivered() {
    let Some(world) = traced_world(&[11]) else { return };
    world.sync();
    let gone = Family::V4.pod_ip(11);
    world.node.host.ip_batch(&format!("route add unreachable {gone}/32"));
    let child = start(&world, Family::V4);
    assert!(world.node.tcp(Family::V4.cluster_ip(WEB), PORT).timeout(Duration::from_millis(200)).send().is_err());
    let answer = answer(child);
    assert_eq!((&answer["verdict"], &answer["reason"]), (&"dropped".into(), &"not-routed".into()), "{answer:#}");
    assert!(answer["fix"].as_str().is_some_and(|fix| fix.contains(&format!("ip route get {gone}"))), "{answer:#}");
}

#[test]
fn a_connection_of_this_node_is_followed_from_any_of_its_addresses() {
    let Some(world) = traced_world(&[11]) else { return };
    world.sync();
    for family in Family::ALL {
        let (other, prefix) = match family {
            Family::V4 => ("198.18.7.7", 32),
            Family::V6 => ("fd00:7::7", 128),
        };
        world.node.host.ip_batch(&format!("addr add {other}/{prefix} dev lo"));
        let other: std::net::IpAddr = other.parse().expect("an address");
        let child = start_from(&world, family, "node");
        let to = std::net::SocketAddr::new(family.cluster_ip(WEB), PORT);
        let request = Request::new(&world.node.host, Transport::Tcp, to).from(other);
        // Whether the answer finds its way back to this address does not matter.
        let _ = request.timeout(Duration::from_millis(500)).send();
        let answer = answer(child);
        assert_eq!(answer["packet"]["source"], other.to_string(), "{answer:#}");
        assert_eq!(answer["seen"]["fate"], "passed", "{answer:#}");
    }
}

#[test]
fn a_process_that_is_killed_leaves_no_trace_behind() {
    let Some(world) = traced_world(&[11]) else { return };
    let proxy = world.follow();
    let mut child = start(&world, Family::V4);
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    until(|| !has_table(&world));
    world.assert_no_difference();
    assert!(!proxy.log().contains("our tables were changed"), "{}", proxy.log());
}

#[test]
fn without_a_connection_or_a_client_it_says_so() {
    let Some(world) = traced_world(&[11]) else { return };
    world.sync();
    let manifests = ["--manifests", world.manifests.path(), "--against", "kernel", "--timeout", "500ms"];
    for (from, expected) in [("192.0.2.2", "there was no new connection from 192.0.2.2"), ("outside", "--from ADDRESS")]
    {
        let args = [&manifests[..], &["explain", "--live", "--from", from, "default/web:80/tcp"]].concat();
        let finished = world.node.pointsman(&args);
        assert_eq!(finished.code, Some(2), "{}", finished.stdout);
        assert!(finished.stderr.contains(expected), "{}", finished.stderr);
    }
    assert!(!has_table(&world));
}
