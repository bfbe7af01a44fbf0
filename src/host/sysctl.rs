//! The sysctls of connection tracking, as kube-proxy sets them: once at the start, and only those that differ.
//!
//! What cannot be written is warned about and survived, where kube-proxy ends: Services with another timeout are worth more to an
//! operator than none. `nf_conntrack_max` and the size of the hash table belong to the whole machine on older kernels, so they cannot
//! be written from a network namespace of one's own, and nothing can from a container that has `/proc/sys` read-only.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::config::ConntrackSettings;

/// So many entries the processors can ask for together. The minimum may be more: it was given as a number of entries.
const MOST_BY_CORES: u64 = 1_048_576;
/// Entries for each bucket of the hash table.
const ENTRIES_PER_BUCKET: u64 = 4;
const FOLDER: &str = "proc/sys/net/netfilter";
const HASH_SIZE: &str = "sys/module/nf_conntrack/parameters/hashsize";
const MAX: &str = "nf_conntrack_max";

/// A sysctl of `net.netfilter` and the value that it should have.
pub type Wanted = (&'static str, u64);

/// What connection tracking needs on a host with so many processors.
pub fn wanted(conntrack: &ConntrackSettings, cores: u64) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    if conntrack.max_per_core > 0 {
        let by_cores = cores.saturating_mul(conntrack.max_per_core).min(MOST_BY_CORES);
        wanted.push((MAX, by_cores.max(conntrack.min)));
    }
    let timeouts = [
        ("nf_conntrack_tcp_timeout_established", conntrack.tcp_established),
        ("nf_conntrack_tcp_timeout_close_wait", conntrack.tcp_close_wait),
        ("nf_conntrack_udp_timeout", conntrack.udp),
        ("nf_conntrack_udp_timeout_stream", conntrack.udp_stream),
    ];
    // A part of a second must not become 0, which would mean something else.
    let seconds = |length: Duration| length.as_secs().max(1);
    wanted.extend(
        timeouts.into_iter().filter(|(_, length)| !length.is_zero()).map(|(name, length)| (name, seconds(length))),
    );
    if conntrack.tcp_be_liberal {
        wanted.push(("nf_conntrack_tcp_be_liberal", 1));
    }
    wanted
}

/// The number of processors of the host whose files are below `root`, whatever this process may use of them.
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

/// Sets what differs below `root` (`/`). What cannot be set is warned about.
pub fn set(root: &Path, wanted: &[Wanted]) {
    for (name, value) in wanted {
        ensure(root, &format!("{FOLDER}/{name}"), *value, |present| present == *value);
        if *name == MAX {
            // A hash table that is too small makes long chains; one that is larger does no harm.
            let buckets = value / ENTRIES_PER_BUCKET;
            ensure(root, HASH_SIZE, buckets, |present| present >= buckets);
        }
    }
}

/// Writes a value where the present one does not do.
fn ensure(root: &Path, file: &str, value: u64, does: impl Fn(u64) -> bool) {
    let path = root.join(file);
    let present = match read(&path) {
        Ok(present) if does(present) => return,
        Ok(present) => Some(present),
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), wanted = value, "cannot read a sysctl of connection tracking: is nf_conntrack loaded?");
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
             with the permission to do so, or configure conntrack to leave it alone (0)"
        ),
    }
}

fn read(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{:?} is no number", text.trim())))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Settings;

    /// A host whose sysctls have these values.
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
    fn everything_that_is_asked_for_is_wanted_and_nothing_else() {
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
    fn only_what_differs_is_written() {
        let root = host(&[
            ("proc/sys/net/netfilter/nf_conntrack_max", "100"),
            ("proc/sys/net/netfilter/nf_conntrack_udp_timeout", "30"),
            (HASH_SIZE, "16"),
        ]);
        let udp = root.path().join("proc/sys/net/netfilter/nf_conntrack_udp_timeout");
        let untouched = fs::metadata(&udp).unwrap().modified().unwrap();
        set(root.path(), &[(MAX, 400), ("nf_conntrack_udp_timeout", 30)]);
        assert_eq!(value(&root, "proc/sys/net/netfilter/nf_conntrack_max"), "400");
        assert_eq!(value(&root, HASH_SIZE), "100");
        assert_eq!(fs::metadata(&udp).unwrap().modified().unwrap(), untouched);
        assert_eq!(value(&root, "proc/sys/net/netfilter/nf_conntrack_udp_timeout"), "30\n");
    }

    #[test]
    fn a_larger_hash_table_stays() {
        let root = host(&[("proc/sys/net/netfilter/nf_conntrack_max", "400"), (HASH_SIZE, "500")]);
        set(root.path(), &[(MAX, 400)]);
        assert_eq!(value(&root, HASH_SIZE), "500\n");
    }

    #[test]
    fn what_cannot_be_set_does_not_keep_the_rest_from_being_set() {
        let root = host(&[
            ("proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established", "words"),
            ("proc/sys/net/netfilter/nf_conntrack_udp_timeout", "1"),
        ]);
        // A folder cannot be read or written by anybody, not even by root.
        fs::create_dir_all(root.path().join("proc/sys/net/netfilter/nf_conntrack_max")).unwrap();
        let stream = root.path().join("proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream");
        fs::write(&stream, "1").unwrap();
        fs::set_permissions(&stream, Permissions::from_mode(0o444)).unwrap();
        set(
            root.path(),
            &[
                (MAX, 400),
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
