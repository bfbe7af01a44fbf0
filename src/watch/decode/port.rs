//! Ports of Services and EndpointSlices.

use std::sync::Arc;

use super::{Interner, note_list};
use crate::dataplane::Protocol;
use crate::state::{Problem, Reason};
use crate::watch::wire::{Items, Loose, Port, Scalar};

/// The usable ports of a list at `field`, in its order. A name left out is the empty name and a protocol left out is TCP, as
/// the API server fills them in.
pub fn ports_of<T>(
    ports: Items<Loose<Port>>,
    field: &str,
    names: &mut Interner,
    problems: &mut Vec<Problem>,
    build: impl Fn(Arc<str>, Protocol, u16) -> T,
) -> Vec<T> {
    note_list(&ports, field, Reason::BadPort, problems);
    let ports = ports.into_vec();
    let mut usable = Vec::with_capacity(ports.len());
    for (i, port) in ports.into_iter().enumerate() {
        let port = match port {
            Loose::Fields(port) => port,
            Loose::Wrong(found) => {
                problems.push(Problem::new(format!("{field}[{i}]"), Reason::BadPort, found));
                continue;
            }
        };
        let Some(number) = number(&port.port) else {
            problems.push(Problem::new(format!("{field}[{i}].port"), Reason::BadPort, &port.port));
            continue;
        };
        let Some(protocol) = protocol(&port.protocol) else {
            problems.push(Problem::new(format!("{field}[{i}].protocol"), Reason::BadProtocol, &port.protocol));
            continue;
        };
        usable.push(build(names.share(&port.name.text().unwrap_or_default()), protocol, number));
    }
    usable.shrink_to_fit();
    usable
}

fn number(found: &Scalar) -> Option<u16> {
    match found {
        Scalar::Integer(number) => u16::try_from(*number).ok().filter(|port| *port != 0),
        _ => None,
    }
}

fn protocol(found: &Scalar) -> Option<Protocol> {
    match found {
        Scalar::Null => Some(Protocol::Tcp),
        Scalar::Text(text) if text.is_empty() => Some(Protocol::Tcp),
        Scalar::Text(text) => text.parse().ok(),
        _ => None,
    }
}
