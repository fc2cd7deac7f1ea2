//! The JSON documents of images: OCI manifests, indexes and configurations, and the docker-archive's own manifest.
//!
//! Read leniently where other tools are sloppy (nulls, absent media types), strictly where a lie could hide.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::Digest;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ImageConfig;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The annotation that carries an image's name in an OCI layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What containerd and BuildKit write beside it: the full name.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Reads `null` as the type's default, as other tools write it.
fn null_is_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(input: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// OCI image specification, descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// OCI image specification, index, `platform`; also the head of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
}

impl Platform {
    /// This host's, in Go's words for architectures, which the specification uses.
    pub(crate) fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned() }
    }

    /// Whether an image for it runs on this host. Old builders left it out.
    pub(crate) fn runs_here(&self) -> bool {
        let host = Self::host();
        (self.os.is_empty() || self.os == host.os)
            && (self.architecture.is_empty() || self.architecture == host.architecture)
    }

    pub(crate) fn text(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }
}

/// A manifest or an index; which of them is told by what it holds.
#[derive(Debug, Deserialize)]
pub(crate) struct ManifestOrIndex {
    #[serde(default)]
    pub(crate) config: Option<Descriptor>,
    #[serde(default)]
    pub(crate) layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    pub(crate) manifests: Option<Vec<Descriptor>>,
}

/// OCI image specification, manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// One image of a docker-archive's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerImage {
    pub(crate) config: String,
    pub(crate) layers: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) repo_tags: Vec<String>,
}

/// OCI image specification, config: what is used of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Configuration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(flatten)]
    pub(crate) platform: Platform,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) config: Execution,
    pub(crate) rootfs: RootFs,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Execution {
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) cmd: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub(crate) stop_signal: String,
}

impl Configuration {
    /// When the image was built, where that is a time.
    pub(crate) fn created_at(&self) -> Option<Timestamp> {
        self.created.as_ref()?.parse().ok()
    }
}

impl From<Execution> for ImageConfig {
    fn from(execution: Execution) -> Self {
        let some = |text: String| (!text.is_empty()).then_some(text);
        Self {
            entrypoint: execution.entrypoint,
            cmd: execution.cmd,
            environment: execution.env.iter().filter_map(|text| text.parse().ok()).collect(),
            working_directory: some(execution.working_dir).map(|text| std::path::Path::new("/").join(text)),
            user: some(execution.user),
            exposed_ports: execution.exposed_ports.keys().filter_map(|text| text.parse().ok()).collect(),
            labels: execution.labels,
            stop_signal: some(execution.stop_signal),
        }
    }
}
