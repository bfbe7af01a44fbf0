//! The table of kube-proxy's flags, and how Pointsman treats each.

use super::fields::{self, OTHER_MODE, Treatment, UNBUFFERED};
use super::kind::FieldKind;
use Treatment::{Differently, Honoured, Ignored};

/// One of kube-proxy's flags.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The name, without dashes.
    pub name: &'static str,
    /// The path of the field that it sets.
    pub(super) field: Option<&'static str>,
    /// How it is treated; none: as its field.
    treatment: Option<Treatment>,
    /// What it does or why it is ignored; empty: the field's note.
    note: &'static str,
    /// Whether it counts together with `--config`. The file replaces all other flags.
    pub with_file: bool,
    /// Whether it may be given without a value, which means true.
    pub switch: bool,
    /// Whether the command line declares it among its own options.
    pub declared: bool,
    /// Whether it affects what is programmed. Then subcommands that print a plan accept it too.
    pub program: bool,
}

const fn sets(name: &'static str, field: &'static str) -> Flag {
    Flag {
        name,
        field: Some(field),
        treatment: None,
        note: "",
        with_file: false,
        switch: false,
        declared: false,
        program: false,
    }
}

const fn ignored(name: &'static str, note: &'static str) -> Flag {
    Flag { field: None, treatment: Some(Ignored), note, ..sets(name, "") }
}

const fn declared(name: &'static str, treatment: Treatment, note: &'static str) -> Flag {
    Flag { field: None, treatment: Some(treatment), note, declared: true, with_file: true, ..sets(name, "") }
}

impl Flag {
    const fn with_file(self) -> Self {
        Self { with_file: true, ..self }
    }

    const fn switch(self) -> Self {
        Self { switch: true, ..self }
    }

    const fn program(self) -> Self {
        Self { program: true, ..self }
    }

    const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    const fn differently(self, note: &'static str) -> Self {
        Self { note, treatment: Some(Differently), ..self }
    }
}

/// All flags, in the order of the documentation.
pub const FLAGS: &[Flag] = &[
    declared("config", Differently, "the configuration file. A change ends the process with exit code 1, so that a supervisor restarts it, unless it concerns only ignored fields or fields that take effect at once. A new version that cannot be used is ignored with a warning"),
    declared("write-config-to", Honoured, "write the effective configuration to this file, then exit"),
    declared("cleanup", Differently, "remove Pointsman's tables and what kube-proxy left behind, then exit. Refused while a proxy answers on this node, unless with `--force`. See [take-over.md](take-over.md)"),
    declared("init-only", Differently, "set the sysctls of `conntrack`, test access to the kernel's nf_tables, then exit. Needs no API server"),
    declared("version", Honoured, "print the version, then exit. `raw` is accepted, an invented version number is not"),
    sets("hostname-override", "hostnameOverride").with_file().program(),
    sets("kubeconfig", "clientConnection.kubeconfig").with_file().differently("how to reach the API server, also together with `--config`. Default: $KUBECONFIG, ~/.kube/config, or the pod's service account"),
    Flag { treatment: Some(Honoured), with_file: true, ..ignored("master", "the URL of the API server, instead of the one in the kubeconfig. Without a kubeconfig Pointsman sends no credentials") },
    Flag { field: Some("logging.verbosity"), ..sets("v", "").with_file().program() },
    ignored("vmodule", "give `--log-level` a filter by module instead, such as `info,pointsman::diff=debug`").with_file(),
    sets("logging-format", "logging.format").with_file().program(),
    ignored("log-flush-frequency", UNBUFFERED).with_file(),
    ignored("log-json-split-stream", UNBUFFERED).with_file().switch(),
    ignored("log-json-info-buffer-size", UNBUFFERED).with_file(),
    ignored("log-text-split-stream", UNBUFFERED).with_file().switch(),
    ignored("log-text-info-buffer-size", UNBUFFERED).with_file(),
    sets("feature-gates", "featureGates").program(),
    sets("kube-api-content-type", "clientConnection.contentType"),
    sets("kube-api-qps", "clientConnection.qps"),
    sets("kube-api-burst", "clientConnection.burst"),
    sets("bind-address", "bindAddress").program(),
    sets("bind-address-hard-fail", "bindAddressHardFail").switch(),
    sets("healthz-bind-address", "healthzBindAddress").differently("the address of /healthz and /livez. Default: 0.0.0.0:10256, or [::]:10256 with an IPv6 --bind-address. \"\" or none switches them off"),
    sets("healthz-port", "healthzBindAddress").note("the port of --healthz-bind-address, if that has none. 0 switches /healthz and /livez off"),
    sets("metrics-bind-address", "metricsBindAddress").differently("the address of /metrics. Default: 127.0.0.1:10249, or [::1]:10249 with an IPv6 --bind-address. \"\" or none switches it off, which kube-proxy does not offer"),
    sets("metrics-port", "metricsBindAddress").differently("the port of --metrics-bind-address, if that has none. 0 switches /metrics off, which kube-proxy does not offer"),
    ignored("profiling", "Pointsman has no profiler").switch(),
    ignored("show-hidden-metrics-for-version", "Pointsman hides no metric"),
    sets("proxy-mode", "mode"),
    sets("detect-local-mode", "detectLocalMode").program(),
    sets("cluster-cidr", "clusterCIDR").program(),
    sets("pod-bridge-interface", "detectLocal.bridgeInterface").program(),
    sets("pod-interface-name-prefix", "detectLocal.interfaceNamePrefix").program(),
    sets("nodeport-addresses", "nodePortAddresses").program(),
    sets("masquerade-all", "nftables.masqueradeAll").switch().program(),
    Flag { declared: true, ..sets("masquerade-bit", "nftables.masqueradeBit") }.with_file().differently("the bit of the packet mark that requests masquerade, 0 to 31. kube-proxy has no such flag"),
    sets("iptables-sync-period", "nftables.syncPeriod"),
    sets("iptables-min-sync-period", "nftables.minSyncPeriod"),
    ignored("iptables-masquerade-bit", "belongs to another mode: give `--masquerade-bit`, which kube-proxy does not have"),
    ignored("iptables-localhost-nodeports", "belongs to another mode: `localhost` in nodePortAddresses serves NodePorts on the loopback addresses").switch(),
    ignored("ipvs-sync-period", OTHER_MODE),
    ignored("ipvs-min-sync-period", OTHER_MODE),
    ignored("ipvs-scheduler", OTHER_MODE),
    ignored("ipvs-exclude-cidrs", OTHER_MODE),
    ignored("ipvs-strict-arp", OTHER_MODE).switch(),
    ignored("ipvs-tcp-timeout", OTHER_MODE),
    ignored("ipvs-tcpfin-timeout", OTHER_MODE),
    ignored("ipvs-udp-timeout", OTHER_MODE),
    sets("oom-score-adj", "oomScoreAdj"),
    sets("conntrack-max-per-core", "conntrack.maxPerCore"),
    sets("conntrack-min", "conntrack.min"),
    sets("conntrack-tcp-timeout-established", "conntrack.tcpEstablishedTimeout"),
    sets("conntrack-tcp-timeout-close-wait", "conntrack.tcpCloseWaitTimeout"),
    sets("conntrack-tcp-be-liberal", "conntrack.tcpBeLiberal").switch(),
    sets("conntrack-udp-timeout", "conntrack.udpTimeout"),
    sets("conntrack-udp-timeout-stream", "conntrack.udpStreamTimeout"),
    ignored("config-sync-period", "Pointsman has no periodic resync: watches report every change"),
    ignored("boot-id-file", "has no effect on kube-proxy either"),
    ignored("machine-id-file", "has no effect on kube-proxy either"),
];

