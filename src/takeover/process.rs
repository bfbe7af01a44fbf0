//! The processes of kube-proxy in this network namespace, and the TCP ports on which they listen.
//!
//! In a pod without `hostPID` the processes of the node are not visible. Then only its ports tell of a kube-proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Options with which kube-proxy ends by itself and serves nothing.
const ENDING: [&str; 4] = ["--cleanup", "--init-only", "--version", "--write-config-to"];

/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// A process of kube-proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KubeProxyProcess {
    pub pid: u32,
    /// The TCP ports on which it listens.
    pub ports: BTreeSet<u16>,
}

/// The processes of kube-proxy in the network namespace of this process, as far as they are visible below `proc` (`/proc`).
pub(super) fn find_processes(proc: &Path) -> Vec<KubeProxyProcess> {
    let own_network = fs::read_link(proc.join("self/ns/net")).ok();
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| Some((entry.path(), entry.file_name().to_str()?.parse::<u32>().ok()?)));
    let of_kube_proxy = processes.filter(|(folder, _)| {
        is_kube_proxy(folder) && own_network.is_some() && fs::read_link(folder.join("ns/net")).ok() == own_network
    });
    of_kube_proxy.map(|(folder, pid)| KubeProxyProcess { pid, ports: ports(&folder) }).collect()
}

/// Whether the command line is that of a kube-proxy that serves.
fn is_kube_proxy(folder: &Path) -> bool {
    let Ok(command) = fs::read(folder.join("cmdline")) else { return false };
    let words: Vec<String> =
        command.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let program = words.first().and_then(|word| word.rsplit('/').next());
    let named = match program {
        Some("kube-proxy") => true,
        // One program for all components, as old clusters have it.
        Some("hyperkube") => words.iter().any(|word| word == "proxy" || word == "kube-proxy"),
        _ => false,
    };
    let option = |word: &str| word.split('=').next().map(str::to_owned).unwrap_or_default();
    named && !words.iter().any(|word| ENDING.contains(&option(word).as_str()))
}

/// The TCP ports on which a process listens.
fn ports(folder: &Path) -> BTreeSet<u16> {
    let links = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
    let sockets: BTreeSet<OsString> =
        links.filter_map(|link| fs::read_link(link.path()).ok().map(PathBuf::into_os_string)).collect();
    let mut listening: BTreeMap<OsString, u16> = BTreeMap::new();
    for table in ["net/tcp", "net/tcp6"] {
        let table = fs::read_to_string(folder.join(table)).unwrap_or_default();
        listening.extend(table.lines().filter_map(listening_socket));
    }
    listening.into_iter().filter(|(socket, _)| sockets.contains(socket)).map(|(_, port)| port).collect()
}

/// A line of `/proc/net/tcp`: the socket as a link below `fd` names it, and its port; none if it does not listen.
fn listening_socket(line: &str) -> Option<(OsString, u16)> {
    let mut words = line.split_whitespace();
    let local = words.nth(1)?;
    (words.nth(1)? == LISTENING).then_some(())?;
    let inode = words.nth(5)?;
    let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
    Some((format!("socket:[{inode}]").into(), port))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                       0: 00000000:281A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 71 1 0 100\n   \
                       1: 0100007F:2809 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 72 1 0 100\n";

    /// A process with this command line in a network namespace.
    fn process(proc: &Path, pid: &str, command: &str, network: &str) {
        let folder = proc.join(pid);
        for part in ["ns", "fd", "net"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        fs::write(folder.join("cmdline"), command.replace(' ', "\0")).unwrap();
        symlink(network, folder.join("ns/net")).unwrap();
        for (fd, target) in [("3", "socket:[71]"), ("4", "socket:[72]"), ("5", "/dev/null")] {
            symlink(target, folder.join("fd").join(fd)).unwrap();
        }
        fs::write(folder.join("net/tcp"), TCP).unwrap();
    }

    #[test]
    fn a_kube_proxy_of_this_network_namespace_is_found_with_its_ports() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, command, network) in [
            ("self", "pointsman", "net:[1]"),
            ("10", "/usr/local/bin/kube-proxy --config=/c", "net:[1]"),
            ("11", "kube-proxy --config=/c", "net:[2]"),
            ("12", "kube-proxy --cleanup", "net:[1]"),
            ("13", "kube-proxy --version=raw", "net:[1]"),
            ("14", "/bin/kube-proxyd", "net:[1]"),
            ("15", "vi kube-proxy", "net:[1]"),
            ("16", "/hyperkube proxy --v=2", "net:[1]"),
            ("17", "/hyperkube kubelet", "net:[1]"),
        ] {
            process(proc.path(), pid, command, network);
        }
        let mut found = find_processes(proc.path());
        found.sort_by_key(|process| process.pid);
        let ports = BTreeSet::from([10_266]);
        assert_eq!(found, [10, 16].map(|pid| KubeProxyProcess { pid, ports: ports.clone() }));
    }

    #[test]
    fn a_folder_without_processes_has_none() {
        assert_eq!(find_processes(Path::new("/nowhere")), []);
    }
}
