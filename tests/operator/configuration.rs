//! kube-proxy's configuration file and flags, given to the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::apiserver::{self, ApiServer};
use crate::{EXAMPLES, POINTSMAN, assert_refused, run};

/// The configuration that kubeadm puts into the ConfigMap.
const KUBEADM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operator/kubeadm.yaml");

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A configuration file with these lines.
    fn configuration(&self, lines: &str) -> PathBuf {
        let path = self.path().join("config.conf");
        fs::write(&path, format!("{HEAD}{lines}")).expect("the folder is writable");
        path
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

/// The plan for the examples: standard output and the log.
fn plan(args: &[&str]) -> (String, String) {
    let mut command = Command::new(POINTSMAN);
    command.args(["--manifests", EXAMPLES, "--dry-run", "--against", "empty"]).args(args).stdin(Stdio::null());
    let (code, stdout, stderr) = run(&mut command);
    assert_eq!(code, Some(1), "{args:?}: {stderr}");
    (stdout, stderr)
}

#[test]
fn the_arguments_of_kubeadms_daemonset_work_unchanged() {
    let server = ApiServer::start();
    server.apply(apiserver::service_cidr("kubernetes", &["10.96.0.0/16"]));
    server.apply(apiserver::node("n1"));
    server.apply(apiserver::service("default/web", "10.96.0.10"));
    server.apply(apiserver::slice("default/web-1", "web", &["10.244.0.5"]));
    let folder = Folder::new();
    let kubeconfig = server.write_kubeconfig(folder.path());
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let command = ["--config", KUBEADM, "--hostname-override=n1", &kubeconfig, "-o", "nft"];
    let mut pointsman = Command::new(POINTSMAN);
    let (code, stdout, stderr) = run(pointsman.args(command).args(["--dry-run", "--against", "empty"]));
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    assert!(stdout.contains("10.244.0.5 . 8080"), "{stdout}");
    assert!(stdout.contains("10.244.0.0/16"), "the cluster CIDR of the file: {stdout}");
}

#[test]
fn a_file_and_equivalent_flags_give_the_same_plan() {
    let folder = Folder::new();
    let file = folder.configuration(
        "clusterCIDR: 10.128.0.0/16\nhostnameOverride: node-a\nnftables: {masqueradeAll: true, masqueradeBit: 3}\n",
    );
    let flags =
        ["--cluster-cidr=10.128.0.0/16", "--hostname-override=node-a", "--masquerade-all=true", "--masquerade-bit=3"];
    let (from_flags, _) = plan(&flags);
    assert_eq!(plan(&["--config", text(&file)]).0, from_flags);
    let (without, _) = plan(&["--hostname-override", "node-a"]);
    assert_ne!(without, from_flags);
}

#[test]
fn a_file_may_be_json_and_counts_for_replay_too() {
    let folder = Folder::new();
    let file = folder.path().join("config.json");
    let json = "{\"apiVersion\": \"kubeproxy.config.k8s.io/v1alpha1\", \"kind\": \"KubeProxyConfiguration\",\n\
                \t\"clusterCIDR\": \"10.99.0.0/16\"}";
    fs::write(&file, json).expect("written");
    let journal = folder.path().join("journal");
    let args = ["--config", text(&file), "--hostname-override", "node-a", "-o", "nft"];
    let (printed, _) = plan(&[&args[..], &["--record", text(&journal)]].concat());
    assert!(printed.contains("10.99.0.0/16"), "{printed}");
    let (code, replayed, stderr) = run(Command::new(POINTSMAN).args(["replay", text(&journal)]).args(args));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(replayed, printed);
}

#[test]
fn one_error_names_all_problems_of_a_file() {
    let folder = Folder::new();
    let file = folder.configuration(
        "bindAddress: here\nnodePortAddresses: [secondary, 10.0.0.0/8]\nnftables: {syncPeriod: 5, minSyncPeriod: soon}\nmode: fast\n",
    );
    assert_refused(
        &["--config", text(&file)],
        &[
            text(&file),
            "KubeProxyConfiguration.bindAddress: \"here\"",
            "KubeProxyConfiguration.nodePortAddresses[0]: \"secondary\"",
            "KubeProxyConfiguration.nftables.syncPeriod: 5",
            "KubeProxyConfiguration.nftables.minSyncPeriod: \"soon\"",
            "KubeProxyConfiguration.mode: \"fast\" is not allowed: expected one of iptables, ipvs, nftables",
        ],
    );
    assert_refused(&["--config", "/nowhere/config.conf"], &["/nowhere/config.conf", "--config"]);
    fs::write(&file, "kind: [").expect("written");
    assert_refused(&["--config", text(&file)], &[text(&file), "line "]);
}

#[test]
fn unknown_repeated_and_ignored_fields_are_logged_and_do_not_stop_the_start() {
    let folder = Folder::new();
    let file = folder.configuration("clusterCidr: 10.0.0.0/8\nmode: iptables\nmode: ipvs\nportRange: 1-2\n");
    let args = ["--config", text(&file), "--cluster-cidr", "10.0.0.0/8", "--log-level", "info"];
    let (_, log) = plan(&args);
    for words in [
        "unknown field \"clusterCidr\" is ignored: did you mean clusterCIDR?",
        "the field mode occurs more than once: the last one counts",
        "mode: \"ipvs\" is ignored: the mode is always nftables",
        "portRange: \"1-2\" is ignored",
        "--cluster-cidr is ignored, because the file of --config replaces the flags: set clusterCIDR there",
    ] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
}

#[test]
fn flags_without_effect_are_accepted_and_logged() {
    let flags = [
        "--proxy-mode=iptables",
        "--ipvs-scheduler=rr",
        "--ipvs-strict-arp",
        "--iptables-masquerade-bit=14",
        "--iptables-localhost-nodeports=false",
        "--ipvs-exclude-cidrs=10.0.0.0/8",
        "--config-sync-period=15m0s",
        "--profiling",
        "--vmodule=a=1",
        "--feature-gates=ContextualLogging=true",
        "--oom-score-adj",
        "-999",
        "-v=4",
    ];
    let (_, log) = plan(&flags);
    for flag in flags.iter().take(9).filter(|flag| !flag.starts_with("--proxy-mode")) {
        let name = flag.split('=').next().unwrap_or_default();
        assert!(log.contains(&format!("{name} is ignored: ")), "{name}: {log}");
    }
    assert!(log.contains("mode: \"iptables\" is ignored"), "{log}");
    assert!(log.contains("without effect in Pointsman: ContextualLogging"), "{log}");
}

#[test]
fn the_effective_configuration_is_written_and_read_back_unchanged() {
    let folder = Folder::new();
    let (first, second) = (folder.path().join("first.yaml"), folder.path().join("second.yaml"));
    let write = |args: &[&str], to: &Path| {
        let (code, stdout, stderr) = run(Command::new(POINTSMAN).args(args).args(["--write-config-to", text(to)]));
        assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
        fs::read_to_string(to).expect("it is written")
    };
    let flags = [
        "--cluster-cidr=10.128.0.0/16",
        "--metrics-bind-address=",
        "--bind-address=::",
        "--iptables-min-sync-period=2s",
        "--conntrack-max-per-core=0",
        "--nodeport-addresses=192.0.2.0/24,fd00::/64",
        "--hostname-override=Node-A",
    ];
    let written = write(&flags, &first);
    assert_eq!(write(&["--config", text(&first)], &second), written);
    for line in
        ["kind: KubeProxyConfiguration", "clusterCIDR: 10.128.0.0/16", "mode: nftables", "metricsBindAddress: none"]
    {
        assert!(written.contains(line), "no {line} in\n{written}");
    }
    assert_refused(&["--write-config-to", "/nowhere/file"], &["/nowhere/file", "--write-config-to"]);
}

#[test]
fn every_spelling_of_the_version_flag_prints_the_version() {
    for flag in ["--version", "--version=true", "--version=raw", "-V"] {
        let (code, stdout, _) = run(Command::new(POINTSMAN).arg(flag));
        let beginning = format!("pointsman {} (commit ", env!("CARGO_PKG_VERSION"));
        assert_eq!(code, Some(0), "{flag}");
        assert!(stdout.starts_with(&beginning) && stdout.lines().count() == 1, "{flag}: {stdout}");
    }
}

#[test]
fn ignored_flags_are_only_in_the_long_help() {
    let help = |flag| run(Command::new(POINTSMAN).arg(flag)).1;
    assert!(!help("-h").contains("--ipvs-scheduler") && help("-h").contains("--conntrack-min"));
    assert!(help("--help").contains("--ipvs-scheduler"));
}
