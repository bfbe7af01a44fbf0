//! Which program serves health checks on this node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The port of kube-proxy's health checks unless its configuration says otherwise.
pub const HEALTH_PORT: u16 = 10256;

/// The port of kube-proxy's metrics unless its configuration says otherwise.
pub const METRICS_PORT: u16 = 10249;

/// What kube-proxy answers on its page `/proxyMode`.
const MODES: [&str; 4] = ["iptables", "ipvs", "nftables", "userspace"];

/// How long this very host may take to connect, and to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// The program that answers on the health port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthServer {
    /// No program listens.
    Absent,
    /// A kube-proxy: it answers as kube-proxy does.
    KubeProxy,
    /// Another Pointsman, by its header `server`.
    Pointsman,
    /// A program that answers in no known way.
    Unknown,
}

impl HealthServer {
    /// Who answers, as the beginning of a sentence; `None` if no program does.
    pub fn description(self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::KubeProxy => Some("a kube-proxy answers"),
            Self::Pointsman => Some("another Pointsman answers"),
            Self::Unknown => Some("something that is no Service proxy listens"),
        }
    }
}

/// Finds out who answers `/healthz` on this port of the loopback addresses.
pub async fn probe_health_port(port: u16) -> HealthServer {
    let mut found = HealthServer::Absent;
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        match request(SocketAddr::new(ip, port), "/healthz").await {
            None => {}
            Some(answer) => match identify(&answer) {
                HealthServer::Unknown => found = HealthServer::Unknown,
                known => return known,
            },
        }
    }
    found
}

/// Finds out who answers `/proxyMode` on this port of 127.0.0.1, the page beside kube-proxy's metrics. Other programs count as absent.
pub(super) async fn probe_mode_page(port: u16) -> HealthServer {
    match fetch_page(port, "/proxyMode").await {
        Some(mode) if MODES.contains(&mode.trim()) => {
            let metrics = fetch_page(port, "/metrics").await.unwrap_or_default();
            if metrics.contains("\npointsman_") { HealthServer::Pointsman } else { HealthServer::KubeProxy }
        }
        _ => HealthServer::Absent,
    }
}

/// The body of a page on this port of 127.0.0.1; `None` if it is not served.
pub async fn fetch_page(port: u16, path: &str) -> Option<String> {
    let answer = request(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), path).await?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let ok = head.split_whitespace().nth(1) == Some("200");
    ok.then(|| body.to_owned())
}

/// Requests a page: `None` if no program listens, otherwise as much of the answer as came in time.
async fn request(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = tokio::time::timeout(ANSWER_TIMEOUT, TcpStream::connect(address)).await.ok()?.ok()?;
    let head = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(ANSWER_TIMEOUT, async {
        stream.write_all(head.as_bytes()).await?;
        (&mut stream).take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await
    })
    .await;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// The program that gives this answer to `/healthz`.
fn identify(answer: &str) -> HealthServer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let by_us = head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("server") && value.trim().to_ascii_lowercase().starts_with("pointsman")
        })
    });
    let health = serde_json::from_str::<serde_json::Value>(body).ok();
    match health {
        Some(_) if by_us => HealthServer::Pointsman,
        Some(health) if health["lastUpdated"].is_string() && health["currentTime"].is_string() => {
            HealthServer::KubeProxy
        }
        _ => HealthServer::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const HEALTHY: &str =
        r#"{"lastUpdated":"2026-01-01T00:00:00Z","currentTime":"2026-01-01T00:00:01Z","nodeEligible":true}"#;

    #[test]
    fn a_program_is_identified_by_its_answer() {
        for (answer, who) in [
            (format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{HEALTHY}"), HealthServer::KubeProxy),
            (format!("HTTP/1.0 503 Service Unavailable\r\n\r\n{HEALTHY}\n"), HealthServer::KubeProxy),
            (format!("HTTP/1.0 200 OK\r\nserver: pointsman/0.1.0\r\n\r\n{HEALTHY}"), HealthServer::Pointsman),
            ("HTTP/1.0 200 OK\r\n\r\nok".to_owned(), HealthServer::Unknown),
            (format!("HTTP/1.0 200 OK\r\nserver: pointsmans\r\n\r\n{}", "ok"), HealthServer::Unknown),
            ("HTTP/1.0 404 Not Found\r\n\r\n{}".to_owned(), HealthServer::Unknown),
            ("SSH-2.0".to_owned(), HealthServer::Unknown),
            (String::new(), HealthServer::Unknown),
        ] {
            assert_eq!(identify(&answer), who, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_port_without_a_listener_is_absent_and_a_silent_listener_unknown() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            drop(stream);
        });
        assert_eq!(probe_health_port(port).await, HealthServer::Unknown);
        silent.await.unwrap();
        assert_eq!(probe_health_port(port).await, HealthServer::Absent);
    }
}
