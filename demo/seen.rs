//! What a node says about itself: explanations, each held against real packets; a drift and its repair; the status.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::netns::{Answer, Failure, Family, Namespace, Node, Proxy, Request, Transport};
use crate::{DROP_TIMEOUT, REQUESTS_PER_ENDPOINT, report};

/// How long the proxy may take to follow.
const WAIT_TIMEOUT: Duration = Duration::from_secs(15);

/// Who asks: the client outside or the node itself, and what.
const QUESTIONS: [(Asker, &str); 12] = [
    (Asker::Outside(Family::V4), "shop/cart:80"),
    (Asker::Outside(Family::V4), "shop/cart:grpc"),
    (Asker::Outside(Family::V6), "shop/checkout"),
    (Asker::Outside(Family::V4), "shop/orders-db"),
    (Asker::Outside(Family::V4), "shop/sessions"),
    (Asker::Outside(Family::V4), "monitoring/log-collector:514/udp"),
    (Asker::Outside(Family::V6), "kube-system/kube-dns:53/udp"),
    (Asker::Node, "shop/storefront:80"),
    (Asker::Node, "shop/recommendations"),
    (Asker::Outside(Family::V4), "10.96.0.22:8080"),
    (Asker::Outside(Family::V4), "10.96.200.200:80"),
    (Asker::Outside(Family::V6), "[fd00:10:96::c801]:443"),
];

/// Who opens a connection.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Outside(Family),
    Node,
}

/// Starts a proxy that keeps running, until it has synced.
pub fn follow(node: &Node, manifests: &str) -> Result<Proxy, Box<dyn Error>> {
    let proxy = node.start_pointsman(&["--manifests", manifests, "--watch", "--log-level", "info"]);
    until("the proxy is SYNCED", || node.pointsman(&["status"]).code == Some(0))?;
    Ok(proxy)
}

/// Explains one packet in full and several in a line each, and sends the same packets. Returns whether all were explained rightly.
pub fn explanations(node: &Node, manifests: &str) -> Result<bool, Box<dyn Error>> {
    let options = ["--manifests", manifests, "--against", "kernel", "explain"];
    report::command("pointsman --manifests examples/ --against kernel explain --from 192.0.2.2 shop/cart:80");
    print!("{}", node.pointsman(&[&options[..], &["--from", "192.0.2.2", "shop/cart:80"]].concat()).stdout);
    println!("\n{:<12} {:<34} {:<30} PACKETS", "FROM", "TO", "EXPLAINED");
    let mut right = true;
    for (asker, to) in QUESTIONS {
        let from = match asker {
            Asker::Outside(family) => family.client_ip().to_string(),
            Asker::Node => "node".to_owned(),
        };
        let asked = node.pointsman(&[&options[..], &["--from", &from, to, "-o", "json"]].concat());
        let answer: Value =
            serde_json::from_str(&asked.stdout).map_err(|error| format!("{error}: {}", asked.stderr))?;
        let sender = if matches!(asker, Asker::Node) { &node.host } else { &node.client };
        let seen = send(sender, &answer)?;
        let explained = format!("{} ({})", text(&answer["verdict"]), text(&answer["reason"]));
        let (verdict, is_right) = match judge(&answer, &seen) {
            Ok(said) => (said, true),
            Err(said) => (format!("WRONG: {said}"), false),
        };
        println!("{from:<12} {to:<34} {explained:<30} {verdict}");
        right &= is_right;
    }
    Ok(right)
}

/// Sends the packet that an answer is about, often enough to reach every endpoint.
fn send(sender: &Namespace, answer: &Value) -> Result<Vec<Result<Answer, Failure>>, Box<dyn Error>> {
    let packet = &answer["packet"];
    let addr: IpAddr = text(&packet["destination"]).parse()?;
    let port = packet["port"].as_u64().and_then(|port| u16::try_from(port).ok()).ok_or("a packet without a port")?;
    let transport = if packet["protocol"] == "udp" { Transport::Udp } else { Transport::Tcp };
    let (times, patience) = match text(&answer["verdict"]) {
        "delivered" => (REQUESTS_PER_ENDPOINT * used(answer)?.len().max(1), Duration::from_secs(5)),
        "refused" => (5, Duration::from_secs(5)),
        _ => (2, DROP_TIMEOUT),
    };
    Ok(Request::new(sender, transport, SocketAddr::new(addr, port)).timeout(patience).send_many(times))
}

