use super::*;
use crate::config::flags;
use std::collections::BTreeSet;

use crate::dataplane::{Family, LocalPods};

/// The file that kubeadm writes.
const KUBEADM: &str = include_str!("../../../tests/operator/kubeadm.yaml");

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

fn resolve(file: Option<&str>, flags: &[(&str, &str)]) -> Result<(Settings, Vec<ConfigNote>), ConfigProblems> {
    let given: Vec<_> = flags.iter().map(|(name, value)| (flags::find(name).unwrap(), (*value).to_owned())).collect();
    Settings::resolve(file.map(|text| ("config.conf", text)), &given)
}

/// The settings from a file with these lines.
fn file(lines: &str) -> Settings {
    resolve(Some(&format!("{HEAD}{lines}")), &[]).unwrap_or_else(|error| panic!("{lines}: {error}")).0
}

/// The notes about a file with these lines.
fn notes(lines: &str) -> Vec<String> {
    let (_, notes) = resolve(Some(&format!("{HEAD}{lines}")), &[]).unwrap();
    notes
        .into_iter()
        .map(|note| match note {
            ConfigNote::Warning(text) => format!("warning: {text}"),
            ConfigNote::Information(text) => text,
        })
        .collect()
}

/// The problems of a file with these lines, in short.
fn problems(lines: &str) -> Vec<String> {
    let found = resolve(Some(&format!("{HEAD}{lines}")), &[]).err().unwrap_or_else(|| panic!("{lines} is accepted"));
    found.problems.iter().map(|p| format!("{}: {}: {}", p.place, p.value, p.expected)).collect()
}

#[test]
fn kubeadms_file_sets_only_the_pods_network_and_the_kubeconfig() {
    let (settings, notes) = resolve(Some(KUBEADM), &[]).unwrap();
    assert_eq!(notes, []);
    let mut expected =
        file("clusterCIDR: 10.244.0.0/16\nclientConnection: {kubeconfig: /var/lib/kube-proxy/kubeconfig.conf}");
    assert_eq!(settings.configuration.differences(&expected.configuration), [""; 0]);
    expected.configuration = settings.configuration.clone();
    assert_eq!(settings, expected);
    let from_flags =
        resolve(None, &[("cluster-cidr", "10.244.0.0/16"), ("kubeconfig", "/var/lib/kube-proxy/kubeconfig.conf")]);
    assert_eq!(settings.configuration.differences(&from_flags.unwrap().0.configuration), [""; 0]);
}

#[test]
fn null_and_zero_values_mean_the_default_where_zero_is_no_valid_value() {
    let settings = file(
        "bindAddress: \"\"\nhealthzBindAddress: \"\"\nnodePortAddresses: []\nmode: null\noomScoreAdj: null\n\
         conntrack: null\nnftables: {syncPeriod: 0s, masqueradeBit: null}\nclientConnection: {qps: 0, burst: 0}\n",
    );
    assert_eq!(settings.configuration.differences(&Settings::default().configuration), [""; 0]);
    // In these fields, zero is a value.
    let settings =
        file("oomScoreAdj: 0\nconntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0}\nnftables: {masqueradeBit: 0}");
    assert_eq!((settings.oom_score_adj, settings.options.masquerade_bit), (0, 0));
    assert_eq!((settings.conntrack.max_per_core, settings.conntrack.tcp_established), (0, Duration::ZERO));
    assert_eq!(settings.conntrack.min, 131_072);
}

