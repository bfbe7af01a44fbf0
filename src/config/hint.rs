//! What somebody may have meant who wrote a field that does not exist.

use super::fields::FIELDS;

/// The field that was probably meant by `name` in the section `section` (empty at the top).
pub(super) fn nearest(section: &str, name: &str) -> Option<String> {
    let inside = |path: &str| {
        let rest = if section.is_empty() { path } else { path.strip_prefix(section)?.strip_prefix('.')? };
        rest.split('.').next().map(str::to_owned)
    };
    let here = FIELDS.iter().filter_map(|field| inside(field.path));
    let similar = here
        .map(|candidate| (distance(&candidate, name), candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 4))
        .min();
    if let Some((_, candidate)) = similar {
        return Some(if section.is_empty() { candidate } else { format!("{section}.{candidate}") });
    }
    // The right name in the wrong place; in the section of this mode rather than in another's.
    let elsewhere = |field: &&super::fields::Field| {
        field.path.rsplit('.').next().is_some_and(|leaf| leaf.eq_ignore_ascii_case(name))
    };
    let found = FIELDS.iter().filter(elsewhere).min_by_key(|field| !field.path.starts_with("nftables."));
    found.map(|field| field.path.to_owned())
}

/// How many letters differ; a wrong case hardly counts.
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
    fn a_misspelt_field_is_recognised_in_its_section_or_in_another() {
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