/// Compares an explanation with what became of the packets.
fn judge(answer: &Value, seen: &[Result<Answer, Failure>]) -> Result<String, String> {
    let expected = match text(&answer["verdict"]) {
        "delivered" => {
            let reached: BTreeSet<SocketAddr> = seen.iter().flatten().map(|answer| answer.server).collect();
            let used = used(answer).map_err(|error| error.to_string())?;
            if let Some(failure) = seen.iter().find_map(|seen| seen.as_ref().err()) {
                return Err(format!("{failure:?}"));
            }
            if reached != used {
                return Err(format!("reached {reached:?}"));
            }
            let source: IpAddr = text(&answer["packet"]["source"]).parse().map_err(|_| "no source")?;
            let kept = seen.iter().flatten().all(|seen| seen.seen_from.ip() == source);
            // Before a packet of this node leaves, its source is an address of this node in any case.
            let masqueraded = answer["masquerade"] == "marked";
            if answer["packet"]["interface"].is_string() && kept == masqueraded {
                return Err(format!("explained as masquerade {masqueraded}, but the source was kept: {kept}"));
            }
            let noun = if reached.len() == 1 { "endpoint" } else { "endpoints" };
            return Ok(format!("{} answers from the same {} {noun}", seen.len(), reached.len()));
        }
        "refused" => Failure::Refused,
        "dropped" => Failure::TimedOut,
        other => return Err(format!("no packet was sent for {other}")),
    };
    match seen.iter().find(|seen| **seen != Err(expected)) {
        None => Ok(format!("{expected:?}")),
        Some(other) => Err(format!("{other:?}")),
    }
}

/// The endpoints that an explanation says are used.
fn used(answer: &Value) -> Result<BTreeSet<SocketAddr>, Box<dyn Error>> {
    let all = answer["endpoints"].as_array().into_iter().flatten();
    Ok(all.filter(|one| one["used"] == true).map(|one| text(&one["endpoint"]).parse()).collect::<Result<_, _>>()?)
}

/// Lets another program flush the ruleset, and waits until Services work again. Returns whether the log names the program.
pub fn drift(node: &Node, proxy: &Proxy) -> Result<bool, Box<dyn Error>> {
    report::command("nft flush ruleset");
    let cart: SocketAddr = "10.96.0.22:80".parse()?;
    let ask = || Request::new(&node.client, Transport::Tcp, cart).timeout(Duration::from_millis(50)).send();
    let flushed = Instant::now();
    node.nft(&["flush", "ruleset"]);
    until("shop/cart answers again", || ask().is_ok())?;
    println!("shop/cart answers again {:.0} ms after that", flushed.elapsed().as_secs_f64() * 1e3);
    until("the repair is logged", || proxy.log().contains("as they should be again"))?;
    let log = proxy.log();
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("our tables were") || line.contains("our tables are")).collect();
    lines.iter().for_each(|line| println!("{line}"));
    Ok(lines.iter().any(|line| line.contains("were changed by \"") && line.contains("(pid ")))
}

/// Prints the status of the node and one list. Returns whether it is SYNCED.
pub fn status(node: &Node) -> bool {
    report::command("pointsman get endpoints shop/checkout");
    print!("{}", node.pointsman(&["get", "endpoints", "shop/checkout"]).stdout);
    report::command("pointsman status");
    let status = node.pointsman(&["status"]);
    print!("{}", status.stdout);
    println!("exit code {}", status.code.unwrap_or(-1));
    status.code == Some(0)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while !holds() {
        if Instant::now() > deadline {
            return Err(format!("waited in vain until {what}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
