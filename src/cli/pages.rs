//! Starting the HTTP pages.

use std::sync::{Arc, Mutex};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::Args;
use super::proxy::about_node;
use crate::dataplane::Family;
use crate::observe::{About, ClientCounts, Events, Health, Listener, Pages, Severity, metrics};
use crate::state::NodePortAddresses;

/// Whether an address that cannot be listened on stops the start (`bindAddressHardFail`). By default it is tried again: a node
/// with a proxy and without its pages is better off than one with neither.
const HARD_FAIL: bool = false;

/// Starts the HTTP pages.
pub(super) async fn serve(
    args: &Args,
    health: &Health,
    families: &[Family],
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
    events: &Events,
) -> anyhow::Result<()> {
    let recorder = metrics::recorder().context("cannot set up metrics")?;
    let metrics = recorder.handle();
    ::metrics::set_global_recorder(recorder).context("cannot set up metrics")?;
    metrics::describe();
    metrics::start_at_zero(families);
    let command_line = std::env::args().collect();
    let clients = Mutex::new(ClientCounts::new(families, args.options()?.affinity_capacity));
    let about =
        About { metrics, clients, configuration: configuration(args)?, command_line, started: Timestamp::now() };
    let pages = [
        (args.metrics_bind_address, Pages::Metrics(Arc::new(about))),
        (args.healthz_bind_address, Pages::Health(health.clone(), families.to_vec())),
    ];
    for (address, pages) in pages {
        let Some(address) = address.0 else { continue };
        match Listener::bind(address, pages.clone()).await {
            Ok(listener) => {
                tasks.spawn(listener.serve(shutdown.clone()));
            }
            Err(error) => {
                let text = error.to_string();
                events.note(about_node(&args.node_name()?, Severity::Warning, error.reason, text));
                if HARD_FAIL {
                    return Err(error.into());
                }
                tracing::error!(%error, "tried again every 5 s; the proxy starts without it");
                tasks.spawn(Listener::serve_when_free(address, pages, shutdown.clone()));
            }
        }
    }
    Ok(())
}

/// The configuration in effect, as kube-proxy's type for it, as far as options have a field there.
fn configuration(args: &Args) -> anyhow::Result<Value> {
    let options = args.options()?;
    let address = |address: super::args::BindAddress| address.0.map_or_else(String::new, |it| it.to_string());
    let networks = |networks: &[ipnet::IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mode = clap::ValueEnum::to_possible_value(&args.detect_local_mode);
    Ok(json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": args.hostname_override.clone().unwrap_or_default(),
        "metricsBindAddress": address(args.metrics_bind_address),
        "healthzBindAddress": address(args.healthz_bind_address),
        "bindAddressHardFail": HARD_FAIL,
        "clusterCIDR": networks(&args.cluster_cidr).join(","),
        "detectLocalMode": mode.map(|mode| mode.get_name().to_owned()),
        "detectLocal": {
            "bridgeInterface": args.pod_bridge_interface.clone().unwrap_or_default(),
            "interfaceNamePrefix": args.pod_interface_name_prefix.clone().unwrap_or_default(),
        },
        "nodePortAddresses": match &args.nodeport_addresses {
            NodePortAddresses::Primary => vec!["primary".to_owned()],
            NodePortAddresses::Networks(all) => networks(all),
        },
        "nftables": {"masqueradeAll": options.masquerade_all, "masqueradeBit": options.masquerade_bit},
    }))
}
