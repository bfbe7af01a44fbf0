//! "Did you mean": the existing field that resembles an unknown one.

use super::fields::FIELDS;

/// The path that resembles the unknown field `name` of `section` (empty at the top).
pub(super) fn nearest(section: &str, name: &str) -> Option<String> {
    let name_in_section = |path: &str| {
        let rest = if section.is_empty() { path } else { path.strip_prefix(section)?.strip_prefix('.')? };
        rest.split('.').next().map(str::to_owned)
    };
    let similar = FIELDS
        .iter()
        .filter_map(|field| name_in_section(field.path))
        .map(|candidate| (distance(&candidate, name), candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 4))
        .min();
    if let Some((_, candidate)) = similar {
        return Some(if section.is_empty() { candidate } else { format!("{section}.{candidate}") });
    }
    // The right name in the wrong section. The section of this mode comes first.
    let elsewhere = |field: &&super::fields::ConfigField| {
        field.path.rsplit('.').next().is_some_and(|leaf| leaf.eq_ignore_ascii_case(name))
    };
    let found = FIELDS.iter().filter(elsewhere).min_by_key(|field| !field.path.starts_with("nftables."));
    found.map(|field| field.path.to_owned())
}

/// The gate among `gates` that resembles an unknown one.
pub(super) fn nearest_gate(name: &str, gates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    gates.map(|gate| (distance(gate, name), gate)).filter(|(distance, _)| *distance <= 3).min().map(|(_, gate)| gate)
}

/// The number of edits between two names. Case does not count.
fn distance(candidate: &str, name: &str) -> usize {
    if candidate.eq_ignore_ascii_case(name) {
        return 0;
    }
    strsim::damerau_levenshtein(&candidate.to_ascii_lowercase(), &name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_gate_is_matched() {
        let gates = || ["AllowServiceExternalIPs", "NFTablesProxyMode"].into_iter();
        assert_eq!(nearest_gate("AllowServiceExternalIps", gates()), Some("AllowServiceExternalIPs"));
        assert_eq!(nearest_gate("NFTableProxyMode", gates()), Some("NFTablesProxyMode"));
        assert_eq!(nearest_gate("ContextualLogging", gates()), None);
    }

    #[test]
    fn a_misspelt_field_is_matched_in_its_section_or_in_another() {
        for (section, name, meant) in [
            ("", "clusterCidr", Some("clusterCIDR")),
            ("", "nodePortAdresses", Some("nodePortAddresses")),
            ("", "nodeportAddresses", Some("nodePortAddresses")),
            ("", "nftable", Some("nftables")),
            ("conntrack", "tcpbeliberal", Some("conntrack.tcpBeLiberal")),
            ("", "masqueradeAll", Some("nftables.masqueradeAll")),
            ("nftables", "clusterCIDR", Some("clusterCIDR")),
            ("logging.options", "txt", Some("logging.options.text")),
            ("", "somethingElseEntirely", None),
        ] {
            assert_eq!(nearest(section, name).as_deref(), meant, "{section} {name}");
        }
    }
}
