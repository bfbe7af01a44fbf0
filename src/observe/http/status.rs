//! `/statusz`: what the node knows about itself, as JSON or as text.

use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

use super::about::About;
use crate::observe::StatusReport;
use crate::pacing::Moment;
use crate::status::{NodeState, PressureReport};

/// The page, as JSON. Times are RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusPage {
    /// The state in one word.
    pub state: NodeState,
    /// Since when.
    pub since: Timestamp,
    /// Why; empty if it is SYNCED.
    pub why: String,
    /// This node's name.
    pub node: String,
    /// The version of the program.
    pub version: String,
    /// How the kernel is programmed.
    pub backend: String,
    /// When the process started.
    pub started: Timestamp,
    /// The moment of this answer.
    pub now: Timestamp,
    /// The watches; absent without an API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server: Option<ApiServerPage>,
    /// Since when something waits to be programmed; absent if nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Timestamp>,
    /// The tables in the kernel.
    pub kernel: KernelPage,
    /// The objects that were received; absent while the loop does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<InputPage>,
    /// Connection tracking; absent where it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conntrack: Option<PressureReport>,
    /// What the proxy needs and does not have, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// The watches on the API server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiServerPage {
    /// Every watch is open.
    pub connected: bool,
    /// Since when that is so, or not.
    pub since: Timestamp,
    /// When anything was last received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heard: Option<Timestamp>,
    /// Why a watch is not open: its kind, the last error, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The tables in the kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelPage {
    /// Batches that were committed.
    pub commits: u64,
    /// Commits and readings that failed.
    pub failures: u64,
    /// Changes of other programs are not noticed (`--drift off`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unwatched: bool,
    /// When another program committed something that was not looked at yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
    /// When the tables were last seen to be as expected, but for elements that were replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Timestamp>,
    /// When all elements were last seen to be as expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<Timestamp>,
    /// How often another program changed the tables.
    pub drifts: u64,
    /// Who changed what, while it is not repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// The last repair: when, and of what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_repair: Option<(Timestamp, String)>,
}

/// The objects that were received.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputPage {
    /// The number of Services.
    pub services: usize,
    /// A hash of all Services, EndpointSlices and ServiceCIDRs: nodes that heard the same have the same.
    pub hash: String,
}

impl StatusPage {
    /// The page of a report.
    pub(super) fn new(about: &About, report: &StatusReport) -> Self {
        let now = Timestamp::now();
        let time = |moment: Moment| now.saturating_sub(report.now.since(moment)).unwrap_or(now);
        // The two clocks are read one after the other: without rounding the same moment would be another time in each answer.
        let second = |moment: Moment| time(moment).round(Unit::Second).unwrap_or(now);
        let api_server = about.connection.report().map(|report| ApiServerPage {
            connected: report.connected,
            since: report.since,
            last_heard: report.last_heard,
            failure: about.connection.failure().map(|(kind, reason)| format!("{kind}: {reason}")),
        });
        let notes = &report.notes;
        let input = report.snapshot.as_ref().map(|snapshot| InputPage {
            services: snapshot.cluster().service_count(),
            hash: format!("{:016x}", about.board.input_hash(snapshot)),
        });
        Self {
            state: report.verdict.state,
            since: second(report.verdict.since),
            why: report.verdict.why.clone(),
            node: about.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            backend: notes.backend.clone(),
            started: about.started,
            now,
            api_server,
            waiting_since: report.pending.map(time),
            kernel: KernelPage {
                commits: notes.commits,
                failures: notes.failures,
                unwatched: !notes.is_watched,
                heard: notes.heard.map(time),
                verified: notes.looked.map(time),
                compared: notes.compared.map(time),
                drifts: notes.drifts,
                drift: report.drift.as_ref().map(|drift| drift.text.clone()),
                last_repair: notes.last_repair.as_ref().map(|(at, text)| (second(*at), text.clone())),
            },
            input,
            conntrack: notes.flows,
            missing: about.connection.missing(),
        }
    }

