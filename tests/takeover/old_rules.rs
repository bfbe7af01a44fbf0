//! A node as kube-proxy leaves it in each of its modes, with its hooks, priorities, chains and jumps. It serves one Service,
//! 10.96.0.10 port 80 over TCP and UDP, with the pods 11 and 12.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::path::Path;
use std::process::Command;

use crate::common::manifests::{Manifests, service, service_cidr, slice_of};
use crate::common::netns::{Family, Finished, Node, requirements};

/// ClusterIP number of the Service that kube-proxy knows.
pub const KNOWN: u16 = 10;
/// ClusterIP number of a Service that was created after kube-proxy ended.
pub const NEW: u16 = 20;
/// ClusterIP number of a Service that had no endpoints when kube-proxy ended, and has one now.
pub const REVIVED: u16 = 30;
/// The port of these Services.
pub const PORT: u16 = 80;
/// The pods behind the first Service.
pub const PODS: [u16; 2] = [11, 12];

/// The flavours of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iptables {
    Nft,
    Legacy,
}

/// A node, and the manifests of its cluster.
pub struct OldNode {
    pub node: Node,
    pub manifests: Manifests,
}

impl OldNode {
    /// A node without rules; `None` if the machine lacks a program that the tests need.
    pub fn new() -> Option<Self> {
        let nft = requirements::nft_or_skip()?;
        for program in ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy", "ipset"] {
            if !pointsman::takeover::program_exists(program) {
                requirements::lacks(format_args!("there is no {program}"));
                return None;
            }
        }
        let binary = std::env::var_os("POINTSMAN_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_pointsman").into());
        let node = Node::new(Path::new(&binary), nft);
        let manifests = Manifests::new();
        manifests.apply(service_cidr());
        for (name, number, pods) in [("known", KNOWN, &PODS[..]), ("new", NEW, &[12]), ("revived", REVIVED, &[12])] {
            let name = format!("default/{name}");
            manifests.apply(service(&name).dual_stack(number).port_of_both_transports(PORT));
            for family in Family::ALL {
                let slice = slice_of(&name, family).port_of_both_transports(8080);
                manifests.apply(slice.endpoints(pods.iter().map(|pod| family.pod_ip(*pod))));
            }
        }
        for family in Family::ALL {
            for pod in PODS {
                node.serve((family.pod_ip(pod), 8080).into());
            }
        }
        Some(Self { node, manifests })
    }

    /// Adds rules of other programs in both flavours of iptables, among them the kubelet's: they must stay.
    pub fn with_foreign_rules(self) -> Self {
        for family in Family::ALL {
            for iptables in [Iptables::Nft, Iptables::Legacy] {
                self.restore(iptables, family, include_str!("foreign.iptables"));
            }
        }
        let finished = self.node.nft_with_input(&["-f", "-"], include_str!("foreign.nft"));
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        self
    }

    /// Adds kube-proxy's rules of iptables mode.
    pub fn with_iptables_mode(self, iptables: Iptables) -> Self {
        self.lay_iptables_mode(iptables);
        self
    }

    /// The same, on a node that is borrowed.
    pub fn lay_iptables_mode(&self, iptables: Iptables) {
        for family in Family::ALL {
            self.restore(iptables, family, &for_family(include_str!("iptables-mode.iptables"), family));
        }
    }

    /// Adds kube-proxy's tables of nftables mode.
    pub fn with_nftables_mode(self) -> Self {
        self.lay_nftables_mode();
        self
    }

    /// The same, on a node that is borrowed.
    pub fn lay_nftables_mode(&self) {
        for family in Family::ALL {
            let rules = for_family(include_str!("nftables-mode.nft"), family);
            let finished = self.node.nft_with_input(&["-f", "-"], &rules);
            assert_eq!(finished.code, Some(0), "{}\n{rules}", finished.stderr);
        }
    }

    /// Adds kube-proxy's chains, sets and link of ipvs mode, without IPVS itself, which not every kernel has.
    pub fn with_ipvs_mode(self, iptables: Iptables) -> Self {
        for line in include_str!("ipvs-mode.ipset").lines() {
            self.run("ipset", &line.split_whitespace().collect::<Vec<_>>());
        }
        for family in Family::ALL {
            let rules = for_family(include_str!("ipvs-mode.iptables"), family);
            // Names of chains are the same in both families, those of ipsets are not.
            let of_ipv6 = rules.replace("--match-set KUBE-", "--match-set KUBE-6-");
            self.restore(iptables, family, if family == Family::V4 { &rules } else { &of_ipv6 });
        }
        // Not every kernel has dummy links; only the name matters.
        self.node.host.ip_batch("link add kube-ipvs0 type bridge\naddr add 10.96.0.10/32 dev kube-ipvs0");
        self
    }

    /// Arguments that make the proxy follow the manifests.
    pub fn follow(&self) -> [&str; 3] {
        ["--manifests", self.manifests.path(), "--watch"]
    }

    /// Arguments that make the proxy sync once.
    pub fn once(&self) -> [&str; 3] {
        ["--manifests", self.manifests.path(), "--once"]
    }

    /// All rules, ipsets and links in the kernel, as text that is the same until one of them changes.
    pub fn everything(&self) -> String {
        let mut text = self.node.nft(&["--stateless", "list", "ruleset"]);
        for iptables in ["iptables-legacy-save", "ip6tables-legacy-save"] {
            // Comments carry the time, and built-in chains count.
            let saved = self.run(iptables, &[]).stdout;
            text.extend(saved.lines().filter(|line| !line.starts_with('#')).map(|line| {
                let line = line.split(" [").next().unwrap_or_default();
                format!("{line}\n")
            }));
        }
        text += &self.run("ipset", &["list", "-name"]).stdout;
        let links = self.node.host.command("ip").args(["-o", "link"]).output().expect("ip starts");
        for line in String::from_utf8_lossy(&links.stdout).lines() {
            text += line.split_whitespace().nth(1).unwrap_or_default();
            text += "\n";
        }
        text
    }

    fn restore(&self, iptables: Iptables, family: Family, rules: &str) {
        let program = match (family, iptables) {
            (Family::V4, Iptables::Nft) => "iptables-nft-restore",
            (Family::V4, Iptables::Legacy) => "iptables-legacy-restore",
            (Family::V6, Iptables::Nft) => "ip6tables-nft-restore",
            (Family::V6, Iptables::Legacy) => "ip6tables-legacy-restore",
        };
        let mut file = tempfile::tempfile().expect("a scratch file");
        std::io::Write::write_all(&mut file, rules.as_bytes()).expect("the scratch file can be written");
        std::io::Seek::rewind(&mut file).expect("the scratch file can be read");
        let mut command: Command = self.node.host.command(program);
        // The lock of iptables-legacy is one for all namespaces.
        command.args(["--noflush", "--wait=60"]);
        let finished: Finished = command.stdin(file).output().expect("iptables starts").into();
        assert_eq!(finished.code, Some(0), "{program}: {}\n{rules}", finished.stderr);
    }

    /// Runs a program on the node, which must succeed.
    pub fn run(&self, program: &str, args: &[&str]) -> Finished {
        let finished: Finished =
            self.node.host.command(program).args(args).output().expect("the program starts").into();
        assert_eq!(finished.code, Some(0), "{program} {args:?}: {}", finished.stderr);
        finished
    }
}

