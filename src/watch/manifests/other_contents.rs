//! What files hold beside the objects that are read: it is named, so that nothing is left out without a word.

use std::collections::BTreeMap;

use super::file_contents::FileContents;
use crate::metrics::count_manifest_problem;

/// What files hold beside the objects that are read.
#[derive(Debug, Default)]
pub struct OtherContents {
    /// Whether files that the operator named have to be readable and hold something.
    pub strict: bool,
    /// Whether it is clear that so little was meant: there is an empty list, another Node, or an object for another proxy.
    pub is_meant: bool,
    other_kinds: BTreeMap<String, usize>,
    other_versions: BTreeMap<String, usize>,
}

impl OtherContents {
    /// Nothing yet.
    pub fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    /// Adds those of one file.
    pub fn add(&mut self, contents: &FileContents) {
        self.is_meant |= contents.empty_list || contents.not_proxied > 0 || !contents.other_nodes.is_empty();
        for (all, some) in
            [(&mut self.other_kinds, &contents.other_kinds), (&mut self.other_versions, &contents.other_versions)]
        {
            for (kind, count) in some {
                *all.entry(kind.clone()).or_default() += count;
            }
        }
    }

    /// Names kinds that are not read.
    pub fn report_kinds(&self) {
        if !self.other_kinds.is_empty() {
            let kinds = counts(&self.other_kinds);
            tracing::info!("manifests: kinds that a Service proxy does not read are left out: {kinds}");
        }
    }

    /// Names versions that are not read. Beside EndpointSlices, Endpoints tell nothing new.
    pub fn report_versions(&self, without_slices: bool) {
        let told = |kind: &str| without_slices || !kind.starts_with("Endpoints ");
        for (kind, objects) in self.other_versions.iter().filter(|(kind, _)| told(kind)) {
            count_manifest_problem(kind.split(' ').next().unwrap_or_default(), *objects);
            tracing::warn!(
                objects,
                "manifests: {kind} is not read; give Services and Nodes as v1, EndpointSlices as discovery.k8s.io/v1, ServiceCIDRs \
                 as networking.k8s.io/v1"
            );
        }
    }

    /// What there is instead of objects that are read, for an error.
    pub fn instead(&self) -> String {
        let all: BTreeMap<String, usize> =
            self.other_kinds.iter().chain(&self.other_versions).map(|(kind, count)| (kind.clone(), *count)).collect();
        if all.is_empty() { String::new() } else { format!(", but {}", counts(&all)) }
    }
}

fn counts(kinds: &BTreeMap<String, usize>) -> String {
    kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}
