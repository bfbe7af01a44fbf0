//! The configuration file: kubeadm's command line on a node, the sysctls, and changes of the file while the proxy runs.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cluster::until;
use crate::common::apiserver::{self, ApiServer, Fault, Resource};
use crate::common::netns::{NODE_NAME, Namespace, Node, Proxy, requirements};

/// How long the proxy may take to end.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// What kubeadm puts into the ConfigMap.
const KUBEADM: &str = include_str!("../operator/kubeadm.yaml");

/// A node whose API server listens inside it, and a mounted ConfigMap with `config.conf`.
struct Cluster {
    node: Node,
    server: ApiServer,
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
}

impl Cluster {
    fn new() -> Option<Self> {
        let nft = requirements::nft_or_skip()?;
        let node = Node::new(Path::new(env!("CARGO_BIN_EXE_pointsman")), nft);
        let server = node.host.enter(ApiServer::start);
        server.apply(apiserver::service_cidr("kubernetes", &["10.96.0.0/16"]));
        server.apply(apiserver::node(NODE_NAME));
        server.apply(apiserver::service("default/web", "10.96.0.10"));
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = server.write_kubeconfig(folder.path());
        let cluster = Self { node, server, folder, kubeconfig };
        symlink("..data/config.conf", cluster.config()).expect("a link");
        cluster.mount(KUBEADM);
        Some(cluster)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.conf")
    }

    /// Replaces the content as a kubelet does: a new folder, and one link that is renamed over the old one.
    fn mount(&self, content: &str) {
        let folder = tempfile::Builder::new().prefix("..").tempdir_in(self.folder.path()).expect("a folder").keep();
        fs::write(folder.join("config.conf"), content).expect("written");
        let link = self.folder.path().join("..data_tmp");
        symlink(&folder, &link).expect("a link");
        fs::rename(&link, self.folder.path().join("..data")).expect("renamed");
    }

    /// Starts the proxy as kubeadm's DaemonSet starts kube-proxy, and waits until it has programmed the node.
    fn start(&self) -> Proxy {
        let config = format!("--config={}", self.config().display());
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        let proxy = self.node.start_pointsman(&[&config, &kubeconfig, "--watch-timeout=2"]);
        until(&proxy, "it has programmed the node", || proxy.log().contains("committed"));
        proxy
    }
}

