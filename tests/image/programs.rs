//! The image with more programs, for nodes that an older kube-proxy leaves.

use std::process::Command;

use crate::node::{ImageNode, archive};

#[test]
fn the_image_for_take_overs_has_programs_that_start() {
    let Some(node) = ImageNode::new("-takeover") else { return };
    let options: Vec<String> = ["--net-host", "--read-only"].map(str::to_owned).into();
    for (name, command, expected) in [
        ("nft", &["/usr/sbin/nft", "--version"][..], "nftables v1."),
        ("save", &["/usr/sbin/iptables-legacy-save", "--version"], "(legacy)"),
        ("restore", &["/usr/sbin/ip6tables-legacy-restore", "--version"], "(legacy)"),
        ("ipvsadm", &["/usr/sbin/ipvsadm", "--version"], "ipvs"),
        ("shell", &["/bin/sh", "-c", "pointsman --version"], concat!("pointsman ", env!("CARGO_PKG_VERSION"))),
    ] {
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        let (_, printed) = node.containerd.run_container(name, &options, &node.image, &command);
        assert!(printed.contains(expected), "{name}: {printed}");
    }
}

#[test]
fn the_image_for_take_overs_follows_as_well_with_nft() {
    let Some(node) = ImageNode::new("-takeover") else { return };
    let proxy = node.container("containers", "pointsman");
    let log = node.start(&proxy, "proxy", &["--backend", "nft"]);
    node.until_web_reaches(11, &log);
    node.endpoints(&[12]);
    node.until_web_reaches(12, &log);
}

#[test]
fn skopeo_reads_each_archive_in_both_of_its_formats() {
    for variant in ["", "-takeover"] {
        let Some(archive) = archive(variant) else { return };
        let tag = format!("pointsman:{}{variant}", env!("CARGO_PKG_VERSION"));
        for format in ["oci-archive", "docker-archive"] {
            let source = format!("{format}:{}", archive.display());
            let output = Command::new("skopeo").args(["inspect", "--config", &source]).output();
            let output = output.expect("skopeo starts: install it");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/local/bin/pointsman"]));
            assert_eq!(config["config"]["User"], "0:0");
            let labels = &config["config"]["Labels"];
            assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"), "{tag}");
        }
        let size = std::fs::metadata(&archive).expect("it is there").len();
        assert!(size < 20_000_000, "{tag} has {size} bytes");
    }
}
