//! OCI images of one layer, from scratch, without a container engine.
//!
//! An archive is an OCI image layout and a docker archive at once, so that
//! `ctr images import`, `docker load` and `skopeo copy oci-archive:` take it.
//! The same files with the same time make the same bytes.

mod archive;
mod layer;

use std::collections::BTreeMap;

pub use archive::write;
pub use layer::Layer;

/// An image for one architecture.
#[derive(Debug)]
pub struct Image {
    /// As OCI names it: `amd64`, `arm64`.
    pub architecture: String,
    /// Its only layer.
    pub layer: Layer,
    /// Command and first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments where the user gives none.
    pub arguments: Vec<String>,
    /// User and group, as numbers; empty for root.
    pub user: String,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// Labels of the image and annotations of its manifest.
    pub labels: BTreeMap<String, String>,
}

impl Image {
    /// One that runs a program of the layer.
    pub fn new(architecture: &str, layer: Layer, entrypoint: &[&str]) -> Self {
        Self {
            architecture: architecture.to_owned(),
            layer,
            entrypoint: entrypoint.iter().map(|&word| word.to_owned()).collect(),
            arguments: Vec::new(),
            user: String::new(),
            environment: vec!["PATH=/usr/local/bin:/usr/bin:/bin:/".to_owned()],
            labels: BTreeMap::new(),
        }
    }
}

/// The architecture that this program was built for, as OCI names it.
pub const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}
