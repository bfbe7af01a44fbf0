//! The kernel and its settings.

use crate::doctor::facts::{Facts, NftProgram};
use crate::doctor::finding::Finding;

/// The oldest kernel on which the tests with packets pass (docs/kernels.md). kube-proxy's nftables mode asks for 5.13.
const OLDEST_TESTED: (u32, u32) = (5, 10);

/// The kernel's version.
pub(super) fn kernel(facts: &Facts) -> Finding {
    let id = "kernel";
    let release = &facts.kernel;
    let (major, minor) = OLDEST_TESTED;
    match version(release) {
        Some(version) if version >= OLDEST_TESTED => Finding::ok(id, format!("Linux {release}"))
            .means("Pointsman tests at its start whether this kernel accepts every expression; doctor writes nothing."),
        Some(_) => Finding::warning(id, format!("Linux {release} is older than {major}.{minor}"))
            .means(
                "Pointsman is not tested on this kernel. It tests every expression at its start, and does not start if one is missing.",
            )
            .remedy("Upgrade the kernel, or try Pointsman on one node of this kind first."),
        None => Finding::warning(id, format!("cannot read a version from the kernel's release {release:?}"))
            .remedy(format!("Make sure that the kernel is {major}.{minor} or newer.")),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether the node forwards packets.
pub(super) fn forwarding(facts: &Facts) -> Finding {
    let id = "ip-forward";
    let remedy = "Set this sysctl to 1 on the node. Pointsman does not set it.";
    if facts.forwards_ipv4 == Some(false) {
        return Finding::problem(id, "net.ipv4.ip_forward is 0")
            .means("The node forwards no IPv4 packets, so connections from pods and from outside do not reach pods.")
            .remedy(remedy);
    }
    if facts.ipv6 && facts.forwards_ipv6 == Some(false) {
        return Finding::note(id, "net.ipv6.conf.all.forwarding is 0")
            .means("In a cluster with IPv6, connections over IPv6 do not reach pods.")
            .remedy(remedy);
    }
    Finding::ok(id, "the node forwards packets")
}

/// Which IP families the node has.
pub(super) fn ipv6(facts: &Facts) -> Finding {
    let found = if facts.ipv6 {
        "IPv6 is on: Pointsman programs both families"
    } else {
        "IPv6 is off: the node uses only IPv4"
    };
    Finding::ok("ipv6", found)
}

/// The nft program.
pub(super) fn nft(facts: &Facts) -> Finding {
    let id = "nft";
    match &facts.nft {
        NftProgram::NotNeeded => Finding::ok(id, "not needed: the backend is netlink"),
        NftProgram::Fallback(Ok(version)) | NftProgram::Needed(Ok(version)) => {
            Finding::ok(id, format!("nft {version}"))
        }
        NftProgram::Fallback(Err(why)) => {
            Finding::ok(id, "no suitable nft, which is not needed while netlink works").means(why.as_str())
        }
        NftProgram::Needed(Err(why)) => {
            Finding::problem(id, why.as_str()).remedy("Install nftables 1.1.3 or newer, or leave out --backend nft.")
        }
    }
}
