//! What the processes of the DaemonSet may do.

use std::fs;

use crate::node::{ImageNode, command};

/// The bit of `CAP_NET_ADMIN` (linux/capability.h).
const NET_ADMIN: &str = "0000000000001000";

#[test]
fn the_proxy_has_one_capability_a_read_only_root_and_the_seccomp_profile() {
    let Some(node) = ImageNode::new("") else { return };
    let proxy = node.container("containers", "pointsman");
    let log = node.start(&proxy, "proxy", &[]);
    node.until_web_reaches(11, &log);
    let process = node.containerd.process("proxy");
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the field");
        line.trim_start_matches(':').trim().to_owned()
    };
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(field(set), NET_ADMIN, "{set}");
    }
    assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"));
    let mounts = fs::read_to_string(format!("/proc/{process}/mounts")).expect("it runs");
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).expect("a root");
    assert!(root.split(' ').nth(3).expect("options").starts_with("ro"), "{root}");
}

#[test]
fn the_init_container_sets_the_sysctls_of_its_configuration() {
    let Some(node) = ImageNode::new("") else { return };
    let init = node.container("initContainers", "init");
    let (code, printed) =
        node.containerd.run_container("init", &node.options(&init), &node.image, &command(&init, &[]));
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("INFO") && !printed.contains("ERROR"), "{printed}");
    let timeout = node.node.host.enter(|| {
        fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established").expect("readable")
    });
    assert_eq!(timeout.trim(), "86400", "{printed}");
}