/// The rules with the addresses of a family.
fn for_family(rules: &str, family: Family) -> String {
    let (host, pods, services) = match family {
        Family::V4 => ("32", "10.128.0.0/16", "10.96.0.0/16"),
        Family::V6 => ("128", "fd00:10:128::/64", "fd00:10:96::/112"),
    };
    let bracketed = |number| match family {
        Family::V4 => family.pod_ip(number).to_string(),
        Family::V6 => format!("[{}]", family.pod_ip(number)),
    };
    rules
        .replace("@FAMILY@", family.nft())
        .replace("@ADDR@", if family == Family::V4 { "ipv4_addr" } else { "ipv6_addr" })
        .replace("@HOST@", host)
        .replace("@PODS@", pods)
        .replace("@SERVICES@", services)
        .replace("@KNOWN@", &family.cluster_ip(KNOWN).to_string())
        .replace("@REVIVED@", &family.cluster_ip(REVIVED).to_string())
        .replace("@POD11@", &bracketed(11))
        .replace("@POD12@", &bracketed(12))
        .replace("@POD11PLAIN@", &family.pod_ip(11).to_string())
        .replace("@POD12PLAIN@", &family.pod_ip(12).to_string())
}

/// Answers health checks on the node as kube-proxy does, until it is dropped.
pub struct Pretender {
    runtime: tokio::runtime::Runtime,
}

impl Pretender {
    /// Answers on the node's 127.0.0.1:10256 with this body, and on port 10249 with kube-proxy's counters.
    pub fn new(node: &Node, body: &'static str) -> Self {
        let metrics = "kubeproxy_iptables_localhost_nodeports_accepted_packets_total 5\n";
        Self::on_ports(node, &[(10256, body), (10249, metrics)])
    }

    /// Answers on these ports of the node's 127.0.0.1 with these bodies.
    pub fn on_ports(node: &Node, ports: &[(u16, &'static str)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime for the pretender");
        for (port, body) in ports.iter().copied() {
            let listener = node.host.enter(|| std::net::TcpListener::bind(("127.0.0.1", port))).expect("a free port");
            listener.set_nonblocking(true).expect("a listener that does not block");
            let _guard = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of the runtime");
            runtime.spawn(answer(listener, body));
        }
        Self { runtime }
    }

    /// Ends the answers.
    pub fn end(self) {
        self.runtime.shutdown_background();
    }
}

/// The body of kube-proxy's health page.
pub const HEALTHY: &str = r#"{"lastUpdated": "2026-01-01 00:00:00 +0000 UTC","currentTime": "2026-01-01 00:00:01 +0000 UTC", "nodeEligible": true}"#;

async fn answer(listener: tokio::net::TcpListener, body: &'static str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes()).await;
    }
}
