//! `pointsman status`: what the proxy of this node knows about itself, from its local page.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::DIFFERENCES;
use super::args::{Args, OutputFormat};
use super::output;
use crate::observe::StatusPage;
use crate::status::NodeState;

/// How long the page may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of the page.
const MAX_PAGE: usize = 1 << 20;

/// Prints the status. The exit code is 0 if the node is SYNCED, else 1.
pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(address) = args.settings.metrics else {
        bail!(
            "the pages of the metrics address are switched off (--metrics-bind-address \"\"): there is nothing to ask"
        )
    };
    let address = reachable(address);
    let asked = tokio::time::timeout(TIMEOUT, ask(address)).await;
    let page = asked.unwrap_or_else(|_| bail!("no answer within {TIMEOUT:?}")).with_context(|| {
        format!(
            "no status from http://{address}/statusz. Is a Pointsman running on this node, and is that its --metrics-bind-address? \
             Give the same --config or --metrics-bind-address here"
        )
    })?;
    match args.output {
        OutputFormat::Json => output::print_text(&format!("{}\n", serde_json::to_string_pretty(&page)?))?,
        OutputFormat::Text => output::print_text(&page.text())?,
        OutputFormat::Nft => bail!("status prints text or JSON: leave out -o nft, or give -o json"),
    }
    Ok(if page.state == NodeState::Synced { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENCES) })
}

/// The address to ask: one that listens on all addresses answers on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, address.port())
}

async fn ask(address: SocketAddr) -> anyhow::Result<StatusPage> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/statusz")
        .header(HOST, address.to_string())
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_PAGE).collect().await;
        anyhow::Ok((status, body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes()))
    };
    let (status, body) = tokio::select! {
        biased;
        exchanged = exchange => exchanged?,
        ended = connection => bail!("the connection ended early: {ended:?}"),
    };
    if status != StatusCode::OK {
        bail!("the page answers {status}");
    }
    serde_json::from_slice(&body).context("the page is not the status of a Pointsman of this version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_listens_everywhere_is_asked_on_loopback() {
        for (bound, asked) in
            [("0.0.0.0:10249", "127.0.0.1:10249"), ("[::]:10249", "[::1]:10249"), ("192.0.2.1:7", "192.0.2.1:7")]
        {
            assert_eq!(reachable(bound.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
