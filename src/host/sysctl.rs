//! The sysctls of connection tracking, as kube-proxy sets them: once at the start, and only those that differ. The bound of entries is only
//! raised, as by kube-proxy from 1.38 on: an administrator who allowed more had a reason, and entries above a lower bound would be lost.
//!
//! A sysctl that cannot be written costs a warning, where kube-proxy ends: Services with another timeout are worth more to an
//! operator than no Services. On older kernels `nf_conntrack_max` and the size of the hash table belong to the whole machine and
//! cannot be written from another network namespace; a container with a read-only `/proc/sys` can write none of them.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::config::ConntrackSettings;

/// Bounds the number of entries that follows from the number of processors. The configured minimum may exceed it.
const MAX_ENTRIES_BY_CORES: u64 = 1_048_576;
/// Entries per bucket of the hash table.
const ENTRIES_PER_BUCKET: u64 = 4;
/// Where the sysctls are, below the root.
const SYSCTL_FOLDER: &str = "proc/sys/net/netfilter";
/// The size of the hash table in buckets, below the root.
const HASH_SIZE_FILE: &str = "sys/module/nf_conntrack/parameters/hashsize";
/// The sysctl that bounds the number of entries.
const CONNTRACK_MAX: &str = "nf_conntrack_max";

/// A sysctl of `net.netfilter` and the value that it is to have.
pub type WantedSysctl = (&'static str, u64);

/// The sysctls that the configuration asks for, on a host with `cores` processors.
pub fn wanted(conntrack: &ConntrackSettings, cores: u64) -> Vec<WantedSysctl> {
    let mut wanted = Vec::new();
    if conntrack.max_per_core > 0 {
        let by_cores = cores.saturating_mul(conntrack.max_per_core).min(MAX_ENTRIES_BY_CORES);
        wanted.push((CONNTRACK_MAX, by_cores.max(conntrack.min)));
    }
    let timeouts = [
        ("nf_conntrack_tcp_timeout_established", conntrack.tcp_established),
        ("nf_conntrack_tcp_timeout_close_wait", conntrack.tcp_close_wait),
        ("nf_conntrack_udp_timeout", conntrack.udp),
        ("nf_conntrack_udp_timeout_stream", conntrack.udp_stream),
    ];
    // A fraction of a second must not become 0, which means something else to the kernel.
    let seconds = |length: Duration| length.as_secs().max(1);
    wanted.extend(
        timeouts.into_iter().filter(|(_, length)| !length.is_zero()).map(|(name, length)| (name, seconds(length))),
    );
    if conntrack.tcp_be_liberal {
        wanted.push(("nf_conntrack_tcp_be_liberal", 1));
    }
    wanted
}

/// The number of processors of the host whose files are below `root` (`/`), also of those that this process may not use.
pub fn cores(root: &Path) -> u64 {
    let online = fs::read_to_string(root.join("sys/devices/system/cpu/online")).ok();
    let counted = online.and_then(|list| {
        // `0-3,8`: ranges and single processors.
        list.trim()
            .split(',')
            .map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                Some(last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)? + 1)
            })
            .sum::<Option<u64>>()
    });
    counted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64))
}

/// Writes the sysctls that differ, below `root` (`/`). Logs a warning for each that cannot be written.
pub fn set(root: &Path, wanted: &[WantedSysctl]) {
    for (name, value) in wanted {
        let file = format!("{SYSCTL_FOLDER}/{name}");
        if *name != CONNTRACK_MAX {
            ensure(root, &file, *value, |present| present == *value);
        } else {
            ensure(root, &file, *value, |present| is_enough(present, *value));
            // A hash table that is too small makes long chains; a larger one does no harm.
            let buckets = value / ENTRIES_PER_BUCKET;
            ensure(root, HASH_SIZE_FILE, buckets, |present| present >= buckets);
        }
    }
}

/// Whether so many entries are allowed already. To the kernel, 0 is no bound at all.
fn is_enough(present: u64, wanted: u64) -> bool {
    if present == 0 || present > wanted {
        tracing::info!(
            present,
            wanted,
            "{CONNTRACK_MAX} allows more entries than the configuration asks for, and stays"
        );
    }
    present == 0 || present >= wanted
}

/// Writes a value, unless the present one suffices.
fn ensure(root: &Path, file: &str, value: u64, suffices: impl Fn(u64) -> bool) {
    let path = root.join(file);
    let present = match read(&path) {
        Ok(present) if suffices(present) => return,
        Ok(present) => Some(present),
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), wanted = value, "cannot read a sysctl of connection tracking, and leave it as it is: load the module nf_conntrack");
            return;
        }
    };
    match fs::write(&path, value.to_string()) {
        Ok(()) => {
            tracing::info!(file = %path.display(), value, before = present, "set a sysctl of connection tracking")
        }
        Err(error) => tracing::warn!(
            %error,
            file = %path.display(),
            wanted = value,
            present,
            "cannot set a sysctl of connection tracking, and go on without it: set it on the host, run pointsman --init-only \
             with the permission to do so, or set it to 0 in the conntrack configuration to leave it alone"
        ),
    }
}