/// Waits until the proxy has ended by itself.
fn ends(proxy: &mut Proxy) {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while !proxy.has_ended() {
        assert!(Instant::now() < deadline, "the proxy does not end\n{}", proxy.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A sysctl of connection tracking in a namespace.
fn sysctl(host: &Namespace, name: &str) -> String {
    let path = Path::new("/proc/sys/net/netfilter").join(name);
    host.enter(|| fs::read_to_string(&path)).expect("the sysctl exists").trim().to_owned()
}

const ESTABLISHED: &str = "nf_conntrack_tcp_timeout_established";
const CLOSE_WAIT: &str = "nf_conntrack_tcp_timeout_close_wait";

#[test]
fn kubeadms_configuration_runs_and_sets_the_sysctls_of_the_namespace() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.node.host.sysctl("netfilter/nf_conntrack_tcp_timeout_established", "432000");
    cluster.node.host.sysctl("netfilter/nf_conntrack_tcp_timeout_close_wait", "60");
    let proxy = cluster.start();
    // The host is prepared beside the first sync.
    let is_set = |name, value| sysctl(&cluster.node.host, name) == value;
    until(&proxy, "the sysctls are set", || is_set(ESTABLISHED, "86400") && is_set(CLOSE_WAIT, "3600"));
    let table = cluster.node.nft(&["list", "table", "ip", "pointsman"]);
    assert!(table.contains("10.96.0.10") && table.contains("10.244.0.0/16"), "{table}");
    let ended = proxy.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_sysctl_that_cannot_be_written_is_a_warning_with_both_values() {
    let Some(cluster) = Cluster::new() else { return };
    let present = sysctl(&cluster.node.host, "nf_conntrack_max");
    cluster.mount(&KUBEADM.replace("maxPerCore: null", "maxPerCore: 7").replace("min: null", "min: 12345678"));
    let proxy = cluster.start();
    until(&proxy, "the others are set", || sysctl(&cluster.node.host, ESTABLISHED) == "86400");
    if sysctl(&cluster.node.host, "nf_conntrack_max") == present {
        let warning = || {
            let log = proxy.log();
            log.lines().find(|line| line.contains("WARN") && line.contains("nf_conntrack_max")).map(str::to_owned)
        };
        until(&proxy, "it warns", || warning().is_some());
        let line = warning().expect("it is there");
        assert!(line.contains("wanted=12345678") && line.contains(&format!("present={present}")), "{line}");
    }
}

#[test]
fn init_only_sets_the_sysctls_and_programs_nothing() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.node.host.sysctl("netfilter/nf_conntrack_tcp_timeout_close_wait", "60");
    let finished = cluster.node.pointsman(&["--init-only", "--conntrack-max-per-core=0", "--conntrack-tcp-be-liberal"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(sysctl(&cluster.node.host, CLOSE_WAIT), "3600");
    assert_eq!(sysctl(&cluster.node.host, "nf_conntrack_tcp_be_liberal"), "1");
    assert_eq!(cluster.node.nft(&["list", "tables"]), "");
}

#[test]
fn with_manifests_only_sysctls_that_flags_name_are_set() {
    let Some(cluster) = Cluster::new() else { return };
    let host = &cluster.node.host;
    host.sysctl("netfilter/nf_conntrack_tcp_timeout_established", "1000");
    host.sysctl("netfilter/nf_conntrack_tcp_timeout_close_wait", "60");
    let manifests = tempfile::tempdir().expect("a folder");
    let nothing = "{kind: List, apiVersion: v1, items: []}";
    std::fs::write(manifests.path().join("nothing.yaml"), nothing).expect("the folder is writable");
    let manifests = manifests.path().to_str().expect("a path of letters");
    for (args, close_wait) in [
        (&["--once", "--conntrack-tcp-timeout-close-wait=77s"][..], "60"),
        (&["--dry-run", "--conntrack-tcp-timeout-close-wait=77s"], "60"),
    ] {
        cluster.node.pointsman(&[&["--manifests", manifests], args].concat());
        assert_eq!(sysctl(host, CLOSE_WAIT), close_wait, "{args:?}");
    }
    let args = ["--manifests", manifests, "--conntrack-tcp-timeout-close-wait=77s"];
    let proxy = cluster.node.start_pointsman(&args);
    until(&proxy, "the sysctl is set", || sysctl(host, CLOSE_WAIT) == "77");
    until(&proxy, "it has begun", || proxy.log().contains("started"));
    assert_eq!(sysctl(host, ESTABLISHED), "1000");
}

#[test]
fn a_changed_configuration_ends_the_proxy_with_the_reason_and_leaves_the_rules() {
    let Some(cluster) = Cluster::new() else { return };
    let mut proxy = cluster.start();
    let before = cluster.node.nft(&["list", "table", "ip", "pointsman"]);

    // The same configuration, written differently.
    cluster.mount(&format!("# a comment\n{}", KUBEADM.replace("scheduler: \"\"", "scheduler: rr")));
    // A configuration that is not valid.
    std::thread::sleep(Duration::from_millis(500));
    cluster.mount(&KUBEADM.replace("bindAddress: 0.0.0.0", "bindAddress: somewhere"));
    until(&proxy, "it complains", || proxy.log().contains("KubeProxyConfiguration.bindAddress: \"somewhere\""));
    assert!(proxy.log().contains("the previous version stays in force"), "{}", proxy.log());
    // What takes effect at once.
    cluster.mount(&KUBEADM.replace("verbosity: 0", "verbosity: 4"));
    until(&proxy, "it says more", || proxy.log().contains("the log follows its verbosity"));
    assert!(!proxy.log().contains("exiting"), "{}", proxy.log());
    // And what does not.
    cluster
        .mount(&KUBEADM.replace("masqueradeAll: false", "masqueradeAll: true").replace("verbosity: 0", "verbosity: 4"));
    ends(&mut proxy);
    let log = proxy.log();
    assert_eq!(proxy.stop(), Some(Some(1)), "{log}");
    assert!(log.contains("nftables.masqueradeAll") && log.contains("exiting, so that a supervisor restarts"), "{log}");
    assert_eq!(cluster.node.nft(&["list", "table", "ip", "pointsman"]), before);
}

#[test]
fn a_taken_address_is_tried_again_without_bind_address_hard_fail() {
    let Some(cluster) = Cluster::new() else { return };
    let taken = cluster.node.host.enter(|| TcpListener::bind("0.0.0.0:10256")).expect("the port is free");
    let kubeconfig = cluster.kubeconfig.to_str().expect("a path of letters");
    let finished = cluster.node.pointsman(&["--kubeconfig", kubeconfig, "--bind-address-hard-fail"]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("10256"), "{}", finished.stderr);

    let proxy = cluster.start();
    assert!(proxy.log().contains("tries again every 5 s"), "{}", proxy.log());
    drop(taken);
    until(&proxy, "it listens", || proxy.log().contains("listening now"));
}

#[test]
fn a_configuration_that_disappears_is_named() {
    let Some(cluster) = Cluster::new() else { return };
    let proxy = cluster.start();
    fs::remove_file(cluster.config()).expect("ours");
    let words = format!("cannot read {}", cluster.config().display());
    until(&proxy, "it complains", || proxy.log().contains(&words));
    assert!(proxy.log().contains("the previous version stays in force"), "{}", proxy.log());
}

#[test]
fn sighup_is_ignored() {
    let Some(cluster) = Cluster::new() else { return };
    let mut proxy = cluster.start();
    proxy.signal(nix::sys::signal::Signal::SIGHUP);
    until(&proxy, "it says so", || proxy.log().contains("SIGHUP is ignored"));
    assert!(!proxy.has_ended());
    assert_eq!(proxy.terminate().code, Some(0));
}

#[test]
fn one_sync_that_does_not_happen_is_an_error() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.server.fail(Resource::Services, None, Fault::NoAnswer, None);
    let kubeconfig = cluster.kubeconfig.to_str().expect("a path of letters");
    let finished = cluster.node.pointsman(&["--kubeconfig", kubeconfig, "--once", "--timeout=1s"]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("there was no sync: 1s (--timeout) have passed"), "{}", finished.stderr);
    let proxy = cluster.node.start_pointsman(&["--kubeconfig", kubeconfig, "--once"]);
    until(&proxy, "it has begun", || proxy.log().contains("started"));
    let ended = proxy.terminate();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("there was no sync: it was interrupted"), "{}", ended.stderr);
    assert_eq!(cluster.node.nft(&["list", "tables"]), "");
}
