//! What people and controllers do to the objects of the API server.

use std::sync::Arc;

use pointsman::state::Kind;

use crate::api::Server;
use crate::coverage::{Coverage, Fault};
use crate::objects::{self, Object, Size, Stored};
use crate::random::Random;
use crate::story::Act;

/// Does what an act does to objects, if it does anything to them.
pub fn edit(act: Act, size: Size, server: &mut Server, random: &mut Random, met: &mut Coverage) {
    match act {
        Act::PutService => server.put(Object::Service(Arc::new(objects::service(random, size))), true),
        Act::PutSlice => server.put(Object::Slice(Arc::new(objects::slice(random, size))), true),
        Act::PutCidr => server.put(Object::Cidr(Arc::new(objects::cidr(random))), true),
        Act::PutNode => server.put(Object::Node(Arc::new(objects::node(random))), true),
        Act::Roll => {
            if let Some(Stored { object: Object::Slice(slice), .. }) = any(server, random, Kind::EndpointSlice) {
                let next = objects::roll(random, &slice, size);
                server.put(Object::Slice(Arc::new(next)), true);
            }
        }
        Act::DeleteService => delete(server, random, Kind::Service),
        Act::DeleteSlice => delete(server, random, Kind::EndpointSlice),
        Act::DeleteCidr => delete(server, random, Kind::ServiceCidr),
        Act::DeleteNode => delete(server, random, Kind::Node),
        Act::Touch => {
            if let Some(stored) = any_of_any_kind(server, random) {
                server.put(stored.object, stored.readable);
            }
        }
        Act::Damage => {
            if let Some(stored) = any_of_any_kind(server, random) {
                met.count(Fault::Unreadable);
                server.put(stored.object, false);
            }
        }
        Act::Supersede => {
            if let Some(stored) = any_of_any_kind(server, random) {
                met.count(Fault::UnreadableOther);
                server.delete(stored.object.kind(), stored.object.name());
                server.put(stored.object, false);
            }
        }
        Act::Flood => {
            for _ in 0..20 {
                let service = objects::service(random, size);
                server.put(Object::Service(Arc::new(service)), true);
                let slice = objects::slice(random, size);
                server.put(Object::Slice(Arc::new(slice)), true);
            }
        }
        _ => {}
    }
}

fn any(server: &Server, random: &mut Random, kind: Kind) -> Option<Stored> {
    let all: Vec<&Stored> = server.objects(kind).collect();
    if all.is_empty() { None } else { Some((*random.pick(&all)).clone()) }
}

fn any_of_any_kind(server: &Server, random: &mut Random) -> Option<Stored> {
    let kind = *random.pick(&[
        Kind::Service,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::EndpointSlice,
        Kind::ServiceCidr,
        Kind::Node,
    ]);
    any(server, random, kind)
}

fn delete(server: &mut Server, random: &mut Random, kind: Kind) {
    if let Some(stored) = any(server, random, kind) {
        server.delete(kind, stored.object.name());
    }
}
