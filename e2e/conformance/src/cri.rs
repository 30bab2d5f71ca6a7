//! The container runtime interface, as far as the tests use it: a kubelet's
//! view of pods, over a Unix socket.

mod messages;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use messages::{
    ById, ImageSpec, ImageStatusRequest, ImageStatusResponse, LinuxConfig, ListRequest,
    ListResponse, Metadata, Nothing, PodConfig, RunRequest, RunResponse, SandboxStatusRequest,
    SandboxStatusResponse, StatusRequest, StatusResponse, VersionRequest, VersionResponse,
};

/// How long the runtime may take for anything.
const LIMIT: Duration = Duration::from_mins(1);
const RUNTIME: &str = "/runtime.v1.RuntimeService";
const IMAGES: &str = "/runtime.v1.ImageService";

/// A pod as a kubelet asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) cgroup_parent: String,
}

/// A pod as the runtime has it.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    pub(crate) ips: Vec<std::net::IpAddr>,
    /// Process id of its pause container.
    pub(crate) pid: u64,
}

/// A connection to a runtime.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    channel: Channel,
}

impl Client {
    /// Connects; an error where nobody listens.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .context("tokio")?;
        let uri = format!("unix://{}", socket.display());
        let endpoint = Endpoint::from_shared(uri)
            .context("the socket's path")?
            .timeout(LIMIT);
        let channel = runtime
            .block_on(endpoint.connect())
            .with_context(|| format!("connect to {}", socket.display()))?;
        Ok(Self { runtime, channel })
    }

    /// Name and version of the runtime.
    pub(crate) fn version(&self) -> Result<String> {
        let request = VersionRequest {
            version: "v1".to_owned(),
        };
        let VersionResponse {
            runtime_name,
            runtime_version,
        } = self.call(RUNTIME, "Version", request)?;
        Ok(format!("{runtime_name} {runtime_version}"))
    }

    /// What is not ready, in words; `None` where everything is.
    pub(crate) fn not_ready(&self) -> Result<Option<String>> {
        let response: StatusResponse =
            self.call(RUNTIME, "Status", StatusRequest { verbose: false })?;
        let conditions = response.status.unwrap_or_default().conditions;
        // Newer runtimes have conditions of other kinds, deprecations for example.
        let bad = conditions
            .into_iter()
            .find(|c| !c.status && matches!(c.kind.as_str(), "RuntimeReady" | "NetworkReady"));
        Ok(bad.map(|c| format!("{}: {} {}", c.kind, c.reason, c.message)))
    }

    /// Whether an image is there.
    pub(crate) fn has_image(&self, name: &str) -> Result<bool> {
        let image = Some(ImageSpec {
            image: name.to_owned(),
        });
        let response: ImageStatusResponse =
            self.call(IMAGES, "ImageStatus", ImageStatusRequest { image })?;
        Ok(response.image.is_some())
    }

    /// Makes a pod; its id.
    pub(crate) fn run(&self, wanted: &Wanted) -> Result<String> {
        let Wanted {
            namespace,
            name,
            uid,
            annotations,
            cgroup_parent,
        } = wanted.clone();
        let config = PodConfig {
            metadata: Some(Metadata {
                name: name.clone(),
                uid,
                namespace,
                attempt: 0,
            }),
            hostname: name,
            annotations: annotations.into_iter().collect(),
            linux: Some(LinuxConfig { cgroup_parent }),
        };
        let request = RunRequest {
            config: Some(config),
            runtime_handler: String::new(),
        };
        let response: RunResponse = self.call(RUNTIME, "RunPodSandbox", request)?;
        Ok(response.id)
    }

    /// What the runtime knows of a pod.
    pub(crate) fn sandbox(&self, id: &str) -> Result<Sandbox> {
        let request = SandboxStatusRequest {
            id: id.to_owned(),
            verbose: true,
        };
        let response: SandboxStatusResponse = self.call(RUNTIME, "PodSandboxStatus", request)?;
        let network = response
            .status
            .unwrap_or_default()
            .network
            .unwrap_or_default();
        let mut ips = vec![
            network
                .ip
                .parse()
                .with_context(|| format!("{:?}", network.ip))?,
        ];
        for more in network.additional_ips {
            ips.push(more.ip.parse().with_context(|| format!("{:?}", more.ip))?);
        }
        ips.sort_unstable();
        let info = response.info.get("info").context("no verbose status")?;
        let info: Value = serde_json::from_str(info).context("parse the verbose status")?;
        let pid = info["pid"]
            .as_u64()
            .context("the verbose status has no pid")?;
        Ok(Sandbox { ips, pid })
    }

    /// Ids of all pods.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        let response: ListResponse = self.call(RUNTIME, "ListPodSandbox", ListRequest {})?;
        Ok(response.items.into_iter().map(|item| item.id).collect())
    }

    /// Ends a pod's containers and takes its network down.
    pub(crate) fn stop(&self, id: &str) -> Result<()> {
        let Nothing {} = self.call(RUNTIME, "StopPodSandbox", ById { id: id.to_owned() })?;
        Ok(())
    }

    /// Removes a pod.
    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        let Nothing {} = self.call(RUNTIME, "RemovePodSandbox", ById { id: id.to_owned() })?;
        Ok(())
    }

    fn call<Q, A>(&self, service: &str, method: &str, request: Q) -> Result<A>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let path = PathAndQuery::try_from(format!("{service}/{method}")).context("a path")?;
        let mut grpc = Grpc::new(self.channel.clone());
        let answer = self.runtime.block_on(async {
            grpc.ready()
                .await
                .map_err(|error| anyhow!("not ready: {error}"))?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(tonic::Request::new(request), path, codec)
                .await
                .map_err(|status| anyhow!("{:?}: {}", status.code(), status.message()))
        });
        Ok(answer.with_context(|| method.to_owned())?.into_inner())
    }
}
