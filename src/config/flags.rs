//! kube-proxy's flags, and what becomes of each.

use super::fields::{self, Treatment};
use super::kind::Kind;
use Treatment::{Differently, Honoured, Ignored};

/// One of kube-proxy's flags.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// The field that it sets.
    pub(super) field: Option<&'static str>,
    /// If that is not the field's.
    treatment: Option<Treatment>,
    /// If that is not the field's.
    note: &'static str,
    /// Whether it counts together with `--config`; of the others the file says everything.
    pub with_file: bool,
    /// Whether it may be given without a value, to mean true.
    pub switch: bool,
    /// Whether it is declared with the command line's own options.
    pub declared: bool,
    /// Whether it decides what is programmed, so that a subcommand that prints that takes it too.
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

const OTHER_MODE: &str = "belongs to another mode";
const LOG: &str = "each log line is written at once";

/// All flags, in the order of the documentation.
pub const FLAGS: &[Flag] = &[
    declared("config", Differently, "the configuration file. A change of it ends the process with exit code 1, for a supervisor to start it anew, unless it only concerns what is ignored or what takes effect at once; content that cannot be used is warned about and ignored"),
    declared("write-config-to", Honoured, "write the effective configuration to this file, and end"),
    declared("cleanup", Differently, "remove our tables and what kube-proxy left behind, and end; not while a proxy answers on this node, unless with `--force`. See [take-over.md](take-over.md)"),
    declared("init-only", Differently, "set the sysctls of `conntrack`, test the way to the kernel, and end; needs no API server"),
    declared("version", Honoured, "print the version, and end; `raw` is accepted, but not a version to pretend"),
    sets("hostname-override", "hostnameOverride").with_file().program(),
    sets("kubeconfig", "clientConnection.kubeconfig").with_file().differently("how to reach the API server; also together with `--config`. Default: $KUBECONFIG, ~/.kube/config, or the pod's service account"),
    Flag { treatment: Some(Honoured), with_file: true, ..ignored("master", "the URL of the API server, instead of the kubeconfig's; without a kubeconfig the server is asked without credentials") },
    Flag { field: Some("logging.verbosity"), ..sets("v", "").with_file().program() },
    ignored("vmodule", "`--log-level` takes a filter by module, such as `info,pointsman::diff=debug`").with_file(),
    sets("logging-format", "logging.format").with_file().program(),
    ignored("log-flush-frequency", LOG).with_file(),
    ignored("log-json-split-stream", LOG).with_file().switch(),
    ignored("log-json-info-buffer-size", LOG).with_file(),
    ignored("log-text-split-stream", LOG).with_file().switch(),
    ignored("log-text-info-buffer-size", LOG).with_file(),
    sets("feature-gates", "featureGates").program(),
    ignored("kube-api-content-type", "the API server is asked for JSON"),
    sets("kube-api-qps", "clientConnection.qps"),
    sets("kube-api-burst", "clientConnection.burst"),
    sets("bind-address", "bindAddress").program(),
    sets("bind-address-hard-fail", "bindAddressHardFail").switch(),
    sets("healthz-bind-address", "healthzBindAddress").differently("where to serve /healthz and /livez; \"\" or none for nowhere"),
    sets("healthz-port", "healthzBindAddress").note("the port of that address if it names none; 0 for nowhere"),
    sets("metrics-bind-address", "metricsBindAddress").differently("where to serve /metrics; \"\" or none for nowhere, which kube-proxy does not offer"),
    sets("metrics-port", "metricsBindAddress").differently("the port of that address if it names none; 0 for nowhere, which kube-proxy does not offer"),
    ignored("profiling", "there is no profiler to serve").switch(),
    ignored("show-hidden-metrics-for-version", "no metric is hidden"),
    sets("proxy-mode", "mode"),
    sets("detect-local-mode", "detectLocalMode").program(),
    sets("cluster-cidr", "clusterCIDR").program(),
    sets("pod-bridge-interface", "detectLocal.bridgeInterface").program(),
    sets("pod-interface-name-prefix", "detectLocal.interfaceNamePrefix").program(),
    sets("nodeport-addresses", "nodePortAddresses").program(),
    sets("masquerade-all", "nftables.masqueradeAll").switch().program(),
    Flag { declared: true, ..sets("masquerade-bit", "nftables.masqueradeBit") }.with_file().differently("the bit of the packet mark that asks for masquerade; kube-proxy has no such flag"),
    sets("iptables-sync-period", "nftables.syncPeriod"),
    sets("iptables-min-sync-period", "nftables.minSyncPeriod"),
    ignored("iptables-masquerade-bit", "belongs to another mode: give `--masquerade-bit`, which kube-proxy does not have"),
    ignored("iptables-localhost-nodeports", "nftables mode has no NodePorts on the loopback address").switch(),
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
    ignored("config-sync-period", "nothing is resynchronised by the clock: watches tell of every change"),
    ignored("boot-id-file", "has no effect on kube-proxy either"),
    ignored("machine-id-file", "has no effect on kube-proxy either"),
];

