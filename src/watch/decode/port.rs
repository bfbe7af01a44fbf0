//! Ports of Services and EndpointSlices.

use std::num::NonZeroU16;
use std::sync::Arc;

use super::{Interner, note_list};
use crate::dataplane::Protocol;
use crate::state::{Problem, Reason};
use crate::watch::wire::{LooseList, LooseObject, PortFields, Scalar};

/// The usable ports of the list at `field`, in its order. The defaults are the API server's: no name is the empty name, no
/// protocol is TCP.
pub fn usable_ports<T>(
    ports: LooseList<LooseObject<PortFields>>,
    field: &str,
    names: &mut Interner,
    problems: &mut Vec<Problem>,
    build: impl Fn(Arc<str>, Protocol, u16, Option<NonZeroU16>) -> T,
) -> Vec<T> {
    note_list(&ports, field, Reason::BadPort, problems);
    let ports = ports.into_vec();
    let mut usable = Vec::with_capacity(ports.len());
    for (i, port) in ports.into_iter().enumerate() {
        let port = match port {
            LooseObject::Fields(port) => port,
            LooseObject::Wrong(found) => {
                problems.push(Problem::new(format!("{field}[{i}]"), Reason::BadPort, found));
                continue;
            }
        };
        let Some(number) = number_or_none(&port.port) else {
            problems.push(Problem::new(format!("{field}[{i}].port"), Reason::BadPort, as_written(&port.port)));
            continue;
        };
        let Some(protocol) = protocol(&port.protocol) else {
            problems.push(Problem::new(format!("{field}[{i}].protocol"), Reason::BadProtocol, &port.protocol));
            continue;
        };
        let node_port = number_or_none(&port.node_port);
        if node_port.is_none() && port.node_port.is_set() && port.node_port != Scalar::Integer(0) {
            problems.push(Problem::new(format!("{field}[{i}].nodePort"), Reason::BadPort, as_written(&port.node_port)));
        }
        usable.push(build(names.share(&port.name.text().unwrap_or_default()), protocol, number.get(), node_port));
    }
    usable.shrink_to_fit();
    usable
}

/// A port number; `None` for anything else.
pub fn number_or_none(found: &Scalar) -> Option<NonZeroU16> {
    match found {
        Scalar::Integer(number) => u16::try_from(*number).ok().and_then(NonZeroU16::new),
        _ => None,
    }
}

/// What was found instead of a port number. A number in quotes is shown with them, because they are what is wrong.
fn as_written(found: &Scalar) -> String {
    match found.as_str() {
        Some(text) if text.parse::<i64>().is_ok() => format!("{text:?}, a text in quotes,"),
        _ => found.to_string(),
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
