//! Who serves health checks on this node: a kube-proxy, a Pointsman, somebody else, or nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The port of kube-proxy's health checks unless its configuration says otherwise.
pub const HEALTH_PORT: u16 = 10256;

/// How long an answer may take. It comes from this very host.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const LONGEST: u64 = 4 << 20;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Nobody listens.
    Nobody,
    /// Health checks as kube-proxy has them.
    KubeProxy,
    /// Another Pointsman: it says so in the header `server`.
    Pointsman,
    /// Something listens, and answers nothing that is known.
    Somebody,
}

/// Asks for `/healthz` on this port of the loopback addresses.
pub async fn who_answers(port: u16) -> Answers {
    let mut heard = Answers::Nobody;
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        match ask(SocketAddr::new(ip, port), "/healthz").await {
            None => {}
            Some(answer) => match judge(&answer) {
                Answers::Somebody => heard = Answers::Somebody,
                known => return known,
            },
        }
    }
    heard
}

/// The body of a page on this port of 127.0.0.1; none if nobody serves it.
pub async fn get(port: u16, path: &str) -> Option<String> {
    let answer = ask(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), path).await?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let ok = head.split_whitespace().nth(1) == Some("200");
    ok.then(|| body.to_owned())
}

/// The whole answer; none if nobody listens, and as much as came in time otherwise.
async fn ask(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await.ok()?.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, async {
        stream.write_all(request.as_bytes()).await?;
        (&mut stream).take(LONGEST).read_to_end(&mut answer).await
    })
    .await;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// What an answer to `/healthz` tells.
fn judge(answer: &str) -> Answers {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let by_us = head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("server") && value.trim().to_ascii_lowercase().starts_with("pointsman")
        })
    });
    let health = serde_json::from_str::<serde_json::Value>(body).ok();
    match health {
        Some(_) if by_us => Answers::Pointsman,
        Some(health) if health["lastUpdated"].is_string() && health["currentTime"].is_string() => Answers::KubeProxy,
        _ => Answers::Somebody,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const HEALTHY: &str =
        r#"{"lastUpdated":"2026-01-01T00:00:00Z","currentTime":"2026-01-01T00:00:01Z","nodeEligible":true}"#;

    #[test]
    fn an_answer_tells_who_gives_it() {
        for (answer, who) in [
            (format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{HEALTHY}"), Answers::KubeProxy),
            (format!("HTTP/1.0 503 Service Unavailable\r\n\r\n{HEALTHY}\n"), Answers::KubeProxy),
            (format!("HTTP/1.0 200 OK\r\nserver: pointsman/0.1.0\r\n\r\n{HEALTHY}"), Answers::Pointsman),
            ("HTTP/1.0 200 OK\r\n\r\nok".to_owned(), Answers::Somebody),
            (format!("HTTP/1.0 200 OK\r\nserver: pointsmans\r\n\r\n{}", "ok"), Answers::Somebody),
            ("HTTP/1.0 404 Not Found\r\n\r\n{}".to_owned(), Answers::Somebody),
            ("SSH-2.0".to_owned(), Answers::Somebody),
            (String::new(), Answers::Somebody),
        ] {
            assert_eq!(judge(&answer), who, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_port_without_listener_is_nobody_and_a_silent_one_somebody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            drop(stream);
        });
        assert_eq!(who_answers(port).await, Answers::Somebody);
        silent.await.unwrap();
        assert_eq!(who_answers(port).await, Answers::Nobody);
    }
}
