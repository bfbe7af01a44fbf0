//! EndpointSlices: which ones a Service proxy reads, their ports and endpoints.

use std::sync::Arc;

use super::address::{is_endpoint, parse_ip};
use super::port::usable_ports;
use super::{Interner, NotProxied, WatchedKind, namespaced, note_list, object};
use crate::dataplane::Family;
use crate::state::{
    Decoded, EndpointPlace, EndpointSlice, Event, Few, Identity, Kind, ObjectName, Problem, Reason, SliceEndpoint,
    SlicePort,
};
use crate::watch::wire;

impl WatchedKind for EndpointSlice {
    type Wire = wire::EndpointSliceFields;
    const KIND: Kind = Kind::EndpointSlice;
    const RESET: fn(Vec<Decoded<Self>>) -> Event = Event::SlicesReset;
    const APPLIED: fn(Decoded<Self>) -> Event = Event::SliceApplied;
    const DELETED: fn(ObjectName) -> Event = Event::SliceDeleted;

    fn metadata(wire: &wire::EndpointSliceFields) -> &wire::LooseObject<wire::MetadataFields> {
        &wire.metadata
    }

    fn decode(wire: wire::EndpointSliceFields, names: &mut Interner) -> Result<Decoded<Self>, NotProxied> {
        let metadata = wire.metadata.or_default();
        let name = match namespaced(&metadata, names) {
            Ok(name) => name,
            Err(unreadable) => return Ok(unreadable),
        };
        let labels = metadata.labels.or_default();
        if labels.headless.is_some() {
            return Err(NotProxied(name));
        }
        let uid = metadata.uid.0;
        // Kept as a slice of no Service: its earlier endpoints must go, and the problem must be reported.
        let useless = |name, family, problem, names: &mut Interner| {
            let (service, problems) = (names.share(""), vec![problem].into());
            Ok(object(Self {
                name,
                uid: Identity(uid),
                service,
                family,
                ports: Vec::new(),
                endpoints: Vec::new(),
                problems,
            }))
        };
        let family = match wire.address_type.as_str() {
            Some("IPv4") => Family::Ip,
            Some("IPv6") => Family::Ip6,
            // The type of a slice cannot change, so whatever had this name before was another slice.
            Some("FQDN") => {
                let problem = Problem::new("addressType", Reason::UnsupportedAddressType, "FQDN");
                return useless(name, Family::Ip, problem, names);
            }
            _ => {
                let problem = Problem::new("addressType", Reason::UnsupportedAddressType, wire.address_type);
                return Ok(Decoded::unreadable(name, problem).with_uid(uid));
            }
        };
        let mut problems = Vec::new();
        let Some(service) = labels.service_name.non_empty() else {
            let field = "metadata.labels[kubernetes.io/service-name]";
            let problem = Problem::new(field, Reason::NoService, &labels.service_name);
            return useless(name, family, problem, names);
        };
        let service = service.into();
        // A port left out would mean all ports, which a Service proxy cannot use.
        let ports = usable_ports(wire.ports, "ports", names, &mut problems, |name, protocol, port, _| SlicePort {
            name,
            protocol,
            port,
        });
        let endpoints = endpoints(wire.endpoints, family, names, &mut problems);
        let problems = problems.into();
        Ok(object(Self { name, uid: Identity(uid), service, family, ports, endpoints, problems }))
    }

    fn name(&self) -> &ObjectName {
        &self.name
    }

    fn problems(&mut self) -> &mut Few<Problem> {
        &mut self.problems
    }
}

