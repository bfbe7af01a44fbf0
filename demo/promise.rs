//! The promises of the manifests: the endpoints that must answer on each port of each Service.
//!
//! This code is independent of the proxy, so that the two can disagree. It knows only what the examples use.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde_json::Value;

/// A transport protocol of Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// The expected result of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// These endpoints answer, equally often.
    Answered(BTreeSet<SocketAddr>),
    /// The connection is refused at once.
    Refused,
    /// There is no answer.
    Dropped,
}

/// The promise about one address and port.
#[derive(Clone, Debug)]
pub struct Promise {
    /// The Service and its port, such as `shop/cart:grpc`.
    pub name: String,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The address and port that clients connect to.
    pub frontend: SocketAddr,
    /// The expected result.
    pub outcome: Outcome,
}

/// An endpoint of one port, with the conditions that decide whether it is used.
struct Candidate {
    addr: SocketAddr,
    ready: bool,
    /// Terminating and still serving.
    terminating: bool,
    local: bool,
}

/// The promises of the manifests in `folder` to clients of the node `node`.
pub fn read(folder: &Path, node: &str) -> Result<Vec<Promise>, Box<dyn Error>> {
    let objects = objects(folder)?;
    let mut promises = Vec::new();
    for service in objects.iter().filter(|object| object["kind"] == "Service") {
        for frontend in items(&service["spec"]["clusterIPs"]).filter_map(|addr| text(addr).parse::<IpAddr>().ok()) {
            for port in items(&service["spec"]["ports"]) {
                promises.push(Promise {
                    name: format!("{}:{}", full_name(service), text(&port["name"])),
                    protocol: protocol(port)?,
                    frontend: SocketAddr::new(frontend, number(port)?),
                    outcome: outcome(&objects, service, port, frontend, node)?,
                });
            }
        }
    }
    promises.sort_by(|one, other| (&one.name, one.frontend).cmp(&(&other.name, other.frontend)));
    promises.extend(without_service()?);
    Ok(promises)
}

/// The address and port of every endpoint, also of unready ones: a request to a wrong endpoint must get an answer to be noticed.
pub fn every_endpoint(folder: &Path) -> Result<BTreeSet<SocketAddr>, Box<dyn Error>> {
    let mut all = BTreeSet::new();
    for slice in objects(folder)?.iter().filter(|object| object["kind"] == "EndpointSlice") {
        for port in items(&slice["ports"]) {
            for endpoint in items(&slice["endpoints"]) {
                all.insert(SocketAddr::new(text(&endpoint["addresses"][0]).parse()?, number(port)?));
            }
        }
    }
    Ok(all)
}

/// Promises about addresses and ports without a Service: refused on a known ClusterIP, dropped on an unused one.
fn without_service() -> Result<Vec<Promise>, Box<dyn Error>> {
    let mut promises = Vec::new();
    for (name, frontend, outcome) in [
        ("(unknown port of a ClusterIP)", "10.96.0.20:8080", Outcome::Refused),
        ("(unknown port of a ClusterIP)", "[fd00:10:96::14]:8080", Outcome::Refused),
        ("(unused ClusterIP)", "10.96.200.1:80", Outcome::Dropped),
        ("(unused ClusterIP)", "[fd00:10:96::c801]:80", Outcome::Dropped),
    ] {
        promises.push(Promise { name: name.to_owned(), protocol: Protocol::Tcp, frontend: frontend.parse()?, outcome });
    }
    Ok(promises)
}

fn outcome(
    objects: &[Value],
    service: &Value,
    port: &Value,
    frontend: IpAddr,
    node: &str,
) -> Result<Outcome, Box<dyn Error>> {
    let mut candidates = candidates(objects, service, port, frontend, node)?;
    if !candidates.iter().any(|candidate| candidate.ready || candidate.terminating) {
        return Ok(Outcome::Refused);
    }
    if service["spec"]["internalTrafficPolicy"] == "Local" {
        candidates.retain(|candidate| candidate.local);
    }
    let addresses_where = |condition: fn(&Candidate) -> bool| -> BTreeSet<SocketAddr> {
        candidates.iter().filter(|candidate| condition(candidate)).map(|candidate| candidate.addr).collect()
    };
    let ready = addresses_where(|candidate| candidate.ready);
    let terminating = addresses_where(|candidate| candidate.terminating);
    let chosen = if ready.is_empty() { terminating } else { ready };
    Ok(if chosen.is_empty() { Outcome::Dropped } else { Outcome::Answered(chosen) })
}

fn candidates(
    objects: &[Value],
    service: &Value,
    port: &Value,
    frontend: IpAddr,
    node: &str,
) -> Result<Vec<Candidate>, Box<dyn Error>> {
    let family = if frontend.is_ipv4() { "IPv4" } else { "IPv6" };
    let mut candidates = Vec::new();
    for slice in objects {
        let belongs = slice["kind"] == "EndpointSlice"
            && slice["metadata"]["namespace"] == service["metadata"]["namespace"]
            && slice["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
            && slice["addressType"] == family;
        let ports =
            items(&slice["ports"]).filter(|own| own["name"] == port["name"] && own["protocol"] == port["protocol"]);
        for own in ports.filter(|_| belongs) {
            for endpoint in items(&slice["endpoints"]) {
                let condition = |name: &str, unset| endpoint["conditions"][name].as_bool().unwrap_or(unset);
                candidates.push(Candidate {
                    addr: SocketAddr::new(text(&endpoint["addresses"][0]).parse()?, number(own)?),
                    ready: condition("ready", true),
                    terminating: condition("serving", true) && condition("terminating", false),
                    local: endpoint["nodeName"] == node,
                });
            }
        }
    }
    Ok(candidates)
}

fn objects(folder: &Path) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let mut objects = Vec::new();
    for file in files {
        objects.extend(serde_saphyr::from_multiple::<Value>(&fs::read_to_string(&file)?)?);
    }
    Ok(objects)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(port: &Value) -> Result<u16, Box<dyn Error>> {
    Ok(u16::try_from(port["port"].as_u64().ok_or("a port without a number")?)?)
}

fn full_name(object: &Value) -> String {
    format!("{}/{}", text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]))
}

fn protocol(port: &Value) -> Result<Protocol, Box<dyn Error>> {
    match text(&port["protocol"]) {
        "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        "SCTP" => Ok(Protocol::Sctp),
        other => Err(format!("unknown protocol {other} of a Service port").into()),
    }
}
