//! The privileges that `deploy/base` grants the proxy's container are enough.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::manifests::{Manifests, service_cidr};
use crate::common::netns::{Node, requirements};
use crate::world::{World, web};

/// Root with one capability and no way to gain another, as the DaemonSet's security context has it.
const CONFINE: &str = "setpriv --bounding-set=-all,+net_admin --inh-caps=-all --no-new-privs";

#[test]
fn net_admin_alone_is_enough_to_program_follow_and_read() {
    let Some(nft) = requirements::nft_or_skip() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let confined = folder.path().join("pointsman");
    let script = format!("#!/bin/sh\nexec {CONFINE} {} \"$@\"\n", env!("CARGO_BIN_EXE_pointsman"));
    fs::write(&confined, script).expect("the folder is writable");
    fs::set_permissions(&confined, fs::Permissions::from_mode(0o755)).expect("ours");
    let world = World { node: Node::new(&confined, nft), manifests: Manifests::new() };
    world.serve(&[11, 12]);
    world.manifests.apply(service_cidr());
    world.manifests.apply(web());
    world.set_web_endpoints(&[11, 12]);
    let proxy = world.follow();
    world.assert_web_reaches(&[11, 12]);
    world.set_web_endpoints(&[12]);
    world.settle();
    world.assert_web_reaches(&[12]);
    let log = proxy.log();
    assert!(!log.contains("ERROR"), "{log}");
}
