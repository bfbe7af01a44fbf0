//! Connections to frontends that no rule translates, such as those that IPVS translated before it was removed.
//!
//! Connection tracking asks rules about the first packet of a connection only. So while such an entry is there, no rule of ours sees its
//! packets, and they go to an address that no interface has. Without the entry the next packet is a first one again: a UDP client goes on with an
//! endpoint, and a TCP client is refused by one at once, instead of waiting for an answer.

use std::collections::BTreeSet;
use std::io::Result;

use super::kernel::{ConntrackSocket, TrackedConnection};
use crate::dataplane::{Family, Frontend};

/// The most dumps of a table that changes meanwhile.
const MAX_ATTEMPTS: usize = 5;

/// Deletes all connections to these frontends that no rule translates, and returns how many there were. The work blocks.
///
/// # Errors
///
/// If the kernel cannot be asked, or refuses.
pub fn delete_untranslated(table: &mut ConntrackSocket, frontends: &BTreeSet<Frontend>) -> Result<usize> {
    let mut deleted = 0;
    for family in Family::ALL {
        if frontends.iter().any(|frontend| frontend.family() == family) {
            deleted += delete_in(table, family, frontends)?;
        }
    }
    Ok(deleted)
}

fn delete_in(table: &mut ConntrackSocket, family: Family, frontends: &BTreeSet<Frontend>) -> Result<usize> {
    let mut deleted = 0;
    for _ in 0..MAX_ATTEMPTS {
        let mut found = Vec::new();
        let complete = table.dump_all(family, &mut |entry| {
            if is_of(&entry, frontends) {
                found.push((entry.protocol, entry.flow));
            }
        })?;
        for (protocol, flow) in found {
            deleted += usize::from(table.delete_entry(protocol, &flow)?);
        }
        if complete {
            break;
        }
    }
    Ok(deleted)
}

/// Whether this is a connection to one of the frontends that no rule translates. In other zones another program's entry may be the one that
/// is translated.
fn is_of(entry: &TrackedConnection, frontends: &BTreeSet<Frontend>) -> bool {
    let (addr, port) = (entry.flow.destination.ip(), entry.flow.destination.port());
    let frontend = Frontend { addr, protocol: entry.protocol, port };
    !entry.is_translated_by_rule && entry.flow.zone == 0 && frontends.contains(&frontend)
}

#[cfg(test)]
mod tests {
    use super::super::flow::Flow;
    use super::*;
    use crate::dataplane::Protocol;

    #[test]
    fn only_untranslated_connections_to_the_frontends_are_meant() {
        let frontends = BTreeSet::from([Frontend { addr: [10, 96, 0, 10].into(), protocol: Protocol::Tcp, port: 80 }]);
        let [client, destination, server] =
            ["192.0.2.2:20000", "10.96.0.10:80", "10.1.0.1:8080"].map(|text| text.parse().unwrap());
        let flow = Flow { client, destination, server, zone: 0, id: 1 };
        let entry = TrackedConnection { protocol: Protocol::Tcp, flow, is_translated_by_rule: false };
        assert!(is_of(&entry, &frontends));
        let to = |text: &str| Flow { destination: text.parse().unwrap(), ..flow };
        for other in [
            TrackedConnection { is_translated_by_rule: true, ..entry },
            TrackedConnection { protocol: Protocol::Udp, ..entry },
            TrackedConnection { flow: Flow { zone: 7, ..flow }, ..entry },
            TrackedConnection { flow: to("10.96.0.10:81"), ..entry },
            TrackedConnection { flow: to("10.96.0.11:80"), ..entry },
        ] {
            assert!(!is_of(&other, &frontends), "{other:?}");
        }
    }
}
