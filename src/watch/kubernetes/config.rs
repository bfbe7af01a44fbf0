//! Where the API server is and who we are to it.

use std::path::{Path, PathBuf};

use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use thiserror::Error;

/// There is no usable configuration for the API server.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The kubeconfig that was named cannot be used.
    #[error("cannot use the kubeconfig {path}: {source}; check that the file is readable and has a current context")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// Neither a kubeconfig nor a service account was found.
    #[error(
        "no API server is configured: {source}; run in a pod with a service account, set KUBECONFIG, or name a file with \
         --kubeconfig (or read manifests with --manifests)"
    )]
    Nowhere {
        /// Why.
        source: Box<InferConfigError>,
    },
    /// The configuration was read, but no client can be made of it.
    #[error("cannot make a client for {server}: {source}; check the certificates and the proxy in the kubeconfig")]
    Client {
        /// The server's URL.
        server: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// Finds the API server: in the kubeconfig that is named, otherwise in `KUBECONFIG` or `~/.kube/config`, otherwise in the
/// service account of the pod.
///
/// # Errors
/// If the file cannot be used, or nothing was found.
pub async fn client_config(kubeconfig: Option<&Path>) -> Result<kube::Config, ConfigError> {
    let Some(path) = kubeconfig else {
        return kube::Config::infer().await.map_err(|error| ConfigError::Nowhere { source: Box::new(error) });
    };
    let failed = |error| ConfigError::Kubeconfig { path: path.to_owned(), source: Box::new(error) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_read_is_named() {
        let error = client_config(Some(Path::new("/nonexistent/kubeconfig"))).await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/kubeconfig"), "{error}");
    }

    #[tokio::test]
    async fn a_kubeconfig_says_where_the_server_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],\n\
                    clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}";
        std::fs::write(file.path(), text).unwrap();
        let config = client_config(Some(file.path())).await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "http://127.0.0.1:1/");
    }
}
