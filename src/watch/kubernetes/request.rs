//! The requests of one kind: what is selected, and in which encoding it is asked for.

use http::{HeaderValue, Request, header};
use kube::client::Body;
use kube::core::request::{Error as RequestError, Request as RequestBuilder};
use kube::core::{DynamicObject, Resource as _};

use kube::api::{ListParams, WatchParams};

use super::KubernetesOptions;
use super::api::api_resource;
use crate::state::Kind;

/// What is asked for: protobuf where the server speaks it, and in both encodings without `managedFields`, which are most of an object's
/// bytes and which servers before 1.38 send all the same. A server takes the first form that it knows.
const PROTOBUF: HeaderValue = HeaderValue::from_static(
    "application/vnd.kubernetes.protobuf;drop=metadata.managedFields, application/vnd.kubernetes.protobuf, \
     application/json;drop=metadata.managedFields, application/json",
);

/// The same, of a server or a proxy on the way that does not speak protobuf.
const JSON: HeaderValue = HeaderValue::from_static("application/json;drop=metadata.managedFields, application/json");

/// The requests of one kind.
#[derive(Clone, Debug)]
pub struct Requests {
    path: RequestBuilder,
    labels: Option<&'static str>,
    fields: Option<String>,
    /// How long the server should keep a watch open, in seconds.
    timeout: u32,
    page_size: u32,
    /// Whether protobuf is asked for.
    pub protobuf: bool,
}

impl Requests {
    /// What a Service proxy asks for (semantics of kube-proxy 1.36).
    pub fn new(kind: Kind, options: &KubernetesOptions) -> Self {
        let (labels, fields) = match kind {
            Kind::Service => {
                (Some("!service.kubernetes.io/service-proxy-name"), Some("spec.clusterIP!=None".to_owned()))
            }
            Kind::EndpointSlice => (Some("!service.kubernetes.io/headless"), None),
            Kind::Node => (None, Some(format!("metadata.name={}", options.node_name))),
            Kind::ServiceCidr => (None, None),
        };
        Self {
            path: RequestBuilder::new(DynamicObject::url_path(&api_resource(kind), None)),
            labels,
            fields,
            timeout: u32::try_from(options.watch_timeout.as_secs()).unwrap_or(u32::MAX).max(1),
            page_size: options.page_size,
            protobuf: options.protobuf,
        }
    }

    /// A page of a list.
    ///
    /// # Errors
    /// If the parameters contradict each other.
    pub fn list(&self, continue_token: Option<&str>) -> Result<Request<Body>, RequestError> {
        let mut list = ListParams::default().limit(self.page_size);
        (list.label_selector, list.field_selector) = (self.labels.map(str::to_owned), self.fields.clone());
        list.continue_token = continue_token.map(str::to_owned);
        self.path.list(&list).map(|request| self.with_headers(request))
    }

    /// A watch that goes on from a version.
    ///
    /// # Errors
    /// If the parameters contradict each other.
    pub fn watch(&self, version: &str) -> Result<Request<Body>, RequestError> {
        self.path.watch(&self.watch_params(), version).map(|request| self.with_headers(request))
    }

    /// A watch that begins with all objects, as they were at this version or later: `0` is any version that the server knows, an empty one
    /// the newest of all servers (KEP-3157).
    ///
    /// # Errors
    /// If the parameters contradict each other.
    pub fn streaming_list(&self, at_least: &str) -> Result<Request<Body>, RequestError> {
        self.path.watch(&self.watch_params().initial_events(), at_least).map(|request| self.with_headers(request))
    }

    fn watch_params(&self) -> WatchParams {
        let mut watch = WatchParams::default().timeout(self.timeout);
        (watch.label_selector, watch.field_selector) = (self.labels.map(str::to_owned), self.fields.clone());
        watch
    }

    fn with_headers(&self, request: Request<Vec<u8>>) -> Request<Body> {
        let mut request = request.map(Body::from);
        let accepted = if self.protobuf { PROTOBUF } else { JSON };
        request.headers_mut().insert(header::ACCEPT, accepted);
        // From 1.37 on a server compresses watches event by event where it may. Nothing here undoes that.
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        request
    }
}
