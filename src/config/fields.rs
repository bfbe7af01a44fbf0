//! The table of the fields of `KubeProxyConfiguration` (kubeproxy.config.k8s.io/v1alpha1), and how Pointsman treats each.

use super::kind::{DurationRange, FieldKind, FieldValue};
use DurationRange::{Any, AnyOrNanoseconds, MoreThanZero, Zero};
use FieldKind::{Address, Bind, Choice, Duration, Flag, Gates, Integer, List, Modules, Number, Quantity, Text};
use Treatment::{Differently, Honoured, Ignored};

/// How Pointsman treats a field or a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It works as in kube-proxy.
    Honoured,
    /// It works, with the difference that the note describes.
    Differently,
    /// It is accepted without effect, for the reason in the note.
    Ignored,
}

impl Treatment {
    /// The word for it in the documentation.
    pub fn label(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Differently => "honoured differently",
            Self::Ignored => "ignored",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfigField {
    /// The path from the top, with dots, such as `conntrack.min`.
    pub path: &'static str,
    pub kind: FieldKind,
    /// The default, written as a flag's value.
    pub default: &'static str,
    /// Whether Go's zero value (0, "") means the default.
    pub zero_is_default: bool,
    pub treatment: Treatment,
    /// What the field does, how that differs from kube-proxy, or why it is ignored.
    pub note: &'static str,
}

const fn field(
    path: &'static str,
    kind: FieldKind,
    default: &'static str,
    treatment: Treatment,
    note: &'static str,
) -> ConfigField {
    let zero_is_default = matches!(kind, Text | Choice(_) | Address | Bind(_) | List | Number | Quantity);
    ConfigField { path, kind, default, zero_is_default, treatment, note }
}

/// A field whose 0 means the default.
const fn or_default(field: ConfigField) -> ConfigField {
    ConfigField { zero_is_default: true, ..field }
}

const MAX_INTEGER: i64 = i32::MAX as i64;
const MAX_VERBOSITY: i64 = u32::MAX as i64;
const BIT: FieldKind = Integer(0, 31);
const MODES: &[&str] = &["iptables", "ipvs", "nftables"];
/// The values of `detectLocalMode`.
pub(super) const DETECT_LOCAL_MODES: [&str; 4] = ["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"];

pub(super) const OTHER_MODE: &str = "belongs to another mode";
const NOT_LINUX: &str = "only for Windows";
pub(super) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub(super) const ENCODING: &str = "what the API server is asked for. `application/json` means JSON alone; anything else protobuf, and JSON where the server or a proxy before it does not speak that";
pub(super) const UNBUFFERED: &str = "Pointsman writes each log line at once";

/// All fields, in the order of the documentation.
pub(super) const FIELDS: &[ConfigField] = &[
    field(
        "featureGates",
        Gates,
        "",
        Differently,
        "`AllowServiceExternalIPs: false` ignores external IPs. `KubeProxyNFTablesLocalhostNodePorts: false` serves no NodePorts on loopback addresses. Gates that Kubernetes has locked must be on. All others have no effect",
    ),
    field(
        "clientConnection.kubeconfig",
        Text,
        "",
        Differently,
        "how to reach the API server. `--kubeconfig` wins. Without either: `$KUBECONFIG`, `~/.kube/config`, or the pod's service account",
    ),
    field(
        "clientConnection.acceptContentTypes",
        Text,
        "",
        Differently,
        "takes the place of contentType, if it is given: JSON alone unless it names protobuf",
    ),
    field("clientConnection.contentType", Text, PROTOBUF, Differently, ENCODING),
    or_default(field(
        "clientConnection.qps",
        Number,
        "5",
        Differently,
        "requests per second to the API server, for each of the four watched kinds. A negative value means no limit",
    )),
    or_default(field(
        "clientConnection.burst",
        Integer(0, MAX_INTEGER),
        "20",
        Differently,
        "requests in one burst, for each watched kind. kube-proxy's default is 10 for all kinds together",
    )),
    field(
        "logging.format",
        Choice(&["text", "json"]),
        "text",
        Honoured,
        "the format of log lines. `--log-format` wins",
    ),
    or_default(field("logging.flushFrequency", Duration(AnyOrNanoseconds), "5s", Ignored, UNBUFFERED)),
    field(
        "logging.verbosity",
        Integer(0, MAX_VERBOSITY),
        "0",
        Differently,
        "the log level: 0 to 3 is info, 4 and 5 debug, 6 and more trace. `--log-level` wins. A change takes effect without a restart",
    ),
    field(
        "logging.vmodule",
        Modules,
        "",
        Ignored,
        "give `--log-level` a filter by module instead, such as `info,pointsman::diff=debug`",
    ),
    field("logging.options.text.splitStream", Flag, "false", Ignored, UNBUFFERED),
    field("logging.options.text.infoBufferSize", Quantity, "0", Ignored, UNBUFFERED),
    field("logging.options.json.splitStream", Flag, "false", Ignored, UNBUFFERED),
    field("logging.options.json.infoBufferSize", Quantity, "0", Ignored, UNBUFFERED),
    field(
        "hostnameOverride",
        Text,
        "",
        Honoured,
        "the name of this node's Node object. Without it: `$NODE_NAME`, then the host's name",
    ),
    field(
        "bindAddress",
        Address,
        "0.0.0.0",
        Honoured,
        "replaces the Node object's address of its family, unless it is 0.0.0.0 or ::. It counts for nodePortAddresses `primary` and for source ranges that contain this node. Pointsman does not listen on it",
    ),
    field(
        "healthzBindAddress",
        Bind(10256),
        "",
        Honoured,
        "the address of /healthz and /livez. Default: 0.0.0.0:10256, or [::]:10256 if bindAddress is IPv6. `none` switches them off",
    ),
    field(
        "metricsBindAddress",
        Bind(10249),
        "",
        Honoured,
        "the address of /metrics. Default: 127.0.0.1:10249, or [::1]:10249 if bindAddress is IPv6. `none` switches it off, which kube-proxy does not offer",
    ),
    field(
        "bindAddressHardFail",
        Flag,
        "false",
        Honoured,
        "exit if the address for metrics or health is taken at the start. Otherwise Pointsman tries again every 5 seconds",
    ),
    field("enableProfiling", Flag, "false", Ignored, "Pointsman has no profiler"),
    field("showHiddenMetricsForVersion", Text, "", Ignored, "Pointsman hides no metric"),
    field(
        "mode",
        Choice(MODES),
        "nftables",
        Ignored,
        "the mode is always nftables, with that mode's defaults, such as nodePortAddresses `primary`",
    ),
    field("iptables.masqueradeBit", BIT, "14", Ignored, "belongs to another mode: set nftables.masqueradeBit"),
    field("iptables.masqueradeAll", Flag, "false", Ignored, "belongs to another mode: set nftables.masqueradeAll"),
    field(
        "iptables.localhostNodePorts",
        Flag,
        "true",
        Ignored,
        "belongs to another mode: `localhost` in nodePortAddresses serves NodePorts on the loopback addresses",
    ),
    or_default(field(
        "iptables.syncPeriod",
        Duration(Any),
        "30s",
        Ignored,
        "belongs to another mode: set nftables.syncPeriod",
    )),
    or_default(field(
        "iptables.minSyncPeriod",
        Duration(Any),
        "1s",
        Ignored,
        "belongs to another mode: set nftables.minSyncPeriod",
    )),
    or_default(field("ipvs.syncPeriod", Duration(Any), "30s", Ignored, OTHER_MODE)),
    field("ipvs.minSyncPeriod", Duration(Any), "0s", Ignored, OTHER_MODE),
    field("ipvs.scheduler", Text, "", Ignored, OTHER_MODE),
    field("ipvs.excludeCIDRs", List, "", Ignored, OTHER_MODE),
    field("ipvs.strictARP", Flag, "false", Ignored, OTHER_MODE),
    field("ipvs.tcpTimeout", Duration(Any), "0s", Ignored, OTHER_MODE),
    field("ipvs.tcpFinTimeout", Duration(Any), "0s", Ignored, OTHER_MODE),
    field("ipvs.udpTimeout", Duration(Any), "0s", Ignored, OTHER_MODE),
    field(
        "nftables.masqueradeBit",
        BIT,
        "14",
        Honoured,
        "the bit of the packet mark that requests masquerade, 0 to 31",
    ),
    field("nftables.masqueradeAll", Flag, "false", Honoured, "masquerade all ClusterIP traffic"),
    or_default(field(
        "nftables.syncPeriod",
        Duration(MoreThanZero),
        "30s",
        Honoured,
        "the longest pause before a failed sync is retried. A change that waits for more than twice as long makes the proxy unhealthy",
    )),
    field(
        "nftables.minSyncPeriod",
        Duration(Zero),
        "0s",
        Differently,
        "the shortest time between two syncs. Changes in between are synced together. 0, the default, syncs at once; kube-proxy's default is 1s",
    ),
    field("winkernel.networkName", Text, "", Ignored, NOT_LINUX),
    field("winkernel.sourceVip", Text, "", Ignored, NOT_LINUX),
    field("winkernel.enableDSR", Flag, "false", Ignored, NOT_LINUX),
    field("winkernel.rootHnsEndpointName", Text, "", Ignored, NOT_LINUX),
    field("winkernel.forwardHealthCheckVip", Flag, "false", Ignored, NOT_LINUX),
    field("windowsRunAsService", Flag, "false", Ignored, NOT_LINUX),
    field(
        "detectLocalMode",
        Choice(&DETECT_LOCAL_MODES),
        "ClusterCIDR",
        Honoured,
        "how to recognise traffic from this node's pods: by clusterCIDR, by the Node object's spec.podCIDRs, or by interface",
    ),
    field(
        "detectLocal.bridgeInterface",
        Text,
        "",
        Honoured,
        "the name of the pods' bridge, for detectLocalMode BridgeInterface",
    ),
    field(
        "detectLocal.interfaceNamePrefix",
        Text,
        "",
        Honoured,
        "the prefix of the names of the pods' interfaces, for detectLocalMode InterfaceNamePrefix",
    ),
    field(
        "clusterCIDR",
        Text,
        "",
        Honoured,
        "the pods' networks, at most one of each family. ClusterIP traffic from elsewhere is masqueraded. Empty: it is not masqueraded",
    ),
    field(
        "nodePortAddresses",
        List,
        "primary",
        Honoured,
        "the node's addresses that accept NodePorts: the Node object's (`primary`), every one (`all`), the loopback addresses (`localhost`, TCP only), and the host's addresses in these networks, in any combination. If there are only networks, a family without one accepts them on all addresses. Pointsman follows changes of host addresses",
    ),
    field(
        "oomScoreAdj",
        Integer(-1000, 1000),
        "-999",
        Honoured,
        "the process's out-of-memory score adjustment, -1000 to 1000: the lower, the later the kernel ends it. A failure to set it is only logged",
    ),
    field(
        "conntrack.maxPerCore",
        Integer(0, MAX_INTEGER),
        "32768",
        Honoured,
        "`nf_conntrack_max` for each processor, at most 1048576 in total. It is only raised; 0 leaves it unchanged",
    ),
    field(
        "conntrack.min",
        Integer(0, MAX_INTEGER),
        "131072",
        Differently,
        "the lower limit of `nf_conntrack_max`, unless maxPerCore is 0. It may exceed 1048576, where kube-proxy would cut it",
    ),
    field(
        "conntrack.tcpEstablishedTimeout",
        Duration(Zero),
        "24h0m0s",
        Honoured,
        "`nf_conntrack_tcp_timeout_established`. 0 leaves it unchanged",
    ),
    field(
        "conntrack.tcpCloseWaitTimeout",
        Duration(Zero),
        "1h0m0s",
        Honoured,
        "`nf_conntrack_tcp_timeout_close_wait`. 0 leaves it unchanged",
    ),
    field(
        "conntrack.tcpBeLiberal",
        Flag,
        "false",
        Honoured,
        "sets `nf_conntrack_tcp_be_liberal` to 1. false leaves it unchanged",
    ),
    field("conntrack.udpTimeout", Duration(Zero), "0s", Honoured, "`nf_conntrack_udp_timeout`. 0 leaves it unchanged"),
    field(
        "conntrack.udpStreamTimeout",
        Duration(Zero),
        "0s",
        Honoured,
        "`nf_conntrack_udp_timeout_stream`. 0 leaves it unchanged",
    ),
    or_default(field(
        "configSyncPeriod",
        Duration(MoreThanZero),
        "15m0s",
        Ignored,
        "Pointsman has no periodic resync: watches report every change",
    )),
    field("portRange", Text, "", Ignored, "kube-proxy ignores it too"),
];

/// The field with this path.
pub(super) fn find(path: &str) -> Option<&'static ConfigField> {
    FIELDS.iter().find(|field| field.path == path)
}

/// Whether this path is a section, that is a mapping that contains fields.
pub(super) fn is_section(path: &str) -> bool {
    FIELDS.iter().any(|field| field.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

impl ConfigField {
    /// The default. That of an address to listen on is filled in later: it depends on `bindAddress`.
    pub fn default_value(&self) -> FieldValue {
        // A unit test parses every default of the table.
        self.kind.parse(self.default).unwrap_or(FieldValue::Flag(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid_for_its_field() {
        for field in FIELDS {
            let value = field.kind.parse(field.default).unwrap_or_else(|error| panic!("{}: {error:?}", field.path));
            let empty = matches!(field.kind, Bind(_));
            assert!(empty || field.kind.check(&value).is_ok(), "{}: {value}", field.path);
        }
    }

    #[test]
    fn every_path_occurs_once_and_is_not_also_a_section() {
        for field in FIELDS {
            assert_eq!(FIELDS.iter().filter(|other| other.path == field.path).count(), 1, "{}", field.path);
            assert!(!is_section(field.path), "{}", field.path);
        }
        assert!(is_section("logging") && is_section("logging.options.text") && !is_section("log"));
    }
}
