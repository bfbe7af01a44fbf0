"""What is in the images, and why."""

# nft must be 1.1.3 or newer, which this release of Debian has. The C library comes from it too: it must not be older than the one that
# the binary was linked with, which build.py checks.
RELEASE = "trixie"

# The debian packages of each image, without those that they depend on.
PACKAGES = {
    "default": ["libc6", "libgcc-s1"],
    "takeover": ["libc6", "libgcc-s1", "nftables", "iptables", "ipvsadm", "dash", "netbase"],
}

# Programs of the image for nodes that an older kube-proxy leaves: the file in the package, links to it, and the reason.
PROGRAMS = {
    "usr/sbin/nft": ([], "--backend nft, and to list tables by hand"),
    "usr/sbin/xtables-legacy-multi": (
        [f"usr/sbin/{name}-legacy{verb}" for name in ("iptables", "ip6tables") for verb in ("", "-save", "-restore")],
        "removes kube-proxy's rules in iptables-legacy, which netlink does not reach",
    ),
    "usr/sbin/ipvsadm": ([], "lists virtual services, and removes those that Pointsman leaves"),
    "usr/bin/dash": (["usr/bin/sh"], "a shell for `kubectl exec` and `kubectl debug`"),
}
# iptables-legacy loads these for the rules of all programs in a table that it rewrites.
EXTENSIONS = ("usr/lib/*/xtables/*.so", "an extension of iptables, loaded by the rules that name it")

# Other files of packages.
FILES = {"etc/protocols": "nft writes names of protocols by it; with numbers its JSON does not pass Pointsman's self-test"}

# Debian merged these into /usr. The dynamic loader's path begins with /lib64 or /lib.
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}

# glibc has both of these built in. Without this file it would ask DNS before /etc/hosts.
NSSWITCH = b"passwd: files\ngroup: files\nhosts: files dns\n"

DESCRIPTION = {
    "default": "A Kubernetes Service proxy for nftables. It speaks netlink; the image has no other program.",
    "takeover": "A Kubernetes Service proxy for nftables, with nft, iptables-legacy and ipvsadm to take over from any kube-proxy.",
}
