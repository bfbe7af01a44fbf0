//! Configurations in the shapes that distributions and tools write: what is taken, what is said, and that doctor says the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pointsman::doctor::ProxyConfig;

use crate::{POINTSMAN, run};

/// A configuration from the field.
struct Case {
    /// The file below `tests/operator`; or the distribution, if it gives flags.
    name: &'static str,
    /// The flags of distributions without a file.
    flags: &'static [&'static str],
    outcome: Outcome,
}

/// What becomes of it.
enum Outcome {
    /// It is taken: lines of the configuration in force, and the warnings, in part.
    Taken(&'static [&'static str], &'static [&'static str]),
    /// It is refused: parts of the error.
    Refused(&'static [&'static str]),
}

use Outcome::{Refused, Taken};

const fn file(name: &'static str, outcome: Outcome) -> Case {
    Case { name, flags: &[], outcome }
}

const fn flags(name: &'static str, flags: &'static [&'static str], outcome: Outcome) -> Case {
    Case { name, flags, outcome }
}

const CASES: &[Case] = &[
    file("kubeadm.yaml", Taken(&["clusterCIDR: 10.244.0.0/16", "maxPerCore: 32768", "oomScoreAdj: -999"], &[])),
    file(
        "field/kubespray.yaml",
        Taken(
            &["clusterCIDR: 10.233.64.0/18", "hostnameOverride: worker-1.lab.example", "strictARP: true"],
            &["unknown field \"udpIdleTimeout\" is ignored: it was removed in Kubernetes 1.26"],
        ),
    ),
    file(
        "field/eks.yaml",
        Taken(
            &["oomScoreAdj: -998", "metricsBindAddress: 0.0.0.0:10249"],
            &[
                "\"conntrack.max\" is ignored: it was removed in Kubernetes 1.15",
                "\"resourceContainer\"",
                "\"udpIdleTimeout\"",
            ],
        ),
    ),
    file(
        "field/openshift.yaml",
        Taken(
            &["clusterCIDR: 10.128.0.0/14", "healthzBindAddress: 0.0.0.0:10255", "masqueradeBit: 0"],
            &["iptables.masqueradeBit: 0 counts for kube-proxy in mode iptables, but not here"],
        ),
    ),
    file("field/kind.yaml", Taken(&["clusterCIDR: 10.244.0.0/16,fd00:10:244::/56", "maxPerCore: 0"], &[])),
    file("field/minikube.yaml", Taken(&["maxPerCore: 0", "tcpEstablishedTimeout: 0s", "tcpCloseWaitTimeout: 0s"], &[])),
    file(
        "field/helm-template.yaml",
        Taken(&["min: 1048576", "maxPerCore: 32768", "oomScoreAdj: -999", "masqueradeBit: 14"], &[]),
    ),
    file(
        "field/terraform.yaml",
        Refused(&[
            "conntrack.maxPerCore: \"0\" is not allowed: expected a whole number from 0, without quotes",
            "conntrack.tcpBeLiberal: \"true\" is not allowed: expected true or false, without quotes",
            "featureGates[AllowServiceExternalIPs]: \"false\" is not allowed: expected true or false, without quotes",
            "nodePortAddresses: \"10.9.1.0/24\" is not allowed: expected a list of texts, such as [\"10.9.1.0/24\"]",
        ]),
    ),
    file(
        "field/pulumi.json",
        Taken(&["clusterCIDR: 10.77.0.0/16", "AllowServiceExternalIPs: false", "udpTimeout: 30s"], &[]),
    ),
    file(
        "field/k0s.yaml",
        Taken(
            &["scheduler: lc"],
            &[
                "iptables.masqueradeAll: true counts for kube-proxy in mode ipvs, but not here",
                "iptables.masqueradeBit: 15 counts for kube-proxy in mode ipvs, but not here",
            ],
        ),
    ),
    file(
        "field/config-map.yaml",
        Refused(&[
            "KubeProxyConfiguration.kind: \"ConfigMap\"",
            "put the text of \"config.conf\" into a file of its own",
        ]),
    ),
    file(
        "field/userspace.yaml",
        Refused(&[
            "mode: \"userspace\" is not allowed: expected one of iptables, ipvs, nftables (userspace was removed in Kubernetes \
             1.26, use nftables)",
        ]),
    ),
    file(
        "field/kubeadm-dump.yaml",
        Taken(&["clusterCIDR: 10.244.0.0/16"], &["only the first document of the file counts"]),
    ),
    file("field/empty.yaml", Refused(&["it is empty: expected a KubeProxyConfiguration"])),
    file(
        "field/anchors.yaml",
        Taken(
            &["tcpEstablishedTimeout: 2h0m0s", "tcpCloseWaitTimeout: 20m0s", "maxPerCore: 4096", "min: 8"],
            &["unknown field \"x-times\" is ignored"],
        ),
    ),
    flags(
        "k3s",
        &[
            "--cluster-cidr=10.42.0.0/16",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-close-wait=0s",
            "--conntrack-tcp-timeout-established=0s",
            "--healthz-bind-address=127.0.0.1",
            "--hostname-override=agent-7",
            "--proxy-mode=iptables",
        ],
        Taken(&["clusterCIDR: 10.42.0.0/16", "maxPerCore: 0", "healthzBindAddress: 127.0.0.1:10256"], &[]),
    ),
    flags(
        "RKE2",
        &["--cluster-cidr=10.42.0.0/16,fd42::/56", "--conntrack-max-per-core=0", "--healthz-bind-address=::1", "--v=2"],
        Taken(&["clusterCIDR: 10.42.0.0/16,fd42::/56", "verbosity: 2"], &[]),
    ),
    flags(
        "GKE",
        &[
            "--cluster-cidr=10.56.0.0/14",
            "--detect-local-mode=NodeCIDR",
            "--oom-score-adj=-998",
            "--v=2",
            "--feature-gates=SomeGate=false,OtherGate=true",
            "--iptables-sync-period=1m",
            "--iptables-min-sync-period=10s",
            "--ipvs-sync-period=1m",
            "--ipvs-min-sync-period=10s",
        ],
        Taken(&["detectLocalMode: NodeCIDR", "oomScoreAdj: -998", "syncPeriod: 1m0s", "minSyncPeriod: 10s"], &[]),
    ),
    flags(
        "kOps",
        &[
            "--cluster-cidr=100.96.0.0/11",
            "--conntrack-max-per-core=131072",
            "--hostname-override=i-0abc",
            "--oom-score-adj=-998",
        ],
        Taken(&["maxPerCore: 131072", "hostnameOverride: i-0abc"], &[]),
    ),
    flags(
        "Talos",
        &[
            "--cluster-cidr=10.244.0.0/16",
            "--conntrack-max-per-core=0",
            "--proxy-mode=nftables",
            "--hostname-override=talos-x1",
        ],
        Taken(&["mode: nftables", "hostnameOverride: talos-x1"], &[]),
    ),
    flags(
        "microk8s",
        &["--cluster-cidr=10.1.0.0/16", "--healthz-bind-address=127.0.0.1", "--profiling=false"],
        Taken(&["clusterCIDR: 10.1.0.0/16"], &[]),
    ),
    flags(
        "an old microk8s",
        &["--proxy-mode=userspace"],
        Refused(&["--proxy-mode: \"userspace\"", "(userspace was removed in Kubernetes 1.26, use nftables)"]),
    ),
    flags("an old cluster", &["--conntrack-max=0"], Refused(&["--conntrack-max was removed in Kubernetes 1.15"])),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operator").join(name)
}

/// Starts the program as far as its configuration: the exit code, the configuration in force, and the log.
fn start(case: &Case) -> (Option<i32>, String, String) {
    let mut command = Command::new(POINTSMAN);
    if case.flags.is_empty() {
        command.arg("--config").arg(path(case.name));
    }
    run(command.args(case.flags).args(["--write-config-to", "-"]))
}

#[test]
fn configurations_from_the_field_are_taken_or_refused_as_kube_proxy_does_and_what_is_said_helps() {
    for case in CASES {
        let name = case.name;
        let (code, stdout, stderr) = start(case);
        let warnings = stderr.lines().filter(|line| line.contains("WARN")).count();
        match case.outcome {
            Taken(lines, said) => {
                assert_eq!((code, warnings), (Some(0), said.len()), "{name}: {stderr}");
                for line in lines {
                    assert!(stdout.lines().any(|found| found.trim() == *line), "{name}: no {line} in\n{stdout}");
                }
                for words in said {
                    assert!(stderr.contains(words), "{name}: no {words:?} in {stderr}");
                }
            }
            Refused(said) => {
                assert_eq!((code, stdout.as_str()), (Some(2), ""), "{name}: {stderr}");
                for words in said {
                    assert!(stderr.contains(words), "{name}: no {words:?} in {stderr}");
                }
            }
        }
        for jargon in ["panicked", "from_str", "multiple YAML documents", "serde", "granit"] {
            assert!(!stderr.contains(jargon), "{name}: {stderr}");
        }
    }
}

#[test]
fn doctor_and_the_start_say_the_same_about_every_file() {
    let folder = fs::read_dir(path("field")).expect("a folder").map(|file| file.expect("a file").path());
    let mut names: Vec<PathBuf> = folder.chain([path("kubeadm.yaml")]).collect();
    names.sort();
    assert!(names.len() >= 14);
    for file in names {
        let name = file.display();
        assert!(CASES.iter().any(|case| path(case.name) == file), "{name} is not in the table");
        let text = fs::read_to_string(&file).expect("text");
        let examined = ProxyConfig::examine(&file, &text);
        let (code, _, log) = run(Command::new(POINTSMAN).arg("--config").arg(&file).args(["--write-config-to", "-"]));
        assert_eq!(examined.problems.is_empty(), code == Some(0), "{name}: {:?} {log}", examined.problems);
        for said in &examined.problems {
            assert!(log.contains(said.as_str()), "{name}: no {said:?} in {log}");
        }
        if examined.problems.is_empty() {
            let warned = log.lines().filter(|line| line.contains("WARN")).count();
            assert_eq!(warned, examined.warnings.len(), "{name}: {log}");
            for said in &examined.warnings {
                assert!(log.contains(said.as_str()), "{name}: no {said:?} in {log}");
            }
        }
    }
}

#[test]
fn what_is_written_from_a_configuration_of_the_field_reads_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = folder.path().join("written.yaml");
    for case in CASES.iter().filter(|case| matches!(case.outcome, Taken(..))) {
        let (_, first, _) = start(case);
        fs::write(&written, &first).expect("written");
        let (code, second, stderr) =
            run(Command::new(POINTSMAN).arg("--config").arg(&written).args(["--write-config-to=-"]));
        assert_eq!((code, second), (Some(0), first), "{}: {stderr}", case.name);
    }
}