/// The flag with this name, given without dashes.
pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The flag that sets this field.
pub(super) fn for_field(path: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.field == Some(path))
}

impl Flag {
    /// How Pointsman treats it.
    pub(super) fn treatment(&self) -> Treatment {
        let of_field = || self.field.and_then(fields::find).map(|field| field.treatment);
        self.treatment.or_else(of_field).unwrap_or(Ignored)
    }

    /// Whether it is accepted without effect.
    pub fn is_ignored(&self) -> bool {
        self.treatment() == Ignored
    }

    /// What it does, or why it is ignored.
    pub fn explanation(&self) -> &'static str {
        if self.note.is_empty() { self.field.and_then(fields::find).map_or("", |field| field.note) } else { self.note }
    }

    /// The allowed values, if they are a fixed list.
    pub fn possible_values(&self) -> &'static [&'static str] {
        match self.field.and_then(fields::find).map(|field| field.kind) {
            Some(FieldKind::Choice(words)) => words,
            _ => &[],
        }
    }

    /// Whether it may be repeated to give a list in parts.
    pub fn is_list(&self) -> bool {
        let kind = self.field.and_then(fields::find).map(|field| field.kind);
        matches!(kind, Some(FieldKind::List | FieldKind::Gates)) || self.name == "cluster-cidr"
    }

    /// The placeholder of its value in `--help`, and its default.
    pub fn value_name_and_default(&self) -> (&'static str, Option<&'static str>) {
        let Some(field) = self.field.and_then(fields::find) else {
            return (if self.name == "master" { "URL" } else { "VALUE" }, None);
        };
        let name = match field.kind {
            FieldKind::Flag => "true|false",
            FieldKind::Integer(..) | FieldKind::Number => "N",
            FieldKind::Duration(_) => "DURATION",
            FieldKind::Address => "IP",
            FieldKind::Bind(_) if self.name.ends_with("-port") => "PORT",
            FieldKind::Bind(_) => "ADDRESS",
            FieldKind::Gates => "GATE=true,…",
            FieldKind::Choice(_) => "NAME",
            FieldKind::List => "primary|CIDR,…",
            FieldKind::Text if field.path == "clusterCIDR" => "CIDR,…",
            FieldKind::Text if field.path == "clientConnection.kubeconfig" => "FILE",
            FieldKind::Text | FieldKind::Quantity | FieldKind::Modules => "NAME",
        };
        (name, Some(field.default).filter(|default| !default.is_empty() && field.kind != FieldKind::Flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_occurs_once_has_an_explanation_and_sets_an_existing_field() {
        for flag in FLAGS {
            assert_eq!(FLAGS.iter().filter(|other| other.name == flag.name).count(), 1, "{}", flag.name);
            assert!(!flag.explanation().is_empty(), "{}", flag.name);
            assert!(flag.field.is_none_or(|path| fields::find(path).is_some()), "{}", flag.name);
        }
    }

    #[test]
    fn a_flag_that_sets_a_field_is_not_listed_as_ignored() {
        for flag in FLAGS.iter().filter(|flag| flag.field.is_some() && flag.name != "proxy-mode") {
            assert!(!flag.is_ignored(), "{}", flag.name);
        }
    }
}