    /// The page as text, a line for each subject.
    pub fn text(&self) -> String {
        let ago = |time: Timestamp| ago(self.now.duration_since(time));
        let mut lines = vec![
            format!("{:<9} {}   {} {}   up {}", self.state, self.node, self.backend, self.version, ago(self.started)),
            format!("SINCE     {}, {}", self.since, ago(self.since)),
        ];
        if !self.why.is_empty() {
            lines.push(format!("WHY       {}", self.why));
        }
        if let Some(api) = &self.api_server {
            let state = if api.connected { "connected" } else { "lost" };
            let heard = api.last_heard.map_or("never heard".to_owned(), |heard| format!("heard {} ago", ago(heard)));
            let failure = api.failure.as_ref().map(|failure| format!("; {failure}")).unwrap_or_default();
            lines.push(format!("API       {state} for {}; {heard}{failure}", ago(api.since)));
        }
        let waiting =
            self.waiting_since.map_or("nothing waits".to_owned(), |since| format!("waiting for {}", ago(since)));
        let input = self.input.as_ref().map_or("the loop does not answer".to_owned(), |input| {
            format!("{} Services, hash {}; {waiting}", input.services, input.hash)
        });
        lines.push(format!("INPUT     {input}"));
        let kernel = &self.kernel;
        let when = |time: Option<Timestamp>| time.map_or("not yet".to_owned(), |time| format!("{} ago", ago(time)));
        let heard = kernel.heard.map(|time| format!("; another program committed {} ago, a look follows", ago(time)));
        lines.push(match kernel.unwatched {
            false => format!(
                "KERNEL    verified {}; all elements {}{}",
                when(kernel.verified),
                when(kernel.compared),
                heard.unwrap_or_default()
            ),
            true => "KERNEL    not watched: changes of other programs are not noticed (--drift off)".to_owned(),
        });
        lines.push(format!("COMMITS   {}   failed {}", kernel.commits, kernel.failures));
        let last = kernel.last_repair.as_ref().map(|(at, text)| format!("; the last, {} ago: {text}", ago(*at)));
        let last = last.unwrap_or_default();
        lines.push(match &kernel.drift {
            Some(drift) => format!("DRIFT     now: {drift}"),
            None => format!("DRIFT     {} repaired{last}", kernel.drifts),
        });
        if let Some(flows) = &self.conntrack {
            let lost = format!("insert failures {}, drops {}", flows.insert_failed, flows.dropped);
            lines.push(format!("CONNTRACK {}; {lost}", flows.summary()));
        }
        lines.extend(self.missing.iter().map(|text| format!("MISSING   {text}")));
        lines.join("\n") + "\n"
    }
}

/// A span of time for people.
fn ago(span: jiff::SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    match seconds {
        0..10 => format!("{:.1} s", span.as_secs_f64().max(0.0)),
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The page: JSON for a client that accepts it, else text.
pub(super) async fn page(about: &About, headers: &HeaderMap) -> Response {
    let report = about.board.report().await;
    let page = StatusPage::new(about, &report);
    let accepts_json = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accepts_json.is_some_and(|accept| accept.contains("application/json")) {
        let headers = [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (VARY, "Accept")];
        return (headers, serde_json::to_string(&page).unwrap_or_default()).into_response();
    }
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (VARY, "Accept")];
    let text = format!(
        "pointsman statusz\nFor people: the format may change. As JSON with the header Accept: application/json.\n\n{}\nBinary version: \
         {}\nPaths: /metrics /metrics/slis /healthz /proxyMode /configz /flagz /statusz /listz\n",
        page.text(),
        page.version
    );
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn the_sample_of_the_documentation_is_what_is_printed() {
        let now: Timestamp = "2026-11-26T06:30:00Z".parse().unwrap();
        let before = |seconds: f64| now - SignedDuration::from_secs_f64(seconds);
        let repaired: Timestamp = "2026-11-26T03:01:58Z".parse().unwrap();
        let text = "\"nft\" (pid 8812) changed our tables: table ip pointsman is missing; it lasted 84.2ms";
        let page = StatusPage {
            state: NodeState::Synced,
            since: repaired,
            why: String::new(),
            node: "node-a".to_owned(),
            version: "0.1.0".to_owned(),
            backend: "netlink".to_owned(),
            started: before(12.5 * 86_400.0),
            now,
            api_server: Some(ApiServerPage {
                connected: true,
                since: before(250.0),
                last_heard: Some(before(0.8)),
                failure: None,
            }),
            waiting_since: None,
            kernel: KernelPage {
                commits: 41_022,
                failures: 0,
                unwatched: false,
                heard: None,
                verified: Some(before(2.0)),
                compared: Some(before(400.0)),
                drifts: 1,
                drift: None,
                last_repair: Some((repaired, text.to_owned())),
            },
            input: Some(InputPage { services: 10_214, hash: "9f31c06b11d0a4e7".to_owned() }),
            conntrack: Some(PressureReport {
                used: 217_000,
                limit: 262_144,
                per_second: 84.0,
                seconds_to_full: Some(537),
                insert_failed: 12,
                dropped: 0,
                early_dropped: 0,
            }),
            missing: Vec::new(),
        };
        let documented = include_str!("../../../docs/at-3-am.md");
        let sample = documented.split("# pointsman status\n").nth(1).and_then(|rest| rest.split("```").next());
        assert_eq!(sample, Some(page.text().as_str()));
        let heard = |kernel| StatusPage { kernel, ..page.clone() }.text();
        let text = heard(KernelPage { heard: Some(before(1.5)), ..page.kernel.clone() });
        assert!(text.contains("; another program committed 1.5 s ago, a look follows\n"), "{text}");
        let text = heard(KernelPage { unwatched: true, ..page.kernel.clone() });
        assert!(text.contains("KERNEL    not watched") && !text.contains("verified"), "{text}");
        let json = serde_json::to_string(&page).unwrap();
        let read: StatusPage = serde_json::from_str(&json).unwrap();
        assert_eq!(read.text(), page.text());
        assert!(json.starts_with(r#"{"state":"SYNCED","since":"2026-11-26T03:01:58Z""#), "{json}");
    }
}
