//! A scratch node with an API server over TLS, a service account, and the image in a containerd.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::apiserver::{self, ApiServer};
use crate::common::netns::{Family, NODE_NAME, Node, requirements};
use crate::containerd::Containerd;
use crate::daemonset::{Container, pod};

/// How long a condition may take to hold.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The ClusterIP of `default/web`.
pub const WEB: &str = "10.96.0.10";
/// The token at the start.
pub const FIRST_TOKEN: &str = "first-token";

/// Everything that a test of the image needs.
pub struct ImageNode {
    pub containerd: Containerd,
    pub node: Node,
    pub server: ApiServer,
    /// The name of the image.
    pub image: String,
    folder: tempfile::TempDir,
}

impl ImageNode {
    /// A node with the image of this variant (`""`, `"-takeover"`), unless the machine lacks something: then the test is skipped.
    pub fn new(variant: &str) -> Option<Self> {
        let archive = archive(variant)?;
        let nft = requirements::nft_or_skip()?;
        let containerd = Containerd::start();
        let images = containerd.import(&archive);
        assert_eq!(images.len(), 1, "{images:?}");
        let node = Node::new(Path::new("/nowhere/pointsman"), nft);
        let server = node.host.enter(|| ApiServer::start_tls(&["h2", "http/1.1"]));
        server.accept_tokens(&[FIRST_TOKEN]);
        server.apply(apiserver::service_cidr("kubernetes", &["10.96.0.0/16"]));
        server.apply(apiserver::node(NODE_NAME));
        server.apply(apiserver::service("default/web", WEB));
        for pod in [11, 12, 13] {
            node.serve(SocketAddr::new(Family::V4.pod_ip(pod), 8080));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let image = images[0].clone();
        let built = Self { containerd, node, server, image, folder };
        built.endpoints(&[11]);
        for folder in [built.account(), built.config()] {
            fs::create_dir(folder).expect("the folder is writable");
        }
        fs::write(built.account().join("ca.crt"), built.server.ca()).expect("writable");
        fs::write(built.account().join("namespace"), "kube-system").expect("writable");
        built.write_token(FIRST_TOKEN);
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base/config.conf");
        fs::copy(config, built.config().join("config.conf")).expect("writable");
        Some(built)
    }

    fn account(&self) -> PathBuf {
        self.folder.path().join("account")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Writes the service account's token as the kubelet does: the file is replaced at once.
    pub fn write_token(&self, token: &str) {
        let new = self.account().join("token.new");
        fs::write(&new, token).expect("writable");
        fs::rename(new, self.account().join("token")).expect("writable");
    }

    /// Makes these pods the endpoints of `default/web`.
    pub fn endpoints(&self, pods: &[u16]) {
        let addresses: Vec<String> = pods.iter().map(|pod| Family::V4.pod_ip(*pod).to_string()).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        self.server.apply(apiserver::slice("default/web-1", "web", &addresses));
    }

    /// A container of the DaemonSet.
    pub fn container(&self, list: &str, name: &str) -> Container {
        Container::of(&pod(), list, name, NODE_NAME)
    }

    /// The options of `ctr run` for a container: its confinement, the node's network, its mounts, and what the kubelet adds.
    pub fn options(&self, container: &Container) -> Vec<String> {
        let mut options = container.options.clone();
        let mut add = |option: &str, value: String| options.extend([option.to_owned(), value]);
        add("--with-ns", format!("network:/run/netns/{}", self.node.host.name()));
        let mut mount = |from: PathBuf, to: &str| {
            add("--mount", format!("type=bind,src={},dst={to},options=rbind:ro", from.display()));
        };
        mount(self.config(), container.config_folder());
        mount(self.account(), ACCOUNT);
        add("--env", "KUBERNETES_SERVICE_HOST=127.0.0.1".to_owned());
        add("--env", format!("KUBERNETES_SERVICE_PORT={}", self.server.port()));
        options
    }

    /// Starts a container of the DaemonSet under this name and returns the file with its log.
    pub fn start(&self, container: &Container, name: &str, more: &[&str]) -> PathBuf {
        self.containerd.start_container(name, &self.options(container), &self.image, &command(container, more))
    }

    /// Cuts all connections to the API server, which is there again at once.
    pub fn restart_server(&mut self) {
        self.server.down();
        let server = &mut self.server;
        self.node.host.enter(|| server.up());
    }

    /// Waits until a new connection to `default/web` reaches this pod.
    pub fn until_web_reaches(&self, pod: u16, log: &Path) {
        let expected = Family::V4.pod_ip(pod);
        until(&format!("web reaches {expected}"), log, WAIT_TIMEOUT, || {
            let request = self.node.tcp(WEB.parse().expect("an address"), 80);
            request.timeout(Duration::from_millis(300)).send().is_ok_and(|answer| answer.server.ip() == expected)
        });
    }
}

/// The entry point of the image with the container's arguments, as the kubelet runs it.
pub fn command(container: &Container, more: &[&str]) -> Vec<String> {
    let mut command = vec!["/usr/local/bin/pointsman".to_owned()];
    command.extend(container.args.iter().cloned());
    command.extend(more.iter().map(|&arg| arg.to_owned()));
    command
}

/// Waits until a condition holds.
pub fn until(what: &str, log: &Path, timeout: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}\n{}", fs::read_to_string(log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The archive of a variant that `make image` built.
pub fn archive(variant: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("POINTSMAN_IMAGES") else {
        requirements::skip("POINTSMAN_IMAGES names no folder with images");
        return None;
    };
    let beginning = format!("pointsman-{}{variant}-", env!("CARGO_PKG_VERSION"));
    let files = fs::read_dir(folder).expect("the folder of images").filter_map(Result::ok).map(|file| file.path());
    let is_wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".tar") && name.strip_prefix(&beginning).is_some_and(|rest| !rest.contains('-'))
    };
    Some(files.into_iter().find(is_wanted).expect("make image builds the archive first"))
}
