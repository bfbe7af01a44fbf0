//! Asking the pages of the proxy that runs on this node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::args::Args;

/// How long a page may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of a page.
const MAX_PAGE: usize = 16 << 20;

/// The pages of the metrics address.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalPages(SocketAddr);

/// An answer.
#[derive(Debug)]
pub(super) struct PageAnswer {
    pub status: StatusCode,
    body: Bytes,
}

impl LocalPages {
    /// Where the options say that the pages are.
    ///
    /// # Errors
    ///
    /// If they are switched off.
    pub fn find(args: &Args) -> anyhow::Result<Self> {
        let Some(address) = args.settings.metrics else {
            bail!(
                "the pages of the metrics address are switched off (--metrics-bind-address \"\"): there is nothing to ask"
            )
        };
        Ok(Self(reachable(address)))
    }

    /// Asks for a page.
    ///
    /// # Errors
    ///
    /// If nothing answers.
    pub async fn ask(self, path: &str) -> anyhow::Result<PageAnswer> {
        let Self(address) = self;
        let asked = tokio::time::timeout(TIMEOUT, ask(address, path)).await;
        asked.unwrap_or_else(|_| bail!("no answer within {TIMEOUT:?}")).with_context(|| {
            let page = path.split('?').next().unwrap_or_default();
            format!(
                "no answer from http://{address}{page}. Is a Pointsman running on this node, and is that its --metrics-bind-address? \
                 Give the same --config or --metrics-bind-address before the name of the subcommand"
            )
        })
    }
}

impl PageAnswer {
    /// What it says.
    ///
    /// # Errors
    ///
    /// If the status is not 200: with what the page says about it.
    pub fn body(self) -> anyhow::Result<Bytes> {
        if self.status != StatusCode::OK {
            let text = String::from_utf8_lossy(&self.body);
            bail!("the page answers {}: {}", self.status, text.trim());
        }
        Ok(self.body)
    }
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

async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<PageAnswer> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
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
    Ok(PageAnswer { status, body })
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
