//! The fields of `KubeProxyConfiguration` (kubeproxy.config.k8s.io/v1alpha1), and what becomes of each.

use super::kind::{Kind, Least, Value};
use Kind::{Address, Bind, Choice, Duration, Flag, Gates, Integer, List, Modules, Number, Quantity, Text};
use Least::{Any, MoreThanZero, Zero};
use Treatment::{Differently, Honoured, Ignored};

/// What becomes of a field or a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// As kube-proxy does it.
    Honoured,
    /// To the same end, with the difference that the note tells.
    Differently,
    /// Accepted without effect, for the reason that the note tells.
    Ignored,
}

impl Treatment {
    /// Its word in the documentation.
    pub fn label(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Differently => "honoured differently",
            Self::Ignored => "ignored",
        }
    }
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Its name, behind those of the fields that it is in, with dots between.
    pub path: &'static str,
    pub kind: Kind,
    /// As a flag would give it.
    pub default: &'static str,
    /// Whether a field that is there with the value that Go has for nothing (0, "") means the default.
    pub zero_is_default: bool,
    pub treatment: Treatment,
    /// What it does, how that differs, or why nothing becomes of it.
    pub note: &'static str,
}

const fn field(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    treatment: Treatment,
    note: &'static str,
) -> Field {
    let zero_is_default = matches!(kind, Text | Choice(_) | Address | Bind(_) | List | Number | Quantity);
    Field { path, kind, default, zero_is_default, treatment, note }
}

/// A field of which 0 means the default.
const fn or_default(field: Field) -> Field {
    Field { zero_is_default: true, ..field }
}

const MOST: i64 = i32::MAX as i64;
const BIT: Kind = Integer(0, 31);
const MODES: &[&str] = &["iptables", "ipvs", "nftables"];
/// How local pods are told, in the spelling of `detectLocalMode`.
pub(super) const DETECT: [&str; 4] = ["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"];

const OTHER_MODE: &str = "belongs to another mode";
const NOT_LINUX: &str = "only for Windows";
const JSON: &str = "the API server is asked for JSON";
const LOG: &str = "each log line is written at once";

