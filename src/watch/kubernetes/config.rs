//! The address of the API server, and our credentials.

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
    /// The kubeconfig that was named cannot be read.
    #[error("cannot read the kubeconfig {path}: {source}; check the path and its permissions")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
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
    /// The server's address is no URL.
    #[error("--master {url} is no URL such as https://192.0.2.1:6443: {source}")]
    Master {
        /// The given text.
        url: String,
        /// Why.
        source: http::uri::InvalidUri,
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

/// Finds the API server: in the named kubeconfig, otherwise in `KUBECONFIG` or `~/.kube/config`, otherwise in the service account
/// of the pod. The URL of a server (`--master`) takes precedence; the credentials are then those of the named kubeconfig, or none.
///
/// # Errors
/// If the file cannot be used, or nothing was found.
pub async fn client_config(kubeconfig: Option<&Path>, master: Option<&str>) -> Result<kube::Config, ConfigError> {
    if let Some(url) = master.filter(|url| !url.is_empty()) {
        let failed = |source| ConfigError::Master { url: url.to_owned(), source };
        let server = url.parse::<http::Uri>().map_err(failed)?;
        if kubeconfig.is_none() {
            return Ok(kube::Config::new(server));
        }
        let mut config = infer_config(kubeconfig).await?;
        config.cluster_url = server;
        return Ok(config);
    }
    infer_config(kubeconfig).await
}

async fn infer_config(kubeconfig: Option<&Path>) -> Result<kube::Config, ConfigError> {
    let Some(path) = kubeconfig else {
        return kube::Config::infer().await.map_err(|error| ConfigError::Nowhere { source: Box::new(error) });
    };
    let failed = |error| match error {
        // The library would name the path once more.
        KubeconfigError::ReadConfig(source, path) => ConfigError::Unreadable { path, source },
        error => ConfigError::Kubeconfig { path: path.to_owned(), source: Box::new(error) },
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_read_is_named() {
        let error = client_config(Some(Path::new("/nonexistent/kubeconfig")), None).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cannot read the kubeconfig /nonexistent/kubeconfig: No such file"), "{text}");
        assert_eq!(text.matches("/nonexistent").count(), 1, "{text}");
    }

    #[tokio::test]
    async fn a_kubeconfig_says_where_the_server_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],\n\
                    clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}";
        std::fs::write(file.path(), text).unwrap();
        let config = client_config(Some(file.path()), None).await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "http://127.0.0.1:1/");
        let config = client_config(Some(file.path()), Some("http://127.0.0.1:2")).await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "http://127.0.0.1:2/");
    }

    #[tokio::test]
    async fn a_master_needs_no_kubeconfig_but_has_to_be_a_url() {
        let config = client_config(None, Some("https://192.0.2.1:6443")).await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://192.0.2.1:6443/");
        let error = client_config(None, Some("http://a b")).await.unwrap_err();
        assert!(error.to_string().contains("--master http://a b"), "{error}");
    }
}
