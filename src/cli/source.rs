//! The source of events and the writer of Kubernetes Events, as the command line names them.

use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinHandle;

use super::args::{Against, Args};
use super::logging::Progress;
use crate::observe::{Events, start_events as start_writer};
use crate::tasks::Supervisor;
use crate::watch::{
    self, ApiClient, Connection, HostAddresses, KubernetesOptions, ObjectSource, SourceOptions, StartedSource,
    client_config,
};

/// The client of the API server that the command line names; `None` with manifests.
pub(super) async fn api_client(args: &Args) -> anyhow::Result<Option<ApiClient>> {
    if !args.manifests.is_empty() {
        return Ok(None);
    }
    let config = client_config(args.settings.kubeconfig.as_deref(), args.flags.value("master")).await?;
    Ok(Some(ApiClient::new(config, &kubernetes_options(args)?)?))
}

/// Starts the source in the background. It reports to `connection` whether the API server answers.
pub(super) async fn start(
    args: &Args,
    api: Option<ApiClient>,
    progress: &Progress,
    connection: &Connection,
    supervisor: &Supervisor,
) -> anyhow::Result<StartedSource> {
    let objects = match api {
        Some(api) => {
            let options = KubernetesOptions { connection: connection.clone(), ..kubernetes_options(args)? };
            ObjectSource::ApiServer { api, options: Box::new(options) }
        }
        None => {
            let paths = args.manifests.clone();
            ObjectSource::Manifests { paths, node_name: args.node_name()?, follow: args.watch }
        }
    };
    let reading = (!args.manifests.is_empty()).then(|| progress.show("reading manifests"));
    let (record, connection) = (args.record.clone(), connection.clone());
    let host_addresses = match &args.settings.node_ports {
        node_ports if node_ports.needs_host() => HostAddresses::Followed,
        // A plan against empty tables is the same on every host.
        _ if args.against == Some(Against::Empty) => HostAddresses::Ignored,
        _ => HostAddresses::IfNodeLacksFamily,
    };
    let options = SourceOptions { objects, record, host_addresses, connection };
    let source = watch::start(options, supervisor).await?;
    let ready = source.ready.inspect(|_| drop(reading)).boxed();
    Ok(StartedSource { ready, ..source })
}

/// Starts the writer of Kubernetes Events. With manifests or `--once` there is none, and the returned handle drops all Events.
pub(super) fn start_events(
    args: &Args,
    api: Option<&ApiClient>,
    supervisor: &Supervisor,
) -> anyhow::Result<(Events, Option<JoinHandle<()>>)> {
    let Some(api) = api.filter(|_| !args.once) else { return Ok((Events::default(), None)) };
    let (events, writer) = start_writer(api.client().clone(), args.node_name()?, supervisor);
    Ok((events, Some(writer)))
}

fn kubernetes_options(args: &Args) -> anyhow::Result<KubernetesOptions> {
    let mut options = KubernetesOptions::new(args.node_name()?);
    (options.requests_per_second, options.burst) = (args.settings.requests_per_second, args.settings.burst);
    options.protobuf = args.settings.protobuf;
    options.watch_timeout = Duration::from_secs(args.watch_timeout.into());
    Ok(options)
}
