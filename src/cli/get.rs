//! `pointsman get`: what the running proxy believes, or what manifests ask for; and the clients that the kernel remembers.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use http::StatusCode;

use super::args::{Args, OutputFormat};
use super::local_pages::LocalPages;
use super::logging::Progress;
use super::{dry_run, output};
use crate::apply::{AnyBackend, Backend};
use crate::dataplane::{Element, Endpoint, Family, Frontend, Key, Value};
use crate::diff::{Acknowledged, Installed};
use crate::listing::{ClientRow, ListFilter, ListRows, ListSubject, RowPage, TableWidth, list};
use crate::observe::StatusPage;
use crate::state::{ObjectName, TrafficPolicy};
use crate::status::NodeState;

/// How often a page is asked for while the loop is at work.
const ATTEMPTS: u32 = 10;
/// The pause between two attempts.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// What to list
    #[arg(value_enum)]
    pub what: GetSubject,

    /// NAMESPACE or NAMESPACE/SERVICE [default: everything; clients need a Service]
    pub of: Option<String>,
}

/// What `get` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum GetSubject {
    /// The Services that this proxy serves
    Services,
    /// Every endpoint, and why it is used or not
    Endpoints,
    /// The addresses and ports that clients connect to, and what happens there
    Frontends,
    /// The clients that frontends with session affinity remember, from the kernel: needs CAP_NET_ADMIN
    Clients,
    /// Claims to a frontend that another Service has, and by what rule
    Clashes,
}

pub(super) async fn run(args: &Args, asked: &GetArgs, progress: &Progress) -> anyhow::Result<ExitCode> {
    if args.output == OutputFormat::Nft {
        bail!("get prints text or JSON: leave out -o nft, or give -o wide or -o json");
    }
    let filter = asked.of.as_deref().map(ListFilter::parse).transpose().map_err(anyhow::Error::msg)?;
    let filter = filter.unwrap_or_default();
    let width = if args.output == OutputFormat::Wide { TableWidth::Wide } else { TableWidth::Narrow };
    let subject = match asked.what {
        GetSubject::Services => ListSubject::Services,
        GetSubject::Endpoints => ListSubject::Endpoints,
        GetSubject::Frontends => ListSubject::Frontends,
        GetSubject::Clashes => ListSubject::Clashes,
        GetSubject::Clients => {
            let rows = clients(args, &filter).await?;
            let json = || serde_json::to_string_pretty(&rows);
            return print(args, json, || ClientRow::table(&rows, width));
        }
    };
    let rows = match args.manifests.is_empty() {
        true => from_proxy(LocalPages::find(args)?, subject, asked.of.as_deref()).await?,
        false => from_manifests(args, subject, &filter, progress).await?,
    };
    // Of a Service without rows the head alone is the answer; a name that no Service has is a mistake.
    let Some(mut rows) = rows else { bail!("{}", no_service(&filter)) };
    rows.sort();
    print(args, || json(&rows), || rows.table(width))
}

/// What to say where no Service fits.
fn no_service(filter: &ListFilter) -> String {
    let namespace = filter.namespace.as_deref().unwrap_or_default();
    match &filter.service {
        Some(name) => format!(
            "there is no Service {namespace}/{name} here: it does not exist, or has no ClusterIP, or another proxy serves it"
        ),
        None => format!(
            "there is no Service with a ClusterIP in a namespace {namespace}; one Service is named NAMESPACE/SERVICE"
        ),
    }
}

