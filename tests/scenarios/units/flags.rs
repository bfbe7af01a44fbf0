//! Which flags the program accepts, and which it refuses.

use std::process::Command;

/// Flags, and whether the program accepts them.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// What the row shows.
    pub name: &'static str,
    flags: &'static [&'static str],
    accepted: bool,
}

const fn accepted(name: &'static str, flags: &'static [&'static str]) -> Flags {
    Flags { name, flags, accepted: true }
}

const fn refused(name: &'static str, flags: &'static [&'static str]) -> Flags {
    Flags { name, flags, accepted: false }
}

/// The rows.
pub const ROWS: &[Flags] = &[
    accepted("a cluster range of each family is accepted", &["--cluster-cidr", "10.128.0.0/16,fd00:10:128::/64"]),
    refused("a host name as health address is refused", &["--healthz-bind-address", "node-1:10256"]),
    refused("a port number above 65535 is refused", &["--healthz-bind-address", "127.0.0.1:65536"]),
    refused("a port in words is refused", &["--metrics-bind-address", "127.0.0.1:http"]),
    refused("an incomplete metrics address is refused", &["--metrics-bind-address", "127.0.0"]),
    accepted(
        "health and metrics addresses need no port",
        &["--healthz-bind-address", "127.0.0.1", "--metrics-bind-address", "[::1]:10249"],
    ),
    refused("an unknown detection mode is refused", &["--detect-local-mode", "ByMagic"]),
    refused("an unknown log format is refused", &["--log-format", "xml"]),
    accepted("detection mode NodeCIDR is accepted", &["--detect-local-mode", "NodeCIDR"]),
    refused("a mark bit above 31 is refused", &["--masquerade-bit", "32"]),
    refused("a negative mark bit is refused", &["--masquerade-bit=-1"]),
    accepted("mark bit 0 is accepted", &["--masquerade-bit", "0"]),
    accepted("mark bit 31 is accepted", &["--masquerade-bit", "31"]),
    refused("a NodePort network in words is refused", &["--nodeport-addresses", "foo"]),
    refused("an incomplete NodePort network is refused", &["--nodeport-addresses", "1.2.3"]),
    refused("a number as NodePort network is refused", &["--nodeport-addresses", "0"]),
    refused("a NodePort network of IPv4 without a length is refused", &["--nodeport-addresses", "192.0.2.1"]),
    refused("a NodePort network of IPv6 without a length is refused", &["--nodeport-addresses", "2001:db8::1"]),
    refused("a NodePort network longer than its family is refused", &["--nodeport-addresses", "2001:db8:0:0:0::/129"]),
    accepted("networks after the word primary are accepted", &["--nodeport-addresses", "primary,192.0.2.0/24"]),
    accepted("the word primary after networks is accepted", &["--nodeport-addresses", "192.0.2.0/24,primary"]),
    accepted("all words together are accepted", &["--nodeport-addresses", "all,localhost,primary"]),
    refused("another word is refused", &["--nodeport-addresses", "secondary"]),
    accepted("the word primary is accepted", &["--nodeport-addresses", "primary"]),
    accepted(
        "NodePort networks of both families are accepted",
        &["--nodeport-addresses", "192.0.2.0/24,2001:db8::/64"],
    ),
    refused("three cluster ranges are refused", &["--cluster-cidr", "10.0.0.0/8,fd00::/64,11.0.0.0/8"]),
    refused("two cluster ranges of IPv4 are refused", &["--cluster-cidr", "10.0.0.0/8,11.0.0.0/8"]),
    refused("two cluster ranges of IPv6 are refused", &["--cluster-cidr", "fd00::/64,fd01::/64"]),
    refused("a cluster range longer than its family is refused", &["--cluster-cidr", "10.0.0.0/33"]),
    refused("a cluster range in words is refused", &["--cluster-cidr", "everywhere"]),
    accepted("detection mode ClusterCIDR without a range is accepted", &["--detect-local-mode", "ClusterCIDR"]),
    refused("BridgeInterface without a bridge is refused", &["--detect-local-mode", "BridgeInterface"]),
    refused(
        "BridgeInterface with an empty name is refused",
        &["--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", ""],
    ),
    refused("InterfaceNamePrefix without a prefix is refused", &["--detect-local-mode", "InterfaceNamePrefix"]),
    refused(
        "InterfaceNamePrefix with an empty prefix is refused",
        &["--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", ""],
    ),
    accepted(
        "BridgeInterface with a bridge is accepted",
        &["--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", "cni0"],
    ),
    accepted(
        "InterfaceNamePrefix with a prefix is accepted",
        &["--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "veth"],
    ),
    // No interface has so long a name.
    refused(
        "an interface name that is too long is refused",
        &["--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", "a-bridge-with-a-long-name"],
    ),
];

impl Flags {
    /// Whether it holds.
    ///
    /// # Errors
    /// With how the program ended, if not.
    pub fn check(&self) -> Result<(), String> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let nothing = "{kind: List, apiVersion: v1, items: []}";
        std::fs::write(folder.path().join("nothing.yaml"), nothing).expect("the folder is writable");
        let output = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .arg("--manifests")
            .arg(folder.path())
            .args(["--dry-run", "--against", "empty", "--hostname-override", "node-a"])
            .args(self.flags)
            .env_remove("POINTSMAN_LOG")
            .output()
            .expect("the proxy starts");
        let text = String::from_utf8_lossy(&output.stderr);
        match (self.accepted, output.status.code()) {
            // 1: an empty kernel differs.
            (true, Some(1)) | (false, Some(2)) => Ok(()),
            (_, code) => Err(format!("{:?}: ended with {code:?}: {}", self.flags, text.trim())),
        }
    }
}