#[test]
fn every_honoured_field_reaches_the_settings() {
    let settings = file(
        "featureGates: {AllowServiceExternalIPs: false}\n\
         clientConnection: {kubeconfig: /k, qps: -1, burst: 7}\n\
         logging: {format: json, verbosity: 5}\n\
         hostnameOverride: ' Node-A '\n\
         bindAddress: 'fd00::1'\nmetricsBindAddress: 127.0.0.1\nbindAddressHardFail: true\n\
         nftables: {masqueradeBit: 3, masqueradeAll: yes, syncPeriod: 1m, minSyncPeriod: 1.5s}\n\
         detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: veth}\n\
         nodePortAddresses: [192.0.2.1/24, 'fd00::/64']\n\
         oomScoreAdj: -5\n\
         conntrack: {maxPerCore: 1, min: 2, tcpEstablishedTimeout: 3s, tcpCloseWaitTimeout: 4s, tcpBeLiberal: true, \
         udpTimeout: 5s, udpStreamTimeout: 6s}\n",
    );
    let seconds = Duration::from_secs;
    assert!(settings.ignore_external_ips && settings.bind_address_hard_fail);
    assert_eq!(settings.kubeconfig, Some("/k".into()));
    assert!(settings.requests_per_second > 1e6, "no limit");
    assert_eq!((settings.burst, settings.log_format, settings.verbosity), (7.0, LogFormat::Json, 5));
    assert_eq!(settings.node_name.as_deref(), Some("node-a"));
    assert_eq!(settings.node_ip, Some("fd00::1".parse().unwrap()));
    assert_eq!(settings.healthz.unwrap().to_string(), "[::]:10256");
    assert_eq!(settings.metrics.unwrap().to_string(), "127.0.0.1:10249");
    assert_eq!((settings.options.masquerade_bit, settings.options.masquerade_all), (3, true));
    assert_eq!((settings.sync_period, settings.min_sync_period), (seconds(60), Duration::from_millis(1500)));
    assert_eq!(settings.options.local_pods, LocalPods::Interface("veth*".to_owned()));
    let networks = ["192.0.2.0/24", "fd00::/64"].map(|network| network.parse().unwrap());
    assert_eq!(settings.node_ports, NodePortAddresses::networks(networks.into()));
    assert_eq!(settings.oom_score_adj, -5);
    let conntrack = ConntrackSettings {
        max_per_core: 1,
        min: 2,
        tcp_established: seconds(3),
        tcp_close_wait: seconds(4),
        tcp_be_liberal: true,
        udp: seconds(5),
        udp_stream: seconds(6),
    };
    assert_eq!(settings.conntrack, conntrack);
}

#[test]
fn a_json_file_is_read() {
    let text = "{\"kind\":\"KubeProxyConfiguration\",\n\t\"apiVersion\":\"kubeproxy.config.k8s.io/v1alpha1\",\
                \"nftables\":{\"masqueradeAll\":true}}";
    assert!(resolve(Some(text), &[]).unwrap().0.options.masquerade_all);
}

