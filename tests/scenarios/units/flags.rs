//! Which flags the program takes, and which it refuses.

use std::process::Command;

/// Flags, and whether they are taken.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// The row's name, as in `Z46`.
    pub id: &'static str,
    flags: &'static [&'static str],
    taken: bool,
}

const fn taken(id: &'static str, flags: &'static [&'static str]) -> Flags {
    Flags { id, flags, taken: true }
}

const fn refused(id: &'static str, flags: &'static [&'static str]) -> Flags {
    Flags { id, flags, taken: false }
}

/// The rows of section Z about validation.
pub const ROWS: &[Flags] = &[
    taken("Z37", &["--cluster-cidr", "10.128.0.0/16,fd00:10:128::/64"]),
    refused("Z42", &["--healthz-bind-address", "node-1:10256"]),
    refused("Z42b", &["--healthz-bind-address", "127.0.0.1:65536"]),
    refused("Z42c", &["--metrics-bind-address", "127.0.0.1:http"]),
    refused("Z42d", &["--metrics-bind-address", "127.0.0"]),
    taken("Z42e", &["--healthz-bind-address", "127.0.0.1", "--metrics-bind-address", "[::1]:10249"]),
    refused("Z44", &["--detect-local-mode", "ByMagic"]),
    refused("Z44b", &["--log-format", "xml"]),
    taken("Z44c", &["--detect-local-mode", "NodeCIDR"]),
    refused("Z45", &["--masquerade-bit", "32"]),
    refused("Z45b", &["--masquerade-bit=-1"]),
    taken("Z45c", &["--masquerade-bit", "0"]),
    taken("Z45d", &["--masquerade-bit", "31"]),
    refused("Z46", &["--nodeport-addresses", "foo"]),
    refused("Z46b", &["--nodeport-addresses", "1.2.3"]),
    refused("Z46c", &["--nodeport-addresses", "0"]),
    refused("Z46d", &["--nodeport-addresses", "192.0.2.1"]),
    refused("Z46e", &["--nodeport-addresses", "2001:db8::1"]),
    refused("Z46f", &["--nodeport-addresses", "2001:db8:0:0:0::/129"]),
    refused("Z46g", &["--nodeport-addresses", "primary,192.0.2.0/24"]),
    refused("Z46h", &["--nodeport-addresses", "192.0.2.0/24,primary"]),
    taken("Z46i", &["--nodeport-addresses", "primary"]),
    taken("Z46j", &["--nodeport-addresses", "192.0.2.0/24,2001:db8::/64"]),
    refused("Z47", &["--cluster-cidr", "10.0.0.0/8,fd00::/64,11.0.0.0/8"]),
    refused("Z47b", &["--cluster-cidr", "10.0.0.0/8,11.0.0.0/8"]),
    refused("Z47c", &["--cluster-cidr", "fd00::/64,fd01::/64"]),
    refused("Z47d", &["--cluster-cidr", "10.0.0.0/33"]),
    refused("Z47e", &["--cluster-cidr", "everywhere"]),
    taken("Z47f", &["--detect-local-mode", "ClusterCIDR"]),
    refused("Z48", &["--detect-local-mode", "BridgeInterface"]),
    refused("Z48b", &["--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", ""]),
    refused("Z48c", &["--detect-local-mode", "InterfaceNamePrefix"]),
    refused("Z48d", &["--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", ""]),
    taken("Z48e", &["--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", "cni0"]),
    taken("Z48f", &["--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "veth"]),
    // No interface has so long a name.
    refused("Z48g", &["--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", "a-bridge-with-a-long-name"]),
];

impl Flags {
    /// Whether it holds.
    ///
    /// # Errors
    /// With how the program ended, if not.
    pub fn check(&self) -> Result<(), String> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let output = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .arg("--manifests")
            .arg(folder.path())
            .args(["--dry-run", "--against", "empty", "--hostname-override", "node-a"])
            .args(self.flags)
            .env_remove("POINTSMAN_LOG")
            .output()
            .expect("the proxy starts");
        let text = String::from_utf8_lossy(&output.stderr);
        match (self.taken, output.status.code()) {
            // 1: an empty kernel differs.
            (true, Some(1)) | (false, Some(2)) => Ok(()),
            (_, code) => Err(format!("{:?}: ended with {code:?}: {}", self.flags, text.trim())),
        }
    }
}
