//! The output: steps, commands, and the table of Services with the servers that answered.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stdout};
use std::net::SocketAddr;

use crate::netns::{Answer, Failure};
use crate::promise::{Outcome, Promise, Protocol};
use crate::statistics::is_uniform;

/// A promise and its result.
#[derive(Debug)]
pub struct Row {
    promise: Promise,
    requests: usize,
    answered: BTreeMap<SocketAddr, u32>,
    verdict: Result<&'static str, String>,
}

impl Row {
    /// A row from the answers to requests.
    pub fn asked(promise: Promise, answers: Vec<Result<Answer, Failure>>) -> Self {
        let requests = answers.len();
        let mut answered = BTreeMap::new();
        let mut failures = Vec::new();
        for answer in answers {
            match answer {
                Ok(answer) => *answered.entry(answer.server).or_default() += 1,
                Err(failure) => failures.push(failure),
            }
        }
        let verdict = judge(&promise.outcome, &answered, &failures);
        Self { promise, requests, answered, verdict }
    }

    /// A row from a listing of the map, in which the frontend's endpoints must be.
    pub fn listed(promise: Promise, listing: &str) -> Self {
        let Outcome::Answered(endpoints) = &promise.outcome else {
            return Self { promise, requests: 0, answered: BTreeMap::new(), verdict: Ok("not asked") };
        };
        let protocol = name(promise.protocol);
        let missing = endpoints.iter().find(|endpoint| {
            let frontend = format!("{} . {protocol} . {} . ", promise.frontend.ip(), promise.frontend.port());
            let target = format!("{} . {}", endpoint.ip(), endpoint.port());
            // One line of a listing may hold several elements.
            !listing.split(['\n', ',', '{']).any(|element| element.contains(&frontend) && element.contains(&target))
        });
        let verdict = missing.map_or(Ok("programmed"), |endpoint| Err(format!("{endpoint} is not programmed")));
        Self { requests: 0, answered: endpoints.iter().map(|endpoint| (*endpoint, 0)).collect(), verdict, promise }
    }

    /// Whether the promise was kept.
    pub fn is_kept(&self) -> bool {
        self.verdict.is_ok()
    }
}

/// Prints the title of a step.
pub fn step(title: &str) {
    println!("\n{}", paint("1", &format!("== {title}")));
}

/// Prints a command.
pub fn command(line: &str) {
    println!("{}", paint("2", &format!("$ {line}")));
}

/// Prints two lines for each row: the Service, and the servers that answered.
pub fn table(rows: &[Row]) {
    println!("{}", paint("1", &line("SERVICE", "ADDRESS", "REQUESTS", "VERDICT")));
    for row in rows {
        let verdict = match &row.verdict {
            Ok(verdict) => paint("32", verdict),
            Err(reason) => paint("31", &format!("WRONG: {reason}")),
        };
        let address = format!("{}/{}", row.promise.frontend, name(row.promise.protocol));
        println!("{}", line(&row.promise.name, &address, &row.requests.to_string(), &verdict));
        let answered: Vec<String> = row.answered.iter().map(|(server, count)| counted(*server, *count)).collect();
        if !answered.is_empty() {
            println!("    {}", paint("2", &answered.join("  ")));
        }
    }
    let kept = rows.iter().filter(|row| row.is_kept()).count();
    let requests: usize = rows.iter().map(|row| row.requests).sum();
    println!("{kept} of {} promises kept, {requests} requests", rows.len());
}

fn judge(
    outcome: &Outcome,
    answered: &BTreeMap<SocketAddr, u32>,
    failures: &[Failure],
) -> Result<&'static str, String> {
    match outcome {
        Outcome::Answered(endpoints) => {
            if let Some(failure) = failures.first() {
                return Err(format!("{} requests failed ({failure:?})", failures.len()));
            }
            if let Some(wrong) = answered.keys().find(|server| !endpoints.contains(server)) {
                return Err(format!("{wrong} answered, which is not an endpoint of this port"));
            }
            let counts: Vec<u32> =
                endpoints.iter().map(|endpoint| answered.get(endpoint).copied().unwrap_or_default()).collect();
            match counts.len() {
                1 => Ok("answered"),
                _ if is_uniform(&counts) => Ok("balanced"),
                _ => Err(format!("not balanced: {counts:?}")),
            }
        }
        Outcome::Refused => expect(answered, failures, Failure::Refused, "refused"),
        Outcome::Dropped => expect(answered, failures, Failure::TimedOut, "dropped"),
    }
}

fn expect(
    answered: &BTreeMap<SocketAddr, u32>,
    failures: &[Failure],
    expected: Failure,
    verdict: &'static str,
) -> Result<&'static str, String> {
    if let Some(server) = answered.keys().next() {
        return Err(format!("{server} answered"));
    }
    match failures.iter().find(|failure| **failure != expected) {
        Some(failure) => Err(format!("expected {expected:?}, got {failure:?}")),
        None => Ok(verdict),
    }
}

fn counted(server: SocketAddr, count: u32) -> String {
    if count == 0 { server.to_string() } else { format!("{server} ×{count}") }
}

fn line(service: &str, address: &str, requests: &str, verdict: &str) -> String {
    format!("{service:<36} {address:<27} {requests:>8}  {verdict}")
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

fn paint(style: &str, text: &str) -> String {
    if stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[{style}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
