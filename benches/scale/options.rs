//! What the benchmark is asked to do.

use std::path::PathBuf;

use crate::common::cluster::Size;

/// The options.
#[derive(Clone, Debug)]
pub struct Options {
    /// The sizes to measure.
    pub sizes: Vec<Size>,
    /// How long the sustained load lasts.
    pub load_seconds: u32,
    /// `netlink` or `nft`.
    pub backend: String,
    /// Where results go.
    pub out: PathBuf,
    /// Keep other sizes' results.
    pub add: bool,
    /// Only print results that are there.
    pub render: bool,
    /// Write the tables of the documentation.
    pub docs: bool,
    /// Measure the loop of this size in this process: how the benchmark calls itself.
    pub in_process: Option<Size>,
    /// The manifests for that.
    pub folder: Option<PathBuf>,
}

impl Options {
    /// Reads the command line; says what is wrong with it.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let out = [env!("CARGO_MANIFEST_DIR"), "target", "scale"].iter().collect();
        let mut options = Self {
            sizes: Vec::new(),
            load_seconds: 20,
            backend: "netlink".to_owned(),
            out,
            add: false,
            render: false,
            docs: false,
            in_process: None,
            folder: None,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--load" => options.load_seconds = value()?.parse().map_err(|_| "--load needs seconds".to_owned())?,
                "--backend" => options.backend = value()?,
                "--out" => options.out = value()?.into(),
                "--add" => options.add = true,
                "--render" => options.render = true,
                "--docs" => options.docs = true,
                "--in-process" => options.in_process = Some(value()?.parse()?),
                "--folder" => options.folder = Some(value()?.into()),
                // cargo bench says so of itself.
                "--bench" => {}
                size => options.sizes.push(size.parse()?),
            }
        }
        if !["netlink", "nft"].contains(&options.backend.as_str()) {
            return Err(format!("--backend {}: there are netlink and nft", options.backend));
        }
        if options.sizes.is_empty() {
            let sizes = [1_000, 10_000, 25_000, 50_000, 100_000, 200_000];
            options.sizes = sizes.map(|services| Size { services, endpoints: 5 }).into();
        }
        Ok(options)
    }
}