fn endpoints(
    wire: wire::LooseList<wire::LooseObject<wire::EndpointFields>>,
    family: Family,
    names: &mut Interner,
    problems: &mut Vec<Problem>,
) -> Vec<SliceEndpoint> {
    note_list(&wire, "endpoints", Reason::BadAddress, problems);
    let wire = wire.into_vec();
    let mut endpoints = Vec::with_capacity(wire.len());
    for (i, endpoint) in wire.into_iter().enumerate() {
        let endpoint = match endpoint {
            wire::LooseObject::Fields(endpoint) => endpoint,
            wire::LooseObject::Wrong(found) => {
                problems.push(Problem::new(format!("endpoints[{i}]"), Reason::BadAddress, found));
                continue;
            }
        };
        // All addresses of an endpoint are equivalent (API documentation); the first is used.
        let text = endpoint.addresses.into_scalar();
        let addr = text.as_str().and_then(parse_ip);
        let Some(addr) = addr.filter(|addr| Family::from_addr(*addr) == family && is_endpoint(*addr)) else {
            problems.push(Problem::new(format!("endpoints[{i}].addresses[0]"), Reason::BadAddress, &text));
            continue;
        };
        let conditions = endpoint.conditions.or_default();
        let hints = endpoint.hints.or_default();
        let mut hinted = |hints: wire::LooseList<wire::LooseObject<wire::HintFields>>| -> Box<[Arc<str>]> {
            let given = hints.into_vec().into_iter().map(wire::LooseObject::or_default);
            given.filter_map(|hint| hint.name.non_empty().map(|name| names.share(name))).collect()
        };
        let (zone_hints, node_hints) = (hinted(hints.for_zones), hinted(hints.for_nodes));
        let place = match endpoint.node_name.non_empty() {
            Some(node) if zone_hints.is_empty() && node_hints.is_empty() => names.share_node(node),
            node => {
                let node = node.map(|node| names.share(node));
                names.share_place(EndpointPlace { node, zone_hints, node_hints })
            }
        };
        endpoints.push(SliceEndpoint {
            ready: conditions.ready.bool_or(true),
            serving: conditions.serving.bool_or(true),
            terminating: conditions.terminating.bool_or(false),
            ..SliceEndpoint::new(addr, place)
        });
    }
    endpoints.shrink_to_fit();
    endpoints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Result<Decoded<EndpointSlice>, NotProxied> {
        EndpointSlice::decode(serde_json::from_str(json).unwrap(), &mut Interner::default())
    }

    #[test]
    fn hints_are_read_and_empty_ones_are_none() {
        let slice = slice(
            r#""addressType":"IPv4","endpoints":[
            {"addresses":["10.1.0.1"],"hints":{"forZones":[{"name":"a"},{"name":"b"},7,{}],"forNodes":[{"name":"n"}]}},
            {"addresses":["10.1.0.2"],"hints":{"forZones":[],"forNodes":null}},
            {"addresses":["10.1.0.3"],"hints":"near"}]"#,
        );
        let hints: Vec<_> =
            slice.endpoints.iter().map(|e| (e.zone_hints().join(","), e.node_hints().join(","))).collect();
        let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(hints, [text("a,b", "n"), text("", ""), text("", "")]);
    }

    fn slice(fields: &str) -> Arc<EndpointSlice> {
        let json = format!(
            r#"{{"metadata":{{"name":"web-x","namespace":"shop","labels":{{"kubernetes.io/service-name":"web"}}}},{fields}}}"#
        );
        match decode(&json) {
            Ok(Decoded::Object(slice)) => slice,
            other => panic!("{fields}: {other:?}"),
        }
    }

    #[test]
    fn a_whole_slice_is_read() {
        let slice = slice(
            r#""addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"}],"endpoints":[
            {"addresses":["10.1.0.1","10.1.0.2"],"conditions":{"ready":true,"serving":true,"terminating":false},
             "nodeName":"node-1","zone":"a","hints":{"forZones":[{"name":"a"}]},"targetRef":{"kind":"Pod"}},
            {"addresses":["10.1.0.3"],"conditions":{"ready":false,"serving":null,"terminating":true}},
            {"addresses":["10.1.0.04"]}]"#,
        );
        assert_eq!((&*slice.service, slice.family), ("web", Family::Ip));
        assert_eq!((&*slice.ports[0].name, slice.ports[0].port), ("http", 8080));
        let seen: Vec<_> =
            slice.endpoints.iter().map(|e| (e.addr.to_string(), e.node(), e.ready, e.serving, e.terminating)).collect();
        assert_eq!(
            seen,
            [
                ("10.1.0.1".to_owned(), Some("node-1"), true, true, false),
                ("10.1.0.3".to_owned(), None, false, true, true),
                ("10.1.0.4".to_owned(), None, true, true, false),
            ]
        );
        assert!(slice.problems.is_empty());
    }

    #[test]
    fn a_bad_endpoint_costs_only_itself() {
        let slice = slice(
            r#""addressType":"IPv4","endpoints":[{"addresses":["banana"]},{"addresses":["fd00::1"]},{"addresses":[]},
            {"addresses":["127.0.0.1"]},{"addresses":["169.254.0.1"]},{"addresses":["224.0.0.1"]},{"addresses":["0.0.0.0"]},
            7,{"addresses":"10.0.0.1"},{"addresses":["10.1.0.1"]}]"#,
        );
        assert_eq!(slice.endpoints.len(), 1);
        assert_eq!(slice.problems.len(), 9);
        assert!(slice.problems.iter().all(|problem| problem.reason == Reason::BadAddress));
        assert_eq!((&*slice.problems[0].field, &*slice.problems[0].found), ("endpoints[0].addresses[0]", "banana"));
    }

    #[test]
    fn a_port_needs_a_number_but_no_name() {
        let slice = slice(
            r#""addressType":"IPv6","ports":[{"port":80},{"name":"all"},{"name":"zero","port":0},{"port":"http"},
            {"port":9,"protocol":"QUIC"}],"endpoints":[]"#,
        );
        assert_eq!(slice.ports, [SlicePort { name: "".into(), protocol: crate::dataplane::Protocol::Tcp, port: 80 }]);
        let reasons: Vec<_> = slice.problems.iter().map(|problem| problem.reason).collect();
        assert_eq!(reasons, [Reason::BadPort, Reason::BadPort, Reason::BadPort, Reason::BadProtocol]);
    }

    #[test]
    fn a_headless_label_of_any_value_hides_a_slice() {
        let json = r#"{"metadata":{"name":"s","namespace":"n","labels":{"service.kubernetes.io/headless":"false"}},
            "addressType":"FQDN"}"#;
        assert_eq!(decode(json), Err(NotProxied(ObjectName::new("n", "s"))));
    }

    #[test]
    fn a_slice_of_no_service_loses_its_endpoints_and_reports_it() {
        for labels in ["{}", r#"{"kubernetes.io/service-name":""}"#, "7"] {
            let json = format!(
                r#"{{"metadata":{{"name":"s","labels":{labels}}},"addressType":"IPv4","endpoints":[{{"addresses":["10.0.0.1"]}}]}}"#
            );
            let Ok(Decoded::Object(slice)) = decode(&json) else { panic!("{labels}") };
            assert_eq!((&*slice.service, slice.endpoints.len()), ("", 0));
            assert_eq!(slice.problems[0].reason, Reason::NoService);
        }
    }

    #[test]
    fn a_slice_of_host_names_has_no_endpoints_and_one_of_unknown_addresses_is_unreadable() {
        let json = |kind: &str| {
            format!(
                r#"{{"metadata":{{"name":"s","uid":"u","labels":{{"kubernetes.io/service-name":"web"}}}},"addressType":"{kind}",
                "endpoints":[{{"addresses":["10.0.0.1"]}}]}}"#
            )
        };
        let Ok(Decoded::Object(slice)) = decode(&json("FQDN")) else { panic!() };
        assert_eq!((&*slice.service, slice.endpoints.len()), ("", 0));
        assert_eq!((slice.problems[0].reason, &*slice.problems[0].found), (Reason::UnsupportedAddressType, "FQDN"));
        let Ok(Decoded::Unreadable(unreadable)) = decode(&json("IPv5")) else { panic!() };
        assert_eq!((unreadable.1.reason, &*unreadable.1.found), (Reason::UnsupportedAddressType, "IPv5"));
        assert_eq!(unreadable.2, crate::state::Uid::new("u"));
    }

    #[test]
    fn no_json_value_anywhere_fails_the_object() {
        for value in ["null", "true", "7", "\"x\"", "[]", "[7]", "{}", "[{}]", "[[]]"] {
            for field in ["metadata", "addressType", "ports", "endpoints", "apiVersion"] {
                let json = format!(r#"{{"{field}":{value}}}"#);
                let wire = serde_json::from_str::<wire::EndpointSliceFields>(&json);
                assert!(wire.is_ok(), "{json}: {wire:?}");
            }
            let json = format!(
                r#"{{"metadata":{{"name":"s","labels":{{"kubernetes.io/service-name":"web"}}}},"addressType":"IPv4",
                "endpoints":[{{"addresses":{value},"conditions":{value},"nodeName":{value}}}]}}"#
            );
            assert!(matches!(decode(&json), Ok(Decoded::Object(_))), "{json}");
        }
    }
}
