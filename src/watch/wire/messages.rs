//! The numbers of the fields that are read, from the `generated.proto` of each API group. They never change.
//!
//! The server writes every field that is no pointer in its code, even where it is empty. Such a field is `optional` here if JSON
//! leaves it out then, so that both encodings say the same.

use super::protobuf::{FieldReader, Malformed, ProtobufFields, ProtobufValue};
use super::{
    AnnotationFields, ClientIpFields, ConditionFields, EndpointFields, EndpointSliceFields, HintFields, HintsFields,
    IngressFields, LabelFields, LoadBalancerFields, LooseObject, MetadataFields, NodeAddressFields, NodeFields,
    NodeSpecFields, NodeStatusFields, PartialObjectMetadata, PortFields, ServiceCidrFields, ServiceCidrSpecFields,
    ServiceFields, ServiceSpecFields, ServiceStatusFields, SessionAffinityFields, TaintFields,
};

/// What each number of a message means.
macro_rules! fields {
    ($type:ty, |$message:ident, $value:ident| { $($number:literal => $take:expr,)+ } $(, most are $most:literal: $list:ident)?) => {
        impl ProtobufFields for $type {
            $(fn prepare(&mut self, fields: FieldReader<'_>) {
                self.$list.reserve(fields.count($most));
            })?

            fn take(&mut self, number: u32, $value: ProtobufValue<'_>) -> Result<(), Malformed> {
                let $message = self;
                match number {
                    $($number => $take,)+
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

fields!(ServiceFields, |service, value| {
    1 => value.read_object(&mut service.metadata)?,
    2 => value.read_object(&mut service.spec)?,
    3 => value.read_object(&mut service.status)?,
});

fields!(ServiceSpecFields, |spec, value| {
    1 => spec.ports.push_object(value)?,
    3 => spec.cluster_ip = value.optional(),
    4 => spec.kind = value.optional(),
    5 => spec.external_ips.push(value.scalar()),
    7 => spec.session_affinity = value.optional(),
    9 => spec.load_balancer_source_ranges.push(value.scalar()),
    11 => spec.external_traffic_policy = value.optional(),
    12 => spec.health_check_node_port = value.optional(),
    14 => value.read_object(&mut spec.session_affinity_config)?,
    18 => spec.cluster_ips.push(value.scalar()),
    19 => spec.ip_families.push(value.scalar()),
    22 => spec.internal_traffic_policy = value.scalar(),
});

fields!(SessionAffinityFields, |config, value| {
    1 => value.read_object(&mut config.client_ip)?,
});

fields!(ClientIpFields, |config, value| {
    1 => config.timeout_seconds = value.scalar(),
});

fields!(ServiceStatusFields, |status, value| {
    1 => value.read_object(&mut status.load_balancer)?,
});

fields!(LoadBalancerFields, |status, value| {
    1 => status.ingress.push_object(value)?,
});

fields!(IngressFields, |ingress, value| {
    1 => ingress.ip = value.optional(),
    3 => ingress.ip_mode = value.scalar(),
});

// A ServicePort. An EndpointPort has the same first fields and no fifth.
fields!(PortFields, |port, value| {
    1 => port.name = value.optional(),
    2 => port.protocol = value.optional(),
    3 => port.port = value.scalar(),
    5 => port.node_port = value.optional(),
});

fields!(EndpointSliceFields, |slice, value| {
    1 => value.read_object(&mut slice.metadata)?,
    2 => slice.endpoints.push_object(value)?,
    3 => slice.ports.push_object(value)?,
    4 => slice.address_type = value.scalar(),
}, most are 2: endpoints);

fields!(EndpointFields, |endpoint, value| {
    1 => endpoint.addresses.push(value.scalar()),
    2 => value.read_object(&mut endpoint.conditions)?,
    6 => endpoint.node_name = value.scalar(),
    8 => value.read_object(&mut endpoint.hints)?,
});

fields!(ConditionFields, |conditions, value| {
    1 => conditions.ready = value.flag(),
    2 => conditions.serving = value.flag(),
    3 => conditions.terminating = value.flag(),
});

fields!(HintsFields, |hints, value| {
    1 => hints.for_zones.push_object(value)?,
    2 => hints.for_nodes.push_object(value)?,
});

fields!(HintFields, |hint, value| {
    1 => hint.name = value.scalar(),
});

fields!(ServiceCidrFields, |cidr, value| {
    1 => value.read_object(&mut cidr.metadata)?,
    2 => value.read_object(&mut cidr.spec)?,
});

fields!(ServiceCidrSpecFields, |spec, value| {
    1 => spec.cidrs.push(value.scalar()),
});

fields!(NodeFields, |node, value| {
    1 => value.read_object(&mut node.metadata)?,
    2 => value.read_object(&mut node.spec)?,
    3 => value.read_object(&mut node.status)?,
});

fields!(NodeSpecFields, |spec, value| {
    5 => spec.taints.push_object(value)?,
    7 => spec.pod_cidrs.push(value.scalar()),
});

fields!(TaintFields, |taint, value| {
    1 => taint.key = value.scalar(),
});

fields!(NodeStatusFields, |status, value| {
    5 => status.addresses.push_object(value)?,
});

fields!(NodeAddressFields, |address, value| {
    1 => address.kind = value.scalar(),
    2 => address.address = value.scalar(),
});

fields!(PartialObjectMetadata, |object, value| {
    1 => value.read_object(&mut object.metadata)?,
});

fields!(MetadataFields, |metadata, value| {
    1 => metadata.name = value.optional(),
    3 => metadata.namespace = value.optional(),
    5 => metadata.uid = value.uid(),
    6 => metadata.resource_version = value.optional(),
    8 => metadata.creation_timestamp = value.time()?,
    9 => metadata.deletion_timestamp = value.time()?,
    11 => metadata.take_label(value)?,
    12 => metadata.take_annotation(value)?,
});

impl MetadataFields {
    fn take_label(&mut self, value: ProtobufValue<'_>) -> Result<(), Malformed> {
        let (Some((key, value)), LooseObject::Fields(labels)) = (value.entry()?, &mut self.labels) else {
            return Ok(());
        };
        match key {
            LabelFields::SERVICE_PROXY_NAME => labels.service_proxy_name = Some(value.scalar()),
            LabelFields::HEADLESS => labels.headless = Some(value.scalar()),
            LabelFields::SERVICE_NAME => labels.service_name = value.scalar(),
            LabelFields::ZONE => labels.zone = value.scalar(),
            _ => {}
        }
        Ok(())
    }

    fn take_annotation(&mut self, value: ProtobufValue<'_>) -> Result<(), Malformed> {
        let (Some((key, value)), LooseObject::Fields(annotations)) = (value.entry()?, &mut self.annotations) else {
            return Ok(());
        };
        match key {
            AnnotationFields::LAST_CHANGE_TRIGGER_TIME => annotations.last_change_trigger_time = value.scalar(),
            AnnotationFields::INITIAL_EVENTS_END => annotations.initial_events_end = Some(value.scalar()),
            _ => {}
        }
        Ok(())
    }
}

/// The keys of maps are data in protobuf, not names of fields.
impl LabelFields {
    const SERVICE_PROXY_NAME: &[u8] = b"service.kubernetes.io/service-proxy-name";
    const HEADLESS: &[u8] = b"service.kubernetes.io/headless";
    const SERVICE_NAME: &[u8] = b"kubernetes.io/service-name";
    const ZONE: &[u8] = b"topology.kubernetes.io/zone";
}

impl AnnotationFields {
    const LAST_CHANGE_TRIGGER_TIME: &[u8] = b"endpoints.kubernetes.io/last-change-trigger-time";
    const INITIAL_EVENTS_END: &[u8] = b"k8s.io/initial-events-end";
}
