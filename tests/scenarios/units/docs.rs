//! A short notation for objects.

/// A Service `namespace/name`, its spec in YAML.
pub fn service(name: &str, spec: &str) -> String {
    service_with_status(name, spec, "{}")
}

/// A Service and the addresses of its load balancer, both in YAML.
pub fn service_with_ingress(name: &str, spec: &str, ingress: &str) -> String {
    service_with_status(name, spec, &format!("{{loadBalancer: {{ingress: {ingress}}}}}"))
}

fn service_with_status(name: &str, spec: &str, status: &str) -> String {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{namespace: {namespace}, name: {name}}}, spec: {spec}, status: {status}}}"
    )
}

/// A Service with one ClusterIP and ports in words, as in `http:TCP:80 dns:UDP:53`.
pub fn simple(name: &str, cluster_ip: &str, ports_in_words: &str) -> String {
    service(name, &format!("{{clusterIP: \"{cluster_ip}\", ports: [{}]}}", ports(ports_in_words)))
}

/// An EndpointSlice `namespace/service/slice`; ports in words as above, endpoints as in `10.1.0.1@node-a 10.1.0.2@node-b!t`.
///
/// After a `!` stand unusual conditions: `n` neither ready nor serving, `t` terminating and serving, `d` terminating and serving
/// no more.
pub fn slice(name: &str, ports_in_words: &str, endpoints: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    let [namespace, service, slice] = parts[..] else { panic!("{name} is not namespace/service/slice") };
    let endpoints: Vec<String> = endpoints.split_whitespace().map(endpoint).collect();
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{namespace: {namespace}, \
         name: {service}-{slice}, labels: {{kubernetes.io/service-name: {service}}}}}, ports: [{}], endpoints: [{}]}}",
        ports(ports_in_words),
        endpoints.join(", ")
    )
}

/// This node's object, its labels, addresses and pods' networks in YAML.
pub fn node(labels: &str, addresses: &str, pod_cidrs: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Node, metadata: {{name: node-a, labels: {labels}}}, spec: {{podCIDRs: {pod_cidrs}}}, \
         status: {{addresses: {addresses}}}}}"
    )
}

fn ports(words: &str) -> String {
    let port = |word: &str| {
        let parts: Vec<&str> = word.split(':').collect();
        let [name, protocol, port] = parts[..] else { panic!("{word} is not name:protocol:port") };
        format!("{{name: \"{name}\", protocol: {protocol}, port: {port}}}")
    };
    words.split_whitespace().map(port).collect::<Vec<_>>().join(", ")
}

fn endpoint(word: &str) -> String {
    let (place, unusual) = word.split_once('!').unwrap_or((word, ""));
    let (addr, node) = place.split_once('@').expect("address@node");
    let (ready, serving, terminating) = match unusual {
        "" => (true, true, false),
        "n" => (false, false, false),
        "t" => (false, true, true),
        "d" => (false, false, true),
        other => panic!("unknown conditions {other}"),
    };
    format!(
        "{{addresses: [\"{addr}\"], nodeName: {node}, conditions: {{ready: {ready}, serving: {serving}, terminating: \
         {terminating}}}}}"
    )
}
