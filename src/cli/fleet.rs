//! `pointsman status --all-nodes`: what every node says about itself, by way of the API server to each pod's page.

mod ask;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Serialize;

use super::args::{Args, OutputFormat};
use super::{DIFFERENCES, output, source};
use crate::observe::StatusPage;
use crate::status::NodeState;
use ask::{FleetQuery, ask_all};
use table::{summary, table};

/// The port of the pages unless an option says otherwise.
const DEFAULT_PORT: u16 = 10_249;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Ask every node, through the API server's proxy to the pods. Needs the rights to list pods and to get pods/proxy there, and pages
    /// that listen on the pod's address: see docs/at-3-am.md. The port is that of --metrics-bind-address
    #[arg(long)]
    pub all_nodes: bool,

    /// The namespace of the pods, for --all-nodes
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", requires = "all_nodes")]
    pub namespace: String,

    /// The labels of the pods, for --all-nodes; with kubeadm's patch k8s-app=kube-proxy
    #[arg(long, value_name = "LABELS", default_value = "app.kubernetes.io/name=pointsman", requires = "all_nodes")]
    pub selector: String,
}

/// What a node answered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FleetNode {
    /// Its name; empty while its pod has no node.
    node: String,
    pod: String,
    /// Its status; absent if it did not answer.
    status: Option<Box<StatusPage>>,
    /// Why there is no status.
    error: Option<String>,
}

impl FleetNode {
    fn is_synced(&self) -> bool {
        self.status.as_ref().is_some_and(|page| page.state == NodeState::Synced)
    }
}

/// Prints the status of all nodes. The exit code is 0 if all are SYNCED, else 1.
pub(super) async fn run(args: &Args, asked: &StatusArgs) -> anyhow::Result<ExitCode> {
    if args.output == OutputFormat::Nft {
        bail!("status prints text or JSON: leave out -o nft, or give -o json");
    }
    let api = source::api_client(args).await?.context("--all-nodes asks the API server: leave out --manifests")?;
    let port = args.settings.metrics.map_or(DEFAULT_PORT, |address| address.port());
    let query = FleetQuery { namespace: &asked.namespace, selector: &asked.selector, port };
    let mut nodes = ask_all(api.client(), query).await?;
    if nodes.is_empty() {
        bail!(
            "no pod in {} has the labels {}: name others with --namespace and --selector",
            asked.namespace,
            asked.selector
        );
    }
    nodes.sort_by(|a, b| (&a.node, &a.pod).cmp(&(&b.node, &b.pod)));
    match args.output {
        OutputFormat::Json => output::print_text(&format!("{}\n", serde_json::to_string_pretty(&nodes)?))?,
        _ => {
            output::print_text(&table(&nodes))?;
            // Beside the table, which programs may read. If standard error is closed, there is nowhere left to print to.
            let _ = writeln!(io::stderr(), "{}", summary(&nodes));
        }
    }
    Ok(if nodes.iter().all(FleetNode::is_synced) { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENCES) })
}