#[test]
fn a_written_configuration_is_read_back_unchanged() {
    for (lines, flags) in [
        ("", &[][..]),
        ("bindAddress: '::'\nmetricsBindAddress: none\nfeatureGates: {A: true, B: false}\nconfigSyncPeriod: 1h", &[]),
        (
            "nftables: {masqueradeBit: 0, syncPeriod: 1h2m3.5s}\nconntrack: {maxPerCore: 0}\nipvs: {excludeCIDRs: [10.0.0.0/8]}",
            &[],
        ),
        ("logging: {vmodule: [{filePattern: 'a*', verbosity: 3}], verbosity: 4}\nclientConnection: {qps: 2.5}", &[]),
        ("hostnameOverride: 'yes'\nnodePortAddresses: ['::/0']", &[("hostname-override", "no"), ("v", "6")]),
    ] {
        let (settings, _) = resolve(Some(&format!("{HEAD}{lines}")), flags).unwrap();
        let text = settings.configuration.yaml().unwrap();
        let (again, _) = resolve(Some(&text), &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(again, settings, "{text}");
    }
}

#[test]
fn the_json_form_has_the_kind_and_nested_fields() {
    let json = serde_json::to_value(&file("mode: ipvs\nlogging: {verbosity: 2}").configuration).unwrap();
    assert_eq!(json["apiVersion"], "kubeproxy.config.k8s.io/v1alpha1");
    assert_eq!(json["kind"], "KubeProxyConfiguration");
    assert_eq!(json["mode"], "nftables", "the mode in force, not the configured one");
    assert_eq!(json["nodePortAddresses"], serde_json::json!(["primary"]));
    assert_eq!(json["logging"]["verbosity"], 2);
    assert_eq!(json["logging"]["options"]["json"]["splitStream"], false);
    assert_eq!(json["conntrack"]["tcpEstablishedTimeout"], "24h0m0s");
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_the_expected_one() {
    for (lines, expected) in [
        ("nodePortAddresses: primary", "nodePortAddresses: \"primary\": a list of texts, such as [\"primary\"]"),
        ("oomScoreAdj: high", "oomScoreAdj: \"high\": a whole number from -1000 to 1000"),
        ("oomScoreAdj: 1.5", "oomScoreAdj: 1.5: a whole number from -1000 to 1000"),
        ("bindAddressHardFail: 1", "bindAddressHardFail: 1: true or false"),
        ("clusterCIDR: [10.0.0.0/8]", "clusterCIDR: a list: a text"),
        ("conntrack: 5", "conntrack: 5: a mapping"),
        ("featureGates: {A: maybe}", "featureGates[A]: \"maybe\": true or false"),
        ("featureGates: {A: \"true\", B: x}", "featureGates[A]: \"true\": true or false, without quotes"),
        ("featureGates: A=true", "featureGates: \"A=true\": names, each with true or false"),
        ("bindAddressHardFail: 'yes'", "bindAddressHardFail: \"yes\": true or false, without quotes"),
        ("conntrack: {min: \"1\"}", "conntrack.min: \"1\": a whole number from 0, without quotes"),
        ("conntrack: {min: 1.5e+00}", "conntrack.min: 1.5e+00: a whole number from 0"),
        ("conntrack: {min: 1e+12}", "conntrack.min: 1e+12: a whole number from 0"),
        ("clientConnection: {qps: .inf}", "clientConnection.qps: .inf: a number"),
        ("hostnameOverride: 0x10", "hostnameOverride: 0x10: a text, in quotes"),
        ("portRange: no", "portRange: no: a text, in quotes"),
        (
            "nodePortAddresses: 10.0.0.0/8",
            "nodePortAddresses: \"10.0.0.0/8\": a list of texts, such as [\"10.0.0.0/8\"]",
        ),
        ("ipvs: {excludeCIDRs: [a, 1_0]}", "ipvs.excludeCIDRs[1]: 1_0: a text, in quotes"),
        (
            "logging: {options: {json: {infoBufferSize: 5x}}}",
            "logging.options.json.infoBufferSize: \"5x\": a size such as 0 or 64Ki",
        ),
        (
            "logging: {vmodule: [{filePattern: a}, {verbosity: 1}]}",
            "logging.vmodule[1]: a mapping: filePattern, a text, and verbosity, a whole number from 0",
        ),
        ("nftables: {syncPeriod: 30}", "nftables.syncPeriod: 30: a duration of more than 0, such as 30s or 1h0m0s"),
        (
            "nftables: {syncPeriod: 30x}",
            "nftables.syncPeriod: \"30x\": a duration of more than 0, such as 30s or 1h0m0s",
        ),
        (
            "logging: {vmodule: [a]}",
            "logging.vmodule[0]: \"a\": filePattern, a text, and verbosity, a whole number from 0",
        ),
    ] {
        assert_eq!(problems(lines), [expected], "{lines}");
    }
}

#[test]
fn every_validation_rule_of_kube_proxy_is_enforced() {
    for (lines, expected) in [
        ("bindAddress: 1.2.3", "bindAddress: \"1.2.3\": an IP address"),
        (
            "mode: userspace",
            "mode: \"userspace\": one of iptables, ipvs, nftables (userspace was removed in Kubernetes 1.26, use nftables)",
        ),
        (
            "mode: kernelspace",
            "mode: \"kernelspace\": one of iptables, ipvs, nftables (kernelspace is for Windows, use nftables)",
        ),
        ("mode: user-space", "mode: \"user-space\": one of iptables, ipvs, nftables"),
        (
            "detectLocalMode: Magic",
            "detectLocalMode: \"Magic\": one of ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix",
        ),
        ("iptables: {masqueradeBit: 32}", "iptables.masqueradeBit: 32: a whole number from 0 to 31"),
        ("nftables: {masqueradeBit: -1}", "nftables.masqueradeBit: -1: a whole number from 0 to 31"),
        (
            "nftables: {syncPeriod: -1s}",
            "nftables.syncPeriod: \"-1s\": a duration of more than 0, such as 30s or 1h0m0s",
        ),
        (
            "nftables: {minSyncPeriod: -1s}",
            "nftables.minSyncPeriod: \"-1s\": a duration of 0 or more, such as 30s or 1h0m0s",
        ),
        ("nftables: {minSyncPeriod: 31s}", "nftables.minSyncPeriod: 31s: no more than nftables.syncPeriod, 30s"),
        ("configSyncPeriod: -1s", "configSyncPeriod: \"-1s\": a duration of more than 0, such as 30s or 1h0m0s"),
        ("oomScoreAdj: 1001", "oomScoreAdj: 1001: a whole number from -1000 to 1000"),
        ("conntrack: {maxPerCore: -1}", "conntrack.maxPerCore: -1: a whole number from 0"),
        ("conntrack: {min: -1}", "conntrack.min: -1: a whole number from 0"),
        (
            "conntrack: {udpTimeout: -1s}",
            "conntrack.udpTimeout: \"-1s\": a duration of 0 or more, such as 30s or 1h0m0s",
        ),
        ("clientConnection: {burst: -1}", "clientConnection.burst: -1: a whole number from 0"),
        ("logging: {format: xml}", "logging.format: \"xml\": one of text, json"),
        ("hostnameOverride: '  '", "hostnameOverride: \"  \": a name, or nothing to use the host's name"),
        (
            "clusterCIDR: 10.0.0.0/8,11.0.0.0/8",
            "clusterCIDR: \"10.0.0.0/8,11.0.0.0/8\": at most one network of each family",
        ),
        ("clusterCIDR: everywhere", "clusterCIDR: \"everywhere\": networks such as 10.244.0.0/16,fd00:10:244::/56"),
        (
            "featureGates: {NFTablesProxyMode: false}",
            "featureGates[NFTablesProxyMode]: false: true: the gate is locked",
        ),
        (
            "nodePortAddresses: [192.0.2.0/24, secondary]",
            "nodePortAddresses[1]: \"secondary\": primary, localhost, all, or a network such as 192.0.2.0/24 or 2001:db8::/64",
        ),
        (
            "healthzBindAddress: '1.2.3.4:0'",
            "healthzBindAddress: \"1.2.3.4:0\": an IP address with or without a port, such as 127.0.0.1:10256 or [::]:10256, or none",
        ),
        (
            "detectLocalMode: BridgeInterface",
            "detectLocal.bridgeInterface: \"\": the name of an interface, because detectLocalMode (--detect-local-mode) is \
             BridgeInterface: 1 to 15 characters, no spaces, slashes, quotes or asterisks",
        ),
    ] {
        assert_eq!(problems(lines), [expected], "{lines}");
    }
}

#[test]
fn fields_that_have_no_effect_in_a_mode_are_not_validated() {
    assert_eq!(file("detectLocalMode: NodeCIDR\nclusterCIDR: everywhere").options.local_pods, LocalPods::Unknown);
    file("detectLocalMode: ClusterCIDR\ndetectLocal: {bridgeInterface: 'a b'}");
    file("ipvs: {syncPeriod: -1s}");
}

#[test]
fn all_problems_are_reported_together() {
    assert_eq!(problems("bindAddress: a\nnodePortAddresses: [b, c]\nconntrack: {min: d}\nx: 1").len(), 4);
}

#[test]
fn a_file_of_another_kind_or_without_content_is_refused() {
    let error = resolve(Some("apiVersion: v1\nkind: ConfigMap\n"), &[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the configuration config.conf cannot be used: KubeProxyConfiguration.apiVersion: \"v1\" is not allowed: expected \
         kubeproxy.config.k8s.io/v1alpha1; KubeProxyConfiguration.kind: \"ConfigMap\" is not allowed: expected \
         KubeProxyConfiguration"
    );
    let old = "apiVersion: componentconfig/v1alpha1\nkind: KubeProxyConfiguration\n";
    let error = resolve(Some(old), &[]).unwrap_err().to_string();
    let hint = "expected kubeproxy.config.k8s.io/v1alpha1 (componentconfig/v1alpha1 was removed in Kubernetes 1.9,";
    assert!(error.contains(hint), "{error}");
    let parts = [("", "it is empty"), ("# a\n", "is empty"), ("- a", "it contains a list"), ("a: [", "line ")];
    for (text, part) in parts {
        let error = resolve(Some(text), &[]).unwrap_err().to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn unknown_and_repeated_fields_give_warnings_and_the_last_value_counts() {
    assert_eq!(
        notes("clusterCidr: 10.0.0.0/8\nconntrack: {min: 1, min: 2, mim: 3}\nbanana: 1"),
        [
            "warning: unknown field \"clusterCidr\" is ignored: did you mean clusterCIDR?",
            "warning: the field conntrack.min occurs more than once: the last one counts",
            "warning: unknown field \"conntrack.mim\" is ignored: did you mean conntrack.min?",
            "warning: unknown field \"banana\" is ignored",
        ]
    );
    assert_eq!(file("conntrack: {min: 1, min: 2}").conntrack.min, 2);
}

#[test]
fn each_field_without_effect_is_noted_once_with_the_reason() {
    assert_eq!(notes("mode: nftables\niptables: {syncPeriod: 30s, masqueradeAll: false}\nportRange: ''"), [""; 0]);
    assert_eq!(
        notes("mode: iptables\nportRange: 1-2\nfeatureGates: {B: true, A: false}"),
        [
            "mode: \"iptables\" is ignored: the mode is always nftables, with that mode's defaults, such as \
             nodePortAddresses `primary`",
            "portRange: \"1-2\" is ignored: kube-proxy ignores it too",
            "featureGates: without effect in Pointsman: A, B",
        ]
    );
}

#[test]
fn a_gate_that_resembles_one_that_counts_gives_a_warning() {
    let notes = notes("featureGates: {KubeProxyNFTableLocalhostNodePort: false}");
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[1].contains("did you mean KubeProxyNFTablesLocalhostNodePorts?"), "{notes:?}");
}

#[test]
fn words_and_networks_say_together_which_addresses_accept_node_ports() {
    let both = BTreeSet::from(Family::ALL);
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<ipnet::IpNet>>();
    let found = |lines: &str| file(lines).node_ports;
    for (value, primary, localhost, expected) in [
        ("[primary]", true, &BTreeSet::new(), &[][..]),
        ("[localhost]", false, &both, &[]),
        ("[primary, localhost]", true, &both, &[]),
        ("[all]", false, &BTreeSet::new(), &["0.0.0.0/0", "::/0"]),
        ("[localhost, all, primary]", true, &both, &["0.0.0.0/0", "::/0"]),
        ("[192.0.2.0/24, primary, localhost]", true, &both, &["192.0.2.0/24"]),
        ("[0.0.0.0/0, 127.0.0.1/32]", false, &BTreeSet::from([Family::Ip]), &["0.0.0.0/0"]),
        ("['::1/128']", false, &BTreeSet::from([Family::Ip6]), &[]),
    ] {
        let node_ports = NodePortAddresses { primary, localhost: localhost.clone(), networks: networks(expected) };
        assert_eq!(found(&format!("nodePortAddresses: {value}")), node_ports, "{value}");
    }
    // Without the gate the loopback addresses are left out.
    let gate = "featureGates: {KubeProxyNFTablesLocalhostNodePorts: false}";
    for (value, primary, expected) in [
        ("[primary, localhost]", true, &[][..]),
        ("[localhost]", true, &[]),
        ("[localhost, 192.0.2.0/24]", false, &["192.0.2.0/24"]),
    ] {
        let node_ports = NodePortAddresses { primary, localhost: BTreeSet::new(), networks: networks(expected) };
        assert_eq!(found(&format!("{gate}\nnodePortAddresses: {value}")), node_ports, "{value}");
    }
}

#[test]
fn node_port_networks_of_one_family_give_a_warning_where_pods_have_both() {
    let lines = "clusterCIDR: 10.0.0.0/8,fd00::/64\nnodePortAddresses: [192.0.2.0/24]";
    assert!(notes(lines)[0].contains("every IPv6 address of the node accepts NodePorts"), "{:?}", notes(lines));
    assert_eq!(notes("clusterCIDR: 10.0.0.0/8\nnodePortAddresses: [192.0.2.0/24]"), [""; 0]);
}

#[test]
fn with_a_file_some_flags_count_and_the_others_give_warnings() {
    let text = format!(
        "{HEAD}clusterCIDR: 10.0.0.0/8\nhostnameOverride: a\nnftables: {{masqueradeBit: 3}}\nlogging: {{verbosity: 1}}\n"
    );
    let flags = [
        ("hostname-override", "b"),
        ("kubeconfig", "/k"),
        ("masquerade-bit", "4"),
        ("v", "6"),
        ("logging-format", "json"),
        ("vmodule", "a=1"),
        ("cluster-cidr", "11.0.0.0/8"),
        ("ipvs-scheduler", "rr"),
        ("healthz-port", "1"),
    ];
    let (settings, notes) = resolve(Some(&text), &flags).unwrap();
    assert_eq!(settings.node_name.as_deref(), Some("b"));
    assert_eq!((settings.kubeconfig, settings.options.masquerade_bit), (Some("/k".into()), 4));
    assert_eq!((settings.verbosity, settings.log_format), (6, LogFormat::Json));
    assert_eq!(settings.options.local_pods, LocalPods::Networks(vec!["10.0.0.0/8".parse().unwrap()]));
    assert_eq!(settings.healthz.unwrap().port(), 10256);
    let (warnings, others): (Vec<_>, Vec<_>) =
        notes.into_iter().partition(|note| matches!(note, ConfigNote::Warning(_)));
    let because = "is ignored, because the file of --config replaces the flags";
    assert_eq!(
        warnings,
        [
            ConfigNote::Warning(format!("--cluster-cidr {because}: set clusterCIDR there")),
            ConfigNote::Warning(format!("--ipvs-scheduler {because}")),
            ConfigNote::Warning(format!("--healthz-port {because}: set healthzBindAddress there")),
        ]
    );
    assert_eq!(others.len(), 1, "{others:?}");
}

#[test]
fn flags_without_effect_are_noted_with_the_reason() {
    let (settings, notes) = resolve(None, &[("ipvs-strict-arp", "true"), ("iptables-sync-period", "1m")]).unwrap();
    assert_eq!(notes, [ConfigNote::Information("--ipvs-strict-arp is ignored: belongs to another mode".to_owned())]);
    assert_eq!(settings.sync_period, Duration::from_secs(60));
}

#[test]
fn only_fields_with_an_effect_count_as_differences() {
    let differences = |a, b| file(a).configuration.differences(&file(b).configuration);
    assert_eq!(differences("clusterCIDR: 10.0.0.0/8", "clusterCIDR: \"10.0.0.0/8\" # pods"), [""; 0]);
    assert_eq!(differences("ipvs: {scheduler: rr}\nmode: ipvs", "unknown: 1"), [""; 0]);
    assert_eq!(
        differences("nftables: {minSyncPeriod: 1s}", "logging: {verbosity: 4}"),
        ["logging.verbosity", "nftables.minSyncPeriod"]
    );
}

#[test]
fn whole_numbers_may_be_written_as_yaml_11_and_templates_write_them() {
    for (written, min) in [
        ("1.048576e+06", 1_048_576),
        ("32768.0", 32_768),
        ("131_072", 131_072),
        ("0x100", 256),
        ("0400", 256),
        ("0b11", 3),
        ("+7", 7),
        ("1e3", 1000),
    ] {
        assert_eq!(file(&format!("conntrack: {{min: {written}}}")).conntrack.min, min, "{written}");
    }
    // A flag is read by Go's rules as well.
    let min = |text| resolve(None, &[("conntrack-min", text)]).unwrap().0.conntrack.min;
    assert_eq!([min("0x10"), min("010"), min("1_0")], [16, 8, 10]);
}

#[test]
fn only_the_first_document_counts_and_the_others_are_named_once() {
    let ignored = "warning: only the first document of the file counts: what follows it is ignored";
    for (rest, expected) in [
        ("---\n", &[][..]),
        ("...\n", &[]),
        ("---\n# the end\n", &[]),
        ("---\nconntrack: {min: 9}\n---\nbroken: [\n", &[ignored]),
    ] {
        assert_eq!(notes(&format!("conntrack: {{min: 5}}\n{rest}")), expected, "{rest}");
        assert_eq!(file(&format!("conntrack: {{min: 5}}\n{rest}")).conntrack.min, 5);
    }
}

#[test]
fn removed_fields_name_the_version_without_them_and_what_replaces_them() {
    assert_eq!(
        notes("conntrack: {max: 0}\nresourceContainer: /kube-proxy\nudpIdleTimeout: 250ms"),
        [
            "warning: unknown field \"conntrack.max\" is ignored: it was removed in Kubernetes 1.15; use conntrack.maxPerCore and \
             conntrack.min",
            "warning: unknown field \"resourceContainer\" is ignored: it was removed in Kubernetes 1.16; the pod, or the service \
             manager, decides the cgroup",
            "warning: unknown field \"udpIdleTimeout\" is ignored: it was removed in Kubernetes 1.26; it belonged to mode userspace, \
             leave it out",
        ]
    );
}

#[test]
fn masquerading_of_another_mode_that_is_lost_gives_a_warning_with_the_field_to_set() {
    for mode in ["mode: ipvs\n", "mode: iptables\n", ""] {
        let notes = notes(&format!("{mode}iptables: {{masqueradeAll: true, masqueradeBit: 15}}"));
        let warnings: Vec<&String> = notes.iter().filter(|note| note.starts_with("warning: iptables.")).collect();
        assert_eq!(warnings.len(), 2, "{notes:?}");
        assert!(warnings[0].ends_with("Set nftables.masqueradeAll: true"), "{warnings:?}");
        assert!(warnings[1].ends_with("Set nftables.masqueradeBit: 15"), "{warnings:?}");
    }
    for lines in [
        "mode: nftables\niptables: {masqueradeAll: true, masqueradeBit: 15}",
        "mode: ipvs\niptables: {masqueradeAll: true, masqueradeBit: 15}\nnftables: {masqueradeAll: true, masqueradeBit: 15}",
        "mode: ipvs\niptables: {masqueradeAll: false, masqueradeBit: 14}\nnftables: {masqueradeAll: true, masqueradeBit: 3}",
    ] {
        assert!(!notes(lines).iter().any(|note| note.starts_with("warning: ")), "{lines}: {:?}", notes(lines));
    }
}

#[test]
fn networks_that_leave_no_node_port_give_a_warning() {
    for (networks, families) in [
        ("127.0.0.0/8", &["IPv4"][..]),
        ("127.0.0.1/32, '::1/128'", &["IPv4", "IPv6"]),
        ("224.0.0.0/4", &["IPv4"]),
        ("127.0.0.0/8, 192.0.2.0/24", &[]),
        ("0.0.0.0/0", &[]),
        ("126.0.0.0/7", &[]),
    ] {
        let gate = "featureGates: {KubeProxyNFTablesLocalhostNodePorts: false}";
        let notes = notes(&format!("{gate}\nnodePortAddresses: [{networks}]"));
        assert_eq!(notes.len(), families.len(), "{networks}: {notes:?}");
        for (note, family) in notes.iter().zip(families) {
            assert!(note.starts_with("warning: nodePortAddresses") && note.contains(family), "{note}");
            assert!(note.contains("accepts NodePorts"), "{note}");
        }
    }
}

#[test]
fn a_field_of_another_mode_is_written_as_it_was_given() {
    let written = file("mode: ipvs\niptables: {masqueradeBit: 0}").configuration.yaml().unwrap();
    assert!(written.contains("masqueradeBit: 0\n"), "{written}");
}

#[test]
fn the_type_is_found_whatever_its_case_and_an_object_that_holds_a_configuration_is_named() {
    let text = "APIVersion: kubeproxy.config.k8s.io/v1alpha1\nKind: KubeProxyConfiguration\nconntrack: {min: 5}\n";
    assert_eq!(resolve(Some(text), &[]).unwrap().0.conntrack.min, 5);
    let text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  config.conf: |\n    kind: KubeProxyConfiguration\n";
    let error = resolve(Some(text), &[]).unwrap_err().to_string();
    assert!(error.contains("put the text of \"config.conf\" into a file of its own"), "{error}");
}