fn read(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{:?} is not a number", text.trim())))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Settings;

    /// The root folder of a host whose sysctls have these values.
    fn host(sysctls: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, value) in sysctls {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }
        root
    }

    fn value(root: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(root.path().join(file)).unwrap()
    }

    fn defaults() -> ConntrackSettings {
        Settings::default().conntrack
    }

    #[test]
    fn the_defaults_are_those_of_kube_proxy() {
        assert_eq!(
            wanted(&defaults(), 2),
            [
                ("nf_conntrack_max", 131_072),
                ("nf_conntrack_tcp_timeout_established", 86_400),
                ("nf_conntrack_tcp_timeout_close_wait", 3_600),
            ]
        );
    }

    #[test]
    fn the_limit_follows_the_processors_up_to_a_bound_that_the_minimum_may_exceed() {
        let max = |max_per_core, min, cores| {
            let conntrack = ConntrackSettings { max_per_core, min, ..ConntrackSettings::default() };
            wanted(&conntrack, cores).first().map(|(_, value)| *value)
        };
        assert_eq!(max(32_768, 131_072, 2), Some(131_072));
        assert_eq!(max(32_768, 131_072, 8), Some(262_144));
        assert_eq!(max(32_768, 131_072, 64), Some(1_048_576));
        assert_eq!(max(32_768, 2_000_000, 64), Some(2_000_000));
        assert_eq!(max(32_768, 2_000_000, 1), Some(2_000_000));
        assert_eq!(max(0, 131_072, 64), None);
    }

    #[test]
    fn exactly_the_configured_sysctls_are_wanted() {
        let second = Duration::from_secs(1);
        let all = ConntrackSettings {
            tcp_be_liberal: true,
            udp: 30 * second,
            udp_stream: second / 2,
            ..ConntrackSettings::default()
        };
        assert_eq!(
            wanted(&all, 1),
            [
                ("nf_conntrack_udp_timeout", 30),
                ("nf_conntrack_udp_timeout_stream", 1),
                ("nf_conntrack_tcp_be_liberal", 1)
            ]
        );
        assert_eq!(wanted(&ConntrackSettings::default(), 1), []);
    }

    #[test]
    fn only_sysctls_that_differ_are_written() {
        let root = host(&[
            ("proc/sys/net/netfilter/nf_conntrack_max", "100"),
            ("proc/sys/net/netfilter/nf_conntrack_udp_timeout", "30"),
            (HASH_SIZE_FILE, "16"),
        ]);
        let udp = root.path().join("proc/sys/net/netfilter/nf_conntrack_udp_timeout");
        let untouched = fs::metadata(&udp).unwrap().modified().unwrap();
        set(root.path(), &[(CONNTRACK_MAX, 400), ("nf_conntrack_udp_timeout", 30)]);
        assert_eq!(value(&root, "proc/sys/net/netfilter/nf_conntrack_max"), "400");
        assert_eq!(value(&root, HASH_SIZE_FILE), "100");
        assert_eq!(fs::metadata(&udp).unwrap().modified().unwrap(), untouched);
        assert_eq!(value(&root, "proc/sys/net/netfilter/nf_conntrack_udp_timeout"), "30\n");
    }

    #[test]
    fn a_higher_bound_of_entries_stays_and_so_does_none() {
        const MAX: &str = "proc/sys/net/netfilter/nf_conntrack_max";
        for (present, after) in [("401", "401\n"), ("400", "400\n"), ("0", "0\n"), ("399", "400")] {
            let root = host(&[(MAX, present), (HASH_SIZE_FILE, "100")]);
            set(root.path(), &[(CONNTRACK_MAX, 400)]);
            assert_eq!(value(&root, MAX), after, "from {present}");
        }
    }

    #[test]
    fn a_larger_hash_table_stays() {
        let root = host(&[("proc/sys/net/netfilter/nf_conntrack_max", "400"), (HASH_SIZE_FILE, "500")]);
        set(root.path(), &[(CONNTRACK_MAX, 400)]);
        assert_eq!(value(&root, HASH_SIZE_FILE), "500\n");
    }

    #[test]
    fn a_sysctl_that_cannot_be_set_does_not_keep_the_others_from_being_set() {
        let root = host(&[
            ("proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established", "words"),
            ("proc/sys/net/netfilter/nf_conntrack_udp_timeout", "1"),
        ]);
        // Not even root can read or write a folder as a file.
        fs::create_dir_all(root.path().join("proc/sys/net/netfilter/nf_conntrack_max")).unwrap();
        let stream = root.path().join("proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream");
        fs::write(&stream, "1").unwrap();
        fs::set_permissions(&stream, Permissions::from_mode(0o444)).unwrap();
        set(
            root.path(),
            &[
                (CONNTRACK_MAX, 400),
                ("nf_conntrack_tcp_timeout_established", 5),
                ("nf_conntrack_udp_timeout_stream", 5),
                ("nf_conntrack_udp_timeout", 5),
            ],
        );
        assert_eq!(value(&root, "proc/sys/net/netfilter/nf_conntrack_udp_timeout"), "5");
    }

    #[test]
    fn processors_are_counted_as_the_kernel_lists_them() {
        for (list, count) in [("0\n", 1), ("0-3\n", 4), ("0-3,8,10-11\n", 7)] {
            assert_eq!(cores(host(&[("sys/devices/system/cpu/online", list)]).path()), count, "{list}");
        }
        assert!(cores(host(&[]).path()) > 0);
    }
}
