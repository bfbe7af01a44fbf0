//! The metrics page of the running proxy, compared with kube-proxy's metrics: names, types, labels and buckets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::cluster::{Cluster, status, until};
use crate::common::apiserver;

/// The list of kube-proxy's metrics.
const LIST: &str = include_str!("metrics.txt");

/// A metric as a page shows it.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    kind: String,
    labels: BTreeSet<String>,
    bounds: Vec<String>,
}

/// The metrics of a page by name, with the labels that all of their samples have.
fn parse(page: &str) -> BTreeMap<String, Shown> {
    let mut metrics: BTreeMap<String, Shown> = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        metrics.insert(name.to_owned(), Shown { kind: kind.to_owned(), ..Shown::default() });
    }
    for line in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, _) = line.rsplit_once(' ').expect("a series and its value");
        let (full_name, labels) = series.split_once('{').unwrap_or((series, ""));
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| full_name.strip_suffix(suffix));
        let name = of_histogram.filter(|name| metrics.contains_key(*name)).unwrap_or(full_name);
        let shown = metrics.get_mut(name).unwrap_or_else(|| panic!("{line}: there is no # TYPE {name}"));
        for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").expect("name=\"value\"");
            let value = value.trim_end_matches('"').to_owned();
            if label != "le" {
                shown.labels.insert(label.to_owned());
            } else if value != "+Inf" && !shown.bounds.contains(&value) {
                shown.bounds.push(value);
            }
        }
    }
    metrics
}

#[test]
fn the_metrics_page_has_the_metrics_of_kube_proxy() {
    let Some(cluster) = Cluster::new() else { return };
    let proxy = cluster.start();
    cluster.until_web_reaches(&proxy, 11);
    assert_eq!(status(&cluster.node.host, "/healthz"), "HTTP/1.0 200 OK");
    let address = crate::common::netns::Family::V4.pod_ip(12).to_string();
    let mut slice = apiserver::slice("default/web-1", "web", &[&address]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let now = jiff::Timestamp::from_second(i64::try_from(now).expect("before 2100") + 1).expect("a time");
    slice["metadata"]["annotations"] = json!({"endpoints.kubernetes.io/last-change-trigger-time": now.to_string()});
    cluster.server.apply(slice);
    cluster.until_web_reaches(&proxy, 12);
    until(&proxy, "the change is measured", || {
        proxy.metrics(&cluster.node.host).contains("kubeproxy_network_programming_duration_seconds_count")
    });
    let answer = proxy.metrics(&cluster.node.host);
    let (head, page) = answer.split_once("\r\n\r\n").expect("a head and a page");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    let mut shown = parse(page);
    let mut wrong = Vec::new();
    for line in LIST.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('|').map(str::trim);
        let mut field = || fields.next().unwrap_or_default();
        let (name, kind, labels, bounds) = (field(), field(), field(), field());
        let (name, optional) = name.strip_prefix("? ").map_or((name, false), |name| (name, true));
        let found = shown.remove(name);
        let split = |text: &str| text.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let expected = match kind {
            "absent" => None,
            _ if optional && found.is_none() => None,
            _ => Some(Shown {
                kind: kind.to_owned(),
                labels: split(labels).into_iter().collect(),
                bounds: split(bounds),
            }),
        };
        if found != expected {
            wrong.push(format!("{name}: {found:?} instead of {expected:?}"));
        }
    }
    let unknown = shown.keys().filter(|name| !name.starts_with("pointsman_"));
    wrong.extend(unknown.map(|name| format!("{name} is not in the list")));
    assert_eq!(wrong, Vec::<String>::new(), "{page}");
}