/// The flag of this name, without dashes.
pub fn of(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The flag that sets this field.
pub(super) fn of_field(path: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.field == Some(path))
}

impl Flag {
    /// What becomes of it.
    pub(super) fn treatment(&self) -> Treatment {
        let of_field = || self.field.and_then(fields::of).map(|field| field.treatment);
        self.treatment.or_else(of_field).unwrap_or(Ignored)
    }

    /// Whether it is accepted without effect.
    pub fn is_ignored(&self) -> bool {
        self.treatment() == Ignored
    }

    /// What it does, or why nothing becomes of it.
    pub fn explanation(&self) -> &'static str {
        if self.note.is_empty() { self.field.and_then(fields::of).map_or("", |field| field.note) } else { self.note }
    }

    /// The values that are allowed, if they are a few words.
    pub fn words(&self) -> &'static [&'static str] {
        match self.field.and_then(fields::of).map(|field| field.kind) {
            Some(Kind::Choice(words)) => words,
            _ => &[],
        }
    }

    /// Whether its parts may be given one by one.
    pub fn is_list(&self) -> bool {
        let kind = self.field.and_then(fields::of).map(|field| field.kind);
        matches!(kind, Some(Kind::List | Kind::Gates)) || self.name == "cluster-cidr"
    }

    /// What to write for its value in help, and its default.
    pub fn value(&self) -> (&'static str, Option<&'static str>) {
        let Some(field) = self.field.and_then(fields::of) else {
            return (if self.name == "master" { "URL" } else { "VALUE" }, None);
        };
        let word = match field.kind {
            Kind::Flag => "true|false",
            Kind::Integer(..) | Kind::Number => "N",
            Kind::Duration(_) => "DURATION",
            Kind::Address => "IP",
            Kind::Bind(_) if self.name.ends_with("-port") => "PORT",
            Kind::Bind(_) => "ADDRESS",
            Kind::Gates => "GATE=true,…",
            Kind::Choice(_) => "NAME",
            Kind::List => "primary|CIDR,…",
            Kind::Text if field.path == "clusterCIDR" => "CIDR,…",
            Kind::Text if field.path == "clientConnection.kubeconfig" => "FILE",
            Kind::Text | Kind::Quantity | Kind::Modules => "NAME",
        };
        (word, Some(field.default).filter(|default| !default.is_empty() && field.kind != Kind::Flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_occurs_once_and_is_explained_and_sets_a_field_that_exists() {
        for flag in FLAGS {
            assert_eq!(FLAGS.iter().filter(|other| other.name == flag.name).count(), 1, "{}", flag.name);
            assert!(!flag.explanation().is_empty(), "{}", flag.name);
            assert!(flag.field.is_none_or(|path| fields::of(path).is_some()), "{}", flag.name);
        }
    }

    #[test]
    fn whatever_a_flag_can_set_and_is_honoured_is_not_called_ignored() {
        for flag in FLAGS.iter().filter(|flag| flag.field.is_some() && flag.name != "proxy-mode") {
            assert!(!flag.is_ignored(), "{}", flag.name);
        }
    }
}