fn print(
    args: &Args,
    json: impl FnOnce() -> serde_json::Result<String>,
    table: impl FnOnce() -> String,
) -> anyhow::Result<ExitCode> {
    match args.output {
        OutputFormat::Json => output::print_text(&(json().context("cannot write the rows as JSON")? + "\n"))?,
        _ => output::print_text(&table())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn json(rows: &ListRows) -> serde_json::Result<String> {
    match rows {
        ListRows::Services(rows) => serde_json::to_string_pretty(rows),
        ListRows::Endpoints(rows) => serde_json::to_string_pretty(rows),
        ListRows::Frontends(rows) => serde_json::to_string_pretty(rows),
        ListRows::Clashes(rows) => serde_json::to_string_pretty(rows),
    }
}

/// Waits a moment for a proxy that has just started.
///
/// # Errors
///
/// If it does not answer, or has programmed nothing yet.
async fn check_programmed(pages: LocalPages) -> anyhow::Result<()> {
    let mut why = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
        let status: StatusPage = serde_json::from_slice(&pages.ask("/statusz").await?.body()?)
            .context("the page is not the status of a Pointsman of this version")?;
        if status.state != NodeState::Starting {
            return Ok(());
        }
        why = status.why;
    }
    bail!("nothing was programmed yet: the proxy is STARTING ({why}); ask again when pointsman status says SYNCED")
}

/// The list of the running proxy; `None` if a filter lets no Service through.
///
/// # Errors
///
/// If it does not answer, or has programmed nothing yet: a list would have gaps.
async fn from_proxy(pages: LocalPages, subject: ListSubject, of: Option<&str>) -> anyhow::Result<Option<ListRows>> {
    check_programmed(pages).await?;
    let rows = all_pages(pages, subject, of).await?;
    let is_known = !rows.is_empty() || of.is_none() || !all_pages(pages, ListSubject::Services, of).await?.is_empty();
    Ok(is_known.then_some(rows))
}

/// All pages of a list.
async fn all_pages(pages: LocalPages, subject: ListSubject, of: Option<&str>) -> anyhow::Result<ListRows> {
    let mut all: Option<ListRows> = None;
    let mut path = format!("/listz?of={}", subject.word());
    path.extend(of.map(|of| format!("&in={of}")));
    let mut after: Option<String> = None;
    loop {
        let page_path = after.as_ref().map_or_else(|| path.clone(), |after| format!("{path}&after={after}"));
        let page = ask(pages, &page_path).await?;
        match &mut all {
            Some(all) => all.extend(page.rows),
            None => all = Some(page.rows),
        }
        match (page.next, all) {
            (None, Some(rows)) => return Ok(rows),
            (next, rows) => (after, all) = (next, rows),
        }
    }
}

/// One page. While the loop commits something large, it is asked for again.
async fn ask(pages: LocalPages, path: &str) -> anyhow::Result<RowPage> {
    for _ in 1..ATTEMPTS {
        let answer = pages.ask(path).await?;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            return decode(&answer.body()?);
        }
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
    decode(&pages.ask(path).await?.body()?)
}

fn decode(body: &[u8]) -> anyhow::Result<RowPage> {
    serde_json::from_slice(body).context("the page is not a list of a Pointsman of this version")
}

/// What the proxy would believe if these manifests were the cluster; `None` if the filter lets no Service through.
async fn from_manifests(
    args: &Args,
    subject: ListSubject,
    filter: &ListFilter,
    progress: &Progress,
) -> anyhow::Result<Option<ListRows>> {
    let engine = dry_run::complete_engine(args, args.dual_stack(), progress).await?;
    let rows = |subject| list(engine.snapshot(), subject, filter, None, usize::MAX).map(|page| page.rows);
    let found = rows(subject).map_err(anyhow::Error::msg)?;
    let is_known = !found.is_empty()
        || *filter == ListFilter::default()
        || !rows(ListSubject::Services).map_err(anyhow::Error::msg)?.is_empty();
    Ok(is_known.then_some(found))
}

/// The clients that the kernel remembers for the frontends of a Service.
async fn clients(args: &Args, filter: &ListFilter) -> anyhow::Result<Vec<ClientRow>> {
    if !args.manifests.is_empty() {
        bail!("clients are in the kernel alone: leave out --manifests");
    }
    if filter.service.is_none() {
        bail!("whose clients? Name a Service: pointsman get clients NAMESPACE/SERVICE");
    }
    let mut backend = AnyBackend::open_for_reading(&args.backend_options()).await?;
    let held = Acknowledged::from(backend.read(&Family::ALL).await?);
    let mut rows = Vec::new();
    let mut has_affinity = false;
    for (frontend, installed) in &held.frontends {
        let owner = installed.memberships.iter().find_map(|(_, comment)| comment.as_deref());
        let Some(owner) = owner.filter(|owner| installed.affinity.is_some() && is_owned(owner, filter)) else {
            continue;
        };
        has_affinity = true;
        let clients = backend.timed_clients(*frontend).await?;
        rows.extend(clients.into_iter().filter_map(|client| row(*frontend, owner, installed, client)));
    }
    if !has_affinity {
        let name = args_name(filter);
        bail!("the kernel has no frontend of {name} with session affinity: pointsman get frontends {name} -o wide");
    }
    rows.sort();
    Ok(rows)
}

fn args_name(filter: &ListFilter) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&filter.namespace), part(&filter.service))
}

/// Whether the comment of an element names a port of a Service that the filter lets through.
fn is_owned(owner: &str, filter: &ListFilter) -> bool {
    let service = owner.split(':').next().unwrap_or_default();
    service.split_once('/').is_some_and(|(namespace, name)| filter.allows(&ObjectName::new(namespace, name)))
}

fn row(
    frontend: Frontend,
    owner: &str,
    installed: &Installed,
    (element, left): (Element, Option<Duration>),
) -> Option<ClientRow> {
    let Key::Client(client) = element.key else { return None };
    let endpoint = match element.value {
        Some(Value::Id(id)) => {
            let lists = installed.affinity.iter().flat_map(|own| TrafficPolicy::ALL.map(|policy| own.list(policy)));
            let mut known = lists.flat_map(|list| list.endpoints.iter());
            known.find(|(known, _)| *known == id).map(|(_, endpoint)| *endpoint)
        }
        _ => None,
    };
    let at = std::net::SocketAddr::new(frontend.addr, frontend.port);
    Some(ClientRow {
        frontend: format!("{at}/{}", frontend.protocol.nft()),
        service: owner.to_owned(),
        client,
        endpoint: endpoint.map(|endpoint: Endpoint| endpoint.to_string()),
        seconds_left: left.map(|left| left.as_secs()),
    })
}