/// All fields, in the order of the documentation.
pub(super) const FIELDS: &[Field] = &[
    field(
        "featureGates",
        Gates,
        "",
        Differently,
        "`AllowServiceExternalIPs: false` leaves out external IPs; gates that Kubernetes has locked may only be on; all others are accepted without effect",
    ),
    field(
        "clientConnection.kubeconfig",
        Text,
        "",
        Differently,
        "`--kubeconfig` wins over it; without either, `$KUBECONFIG`, `~/.kube/config` or the pod's service account",
    ),
    field("clientConnection.acceptContentTypes", Text, "", Ignored, JSON),
    field("clientConnection.contentType", Text, "application/json", Ignored, JSON),
    or_default(field(
        "clientConnection.qps",
        Number,
        "5",
        Differently,
        "requests per second for each of the four kinds that are watched; less than 0 for no limit",
    )),
    or_default(field(
        "clientConnection.burst",
        Integer(0, MOST),
        "20",
        Differently,
        "requests at once for each kind; kube-proxy's default is 10 for all",
    )),
    field("logging.format", Choice(&["text", "json"]), "text", Honoured, "how log lines look; `--log-format` wins"),
    or_default(field("logging.flushFrequency", Duration(Any), "5s", Ignored, LOG)),
    field(
        "logging.verbosity",
        Integer(0, MOST),
        "0",
        Differently,
        "0 to 3 log level info, 4 and 5 debug, 6 and more trace; `--log-level` wins. A change takes effect without a restart",
    ),
    field(
        "logging.vmodule",
        Modules,
        "",
        Ignored,
        "`--log-level` takes a filter by module, such as `info,pointsman::diff=debug`",
    ),
    field("logging.options.text.splitStream", Flag, "false", Ignored, LOG),
    field("logging.options.text.infoBufferSize", Quantity, "0", Ignored, LOG),
    field("logging.options.json.splitStream", Flag, "false", Ignored, LOG),
    field("logging.options.json.infoBufferSize", Quantity, "0", Ignored, LOG),
    field(
        "hostnameOverride",
        Text,
        "",
        Honoured,
        "the name of this node's Node object; without it `$NODE_NAME`, then the host's name",
    ),
    field(
        "bindAddress",
        Address,
        "0.0.0.0",
        Honoured,
        "unless 0.0.0.0 or ::, stands for the Node object's address of its family: with nodePortAddresses `primary`, and where a source range names this node. Nothing is bound to it",
    ),
    field(
        "healthzBindAddress",
        Bind(10256),
        "",
        Honoured,
        "where /healthz and /livez are served; by default 0.0.0.0:10256, or [::]:10256 if bindAddress is of IPv6; `none` for nowhere",
    ),
    field(
        "metricsBindAddress",
        Bind(10249),
        "",
        Honoured,
        "where /metrics is served; by default 127.0.0.1:10249, or [::1]:10249 if bindAddress is of IPv6; `none` for nowhere, which kube-proxy does not offer",
    ),
    field(
        "bindAddressHardFail",
        Flag,
        "false",
        Honoured,
        "whether to end if an address for metrics or health is taken at the start; otherwise it is tried again every 5 seconds",
    ),
    field("enableProfiling", Flag, "false", Ignored, "there is no profiler to serve"),
    field("showHiddenMetricsForVersion", Text, "", Ignored, "no metric is hidden"),
    field(
        "mode",
        Choice(MODES),
        "nftables",
        Ignored,
        "the mode is always nftables, and so are the defaults, such as that of nodePortAddresses",
    ),
    or_default(field("iptables.masqueradeBit", BIT, "14", Ignored, OTHER_MODE)),
    field("iptables.masqueradeAll", Flag, "false", Ignored, "belongs to another mode: set nftables.masqueradeAll"),
    field(
        "iptables.localhostNodePorts",
        Flag,
        "true",
        Ignored,
        "nftables mode has no NodePorts on the loopback address",
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
    field("nftables.masqueradeBit", BIT, "14", Honoured, "the bit of the packet mark that asks for masquerade"),
    field("nftables.masqueradeAll", Flag, "false", Honoured, "masquerade all ClusterIP traffic"),
    or_default(field(
        "nftables.syncPeriod",
        Duration(MoreThanZero),
        "30s",
        Honoured,
        "the longest pause before a failed sync is tried again, and half of the time after which a change that waits makes the proxy unhealthy",
    )),
    field(
        "nftables.minSyncPeriod",
        Duration(Zero),
        "0s",
        Differently,
        "the least time between two syncs; changes in between are synced together. 0 and nothing mean to sync at once, where kube-proxy takes 1s",
    ),
    field("winkernel.networkName", Text, "", Ignored, NOT_LINUX),
    field("winkernel.sourceVip", Text, "", Ignored, NOT_LINUX),
    field("winkernel.enableDSR", Flag, "false", Ignored, NOT_LINUX),
    field("winkernel.rootHnsEndpointName", Text, "", Ignored, NOT_LINUX),
    field("winkernel.forwardHealthCheckVip", Flag, "false", Ignored, NOT_LINUX),
    field("windowsRunAsService", Flag, "false", Ignored, NOT_LINUX),
    field(
        "detectLocalMode",
        Choice(&DETECT),
        "ClusterCIDR",
        Honoured,
        "how this node's pods are told from other sources: by clusterCIDR, by the Node object's spec.podCIDRs, or by their interface",
    ),
    field(
        "detectLocal.bridgeInterface",
        Text,
        "",
        Honoured,
        "the bridge that local pods send through, for detectLocalMode BridgeInterface",
    ),
    field(
        "detectLocal.interfaceNamePrefix",
        Text,
        "",
        Honoured,
        "what the names of local pods' interfaces start with, for detectLocalMode InterfaceNamePrefix",
    ),
    field(
        "clusterCIDR",
        Text,
        "",
        Honoured,
        "the pods' networks, at most one of each family: ClusterIP traffic from elsewhere is masqueraded. Without it, it is not",
    ),
    field(
        "nodePortAddresses",
        List,
        "primary",
        Honoured,
        "which of the node's addresses accept NodePorts: the Node object's (`primary`), or the host's in these networks; a family without a network accepts them on all. Host addresses are followed live",
    ),
    field(
        "oomScoreAdj",
        Integer(-1000, 1000),
        "-999",
        Honoured,
        "how unlikely the kernel is to end this process when memory is short; failure is logged",
    ),
    field(
        "conntrack.maxPerCore",
        Integer(0, MOST),
        "32768",
        Honoured,
        "`nf_conntrack_max` for each processor, 1048576 in all at most; 0 leaves it as it is",
    ),
    field(
        "conntrack.min",
        Integer(0, MOST),
        "131072",
        Differently,
        "the least `nf_conntrack_max`, unless maxPerCore is 0; more than 1048576 counts too, where kube-proxy's limit overrides it",
    ),
    field(
        "conntrack.tcpEstablishedTimeout",
        Duration(Zero),
        "24h0m0s",
        Honoured,
        "`nf_conntrack_tcp_timeout_established`; 0 leaves it as it is",
    ),
    field(
        "conntrack.tcpCloseWaitTimeout",
        Duration(Zero),
        "1h0m0s",
        Honoured,
        "`nf_conntrack_tcp_timeout_close_wait`; 0 leaves it as it is",
    ),
    field(
        "conntrack.tcpBeLiberal",
        Flag,
        "false",
        Honoured,
        "sets `nf_conntrack_tcp_be_liberal` to 1; false leaves it as it is",
    ),
    field("conntrack.udpTimeout", Duration(Zero), "0s", Honoured, "`nf_conntrack_udp_timeout`; 0 leaves it as it is"),
    field(
        "conntrack.udpStreamTimeout",
        Duration(Zero),
        "0s",
        Honoured,
        "`nf_conntrack_udp_timeout_stream`; 0 leaves it as it is",
    ),
    or_default(field(
        "configSyncPeriod",
        Duration(MoreThanZero),
        "15m0s",
        Ignored,
        "nothing is resynchronised by the clock: watches tell of every change",
    )),
    field("portRange", Text, "", Ignored, "kube-proxy ignores it too"),
];

/// The field of this path.
pub(super) fn of(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.path == path)
}

/// Whether fields are in this one.
pub(super) fn is_section(path: &str) -> bool {
    FIELDS.iter().any(|field| field.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

impl Field {
    /// Its default. Addresses to listen on get theirs later: it depends on `bindAddress`.
    pub fn default_value(&self) -> Value {
        // The table is tested: every default can be read.
        self.kind.parse(self.default).unwrap_or(Value::Flag(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed_where_it_stands() {
        for field in FIELDS {
            let value = field.kind.parse(field.default).unwrap_or_else(|error| panic!("{}: {error:?}", field.path));
            let empty = matches!(field.kind, Bind(_));
            assert!(empty || field.kind.check(&value).is_ok(), "{}: {value}", field.path);
        }
    }

    #[test]
    fn every_path_occurs_once_and_none_is_a_section_as_well() {
        for field in FIELDS {
            assert_eq!(FIELDS.iter().filter(|other| other.path == field.path).count(), 1, "{}", field.path);
            assert!(!is_section(field.path), "{}", field.path);
        }
        assert!(is_section("logging") && is_section("logging.options.text") && !is_section("log"));
    }
}
