//! The kernel and its settings.

use crate::doctor::facts::{Facts, NftProgram};
use crate::doctor::finding::{Finding, Severity};

/// The oldest kernel that kube-proxy's nftables mode takes.
const OLDEST: (u32, u32) = (5, 13);

/// The kernel's version.
pub(super) fn kernel(facts: &Facts) -> Finding {
    let id = "kernel";
    let release = &facts.kernel;
    let (major, minor) = OLDEST;
    match version(release) {
        Some(version) if version >= OLDEST => Finding::new(id, Severity::Ok, format!("Linux {release}")).means(
            "Whether it takes every expression is tested when Pointsman starts; this inspection writes nothing.",
        ),
        Some(_) => Finding::new(id, Severity::Problem, format!("Linux {release}, older than {major}.{minor}"))
            .means("nf_tables of this age lacks what Pointsman and kube-proxy's nftables mode use.")
            .remedy("Upgrade the kernel."),
        None => Finding::new(id, Severity::Warning, format!("a kernel whose version {release:?} cannot be read"))
            .remedy(format!("Make sure that it is {major}.{minor} or newer.")),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether the node forwards at all.
pub(super) fn forwarding(facts: &Facts) -> Finding {
    let id = "ip-forward";
    let remedy = "Set the sysctl: Pointsman sets none.";
    if facts.forwards_ipv4 == Some(false) {
        return Finding::new(id, Severity::Problem, "net.ipv4.ip_forward is 0")
            .means("Connections from pods and from outside do not get to pods.")
            .remedy(remedy);
    }
    if facts.ipv6 && facts.forwards_ipv6 == Some(false) {
        return Finding::new(id, Severity::Note, "net.ipv6.conf.all.forwarding is 0")
            .means("In a cluster with IPv6 connections do not get to pods.")
            .remedy(remedy);
    }
    Finding::new(id, Severity::Ok, "the node forwards")
}

/// Which families there will be.
pub(super) fn ipv6(facts: &Facts) -> Finding {
    let id = "ipv6";
    let found = if facts.ipv6 { "IPv6 is on: both families are of use" } else { "IPv6 is off: only IPv4 is of use" };
    Finding::new(id, Severity::Ok, found)
}

/// The nft program.
pub(super) fn nft(facts: &Facts) -> Finding {
    let id = "nft";
    match &facts.nft {
        NftProgram::NotNeeded => Finding::new(id, Severity::Ok, "not needed: the backend is netlink"),
        NftProgram::Fallback(Ok(version)) | NftProgram::Needed(Ok(version)) => {
            Finding::new(id, Severity::Ok, format!("nft {version}"))
        }
        NftProgram::Fallback(Err(why)) => {
            Finding::new(id, Severity::Ok, "no suitable nft, and none is needed while netlink works")
                .means(why.as_str())
        }
        NftProgram::Needed(Err(why)) => Finding::new(id, Severity::Problem, why.as_str())
            .remedy("Install nftables 1.1.3 or newer, or leave out --backend nft."),
    }
}
