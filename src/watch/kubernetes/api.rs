//! Where each kind is found in the Kubernetes API.

use kube::core::{ApiResource, GroupVersionKind};

use crate::state::Kind;

/// A kind's group, version and plural, from which kube makes the paths of requests.
pub fn api_resource(kind: Kind) -> ApiResource {
    let (group, plural) = match kind {
        Kind::Service => ("", "services"),
        Kind::EndpointSlice => ("discovery.k8s.io", "endpointslices"),
        Kind::ServiceCidr => ("networking.k8s.io", "servicecidrs"),
        Kind::Node => ("", "nodes"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind.label()), plural)
}

#[cfg(test)]
mod tests {
    use kube::Resource;
    use kube::core::DynamicObject;

    use super::*;

    #[test]
    fn requests_go_to_the_paths_of_the_kinds() {
        let path = |kind, namespace| DynamicObject::url_path(&api_resource(kind), namespace);
        assert_eq!(path(Kind::Service, None), "/api/v1/services");
        assert_eq!(path(Kind::Service, Some("shop")), "/api/v1/namespaces/shop/services");
        assert_eq!(path(Kind::EndpointSlice, None), "/apis/discovery.k8s.io/v1/endpointslices");
        assert_eq!(path(Kind::ServiceCidr, None), "/apis/networking.k8s.io/v1/servicecidrs");
        assert_eq!(path(Kind::Node, None), "/api/v1/nodes");
        assert_eq!(api_resource(Kind::EndpointSlice).api_version, "discovery.k8s.io/v1");
        assert_eq!(api_resource(Kind::Node).api_version, "v1");
    }
}
