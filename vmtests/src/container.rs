//! The container level: every host is a container on a Docker engine, made through `testcontainers`.
//!
//! The image is made from static binaries alone. What the crate's own interface lacks (fixed addresses, several networks,
//! input for a program) goes through the client that it re-exports. All that is made carries a label, by which leftovers
//! of a run that was interrupted are swept before the next one; runs take turns.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use testcontainers::bollard::Docker;
use testcontainers::bollard::container::LogOutput;
use testcontainers::bollard::exec::{CreateExecOptions, StartExecResults};
use testcontainers::bollard::models::{
    EndpointIpamConfig, EndpointSettings, HostConfig, Ipam, IpamConfig, NetworkConnectRequest,
    NetworkCreateRequest, NetworkDisconnectRequest,
};
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use testcontainers::core::Mount;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::{AsyncBuilder, AsyncRunner};
use testcontainers::{ContainerAsync, GenericBuildableImage, GenericImage, ImageExt};
use tokio::io::AsyncWriteExt;

use crate::agent::{Reply, Request};
use crate::backend::{Backend, BackendError, Event, HostPlan, Program, World};
use crate::dns::Service;
use crate::netns::host::HostSpec;
use crate::netns::name_server;
use crate::talk::{Script, Transcript};
use crate::turns;
use crate::vm::{jobs, outputs};

/// What containers and networks of this program are known by.
const LABEL: &str = "mailstack-vmtests";
/// Names of containers, networks and the image begin so.
const PREFIX: &str = "mailstack-vmtests";
/// The name server's place among the containers.
const NAME_SERVER: &str = "dns";
/// The engine's own name server in every container, 127.0.0.11, as the kernel's tables have it: no socket of the host's.
const ENGINE: &[u8] = b" 0B00007F:";
/// What the name server serves, in its container.
const SERVICE: &str = "/etc/zones.json";
/// How long an answer may take that needs no program.
const ANSWER: Duration = Duration::from_secs(120);
/// How long what an agent runs may take to be told beyond its own deadline.
const MARGIN: Duration = Duration::from_secs(30);
/// The image: static programs, and nothing else.
const DOCKERFILE: &str = "FROM scratch\nCOPY mailstack /usr/bin/mailstack\nCOPY mailstack-vmtests /usr/bin/mailstack-vmtests\n\
    WORKDIR /root\nENTRYPOINT [\"/usr/bin/mailstack-vmtests\"]\nCMD [\"idle\"]\n";

/// Hosts as containers.
pub struct Containers {
    world: World,
    dir: PathBuf,
    runtime: tokio::runtime::Runtime,
    docker: Docker,
    running: BTreeMap<String, ContainerAsync<GenericImage>>,
    // Others wait until this value goes.
    _turn: File,
}

impl Containers {
    /// Sweeps what an interrupted run left, makes image and networks, and starts the name server. `dir` is empty.
    pub fn build(world: World, dir: &Path, program: &Path, mailstack: &Path) -> Result<Self, BackendError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(BackendError::io("start a runtime"))?;
        let docker = runtime.block_on(async {
            let docker = docker_client_instance().await.map_err(missing)?;
            docker.ping().await.map_err(missing)?;
            Ok::<_, BackendError>(docker)
        })?;
        let turn = turns::take(PREFIX).map_err(BackendError::io("wait for another run's containers"))?;
        let mut containers =
            Self { world, dir: dir.to_owned(), runtime, docker, running: BTreeMap::new(), _turn: turn };
        containers.sweep().map_err(docker_error("sweep leftovers"))?;
        containers.make_image(program, mailstack)?;
        for (name, (first, prefix)) in containers.world.networks.clone() {
            containers.make_network(&name, first, prefix).map_err(docker_error("make a network"))?;
        }
        containers.start_name_server()?;
        Ok(containers)
    }

    /// Removes all that was made.
    pub fn close(mut self) -> Result<(), BackendError> {
        for (name, container) in std::mem::take(&mut self.running) {
            let removed = self.runtime.block_on(container.rm());
            removed.map_err(|error| BackendError::Host { host: name, reason: error.to_string() })?;
        }
        self.sweep().map_err(docker_error("remove networks"))
    }

    fn sweep(&self) -> Result<(), testcontainers::bollard::errors::Error> {
        let labelled = HashMap::from([("label", vec![LABEL])]);
        self.runtime.block_on(async {
            let all = ListContainersOptionsBuilder::default().all(true).filters(&labelled).build();
            let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            for container in self.docker.list_containers(Some(all)).await? {
                self.docker.remove_container(&container.id.unwrap_or_default(), Some(force.clone())).await?;
            }
            let networks = ListNetworksOptionsBuilder::default().filters(&labelled).build();
            for network in self.docker.list_networks(Some(networks)).await? {
                self.docker.remove_network(&network.id.unwrap_or_default()).await?;
            }
            // One that is not there is as good.
            let force = RemoveImageOptionsBuilder::default().force(true).build();
            let _ = self.docker.remove_image(&format!("{PREFIX}:run"), Some(force), None).await;
            Ok(())
        })
    }

    fn make_image(&self, program: &Path, mailstack: &Path) -> Result<(), BackendError> {
        let image = GenericBuildableImage::new(PREFIX, "run")
            .with_dockerfile_string(DOCKERFILE)
            .with_file(mailstack, "./mailstack")
            .with_file(program, "./mailstack-vmtests");
        let built = self.runtime.block_on(image.build_image());
        built.map(drop).map_err(|error| BackendError::Missing(format!("make the image: {error}")))
    }

    fn make_network(
        &self,
        name: &str,
        first: std::net::IpAddr,
        prefix: u8,
    ) -> Result<(), testcontainers::bollard::errors::Error> {
        let gateway = match first {
            std::net::IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                format!("{a}.{b}.{c}.254")
            }
            std::net::IpAddr::V6(v6) => {
                let mut segments = v6.segments();
                segments[7] = 0xfffe;
                std::net::Ipv6Addr::from(segments).to_string()
            }
        };
        let config = IpamConfig {
            subnet: Some(format!("{first}/{prefix}")),
            gateway: Some(gateway),
            ..IpamConfig::default()
        };
        let request = NetworkCreateRequest {
            name: network_name(name),
            // No way out: a topology has its own name server and its own outside.
            internal: Some(true),
            enable_ipv6: Some(first.is_ipv6()),
            ipam: Some(Ipam { config: Some(vec![config]), ..Ipam::default() }),
            labels: Some(HashMap::from([(LABEL.to_owned(), "run".to_owned())])),
            ..NetworkCreateRequest::default()
        };
        self.runtime.block_on(self.docker.create_network(request)).map(drop)
    }

    fn start_name_server(&mut self) -> Result<(), BackendError> {
        let servers = self.world.networks.iter();
        let addresses: Vec<_> =
            servers.map(|(name, &(first, _))| (name.clone(), name_server(first))).collect();
        let service = Service {
            addresses: addresses.iter().map(|&(_, ip)| (ip, 53).into()).collect(),
            zones: self.world.zones.clone(),
        };
        let plan = HostPlan {
            fqdn: "dns.invalid".to_owned(),
            addresses,
            users: Vec::new(),
            declaration: None,
            engine: mailstack_schema::host::Engine::Builtin,
            served_by: mailstack_schema::host::ServiceBy::Daemon,
        };
        self.start(NAME_SERVER, &plan)?;
        let json =
            serde_json::to_vec(&service).map_err(|error| BackendError::io("write JSON")(error.into()))?;
        self.ask(NAME_SERVER, &Request::Put(SERVICE.into(), json), ANSWER)?;
        let words = ["/usr/bin/mailstack-vmtests", "serve-zones", SERVICE].map(str::to_owned).to_vec();
        self.ask(NAME_SERVER, &Request::Start(words), ANSWER).map(drop)
    }

    fn start(&mut self, name: &str, plan: &HostPlan) -> Result<(), BackendError> {
        if let Some(container) = self.running.get(name) {
            let started = self.runtime.block_on(container.start());
            started.map_err(|error| host_error(name, &error))?;
        } else {
            let container = self.runtime.block_on(self.request(name, plan)?.start());
            let container = container.map_err(|error| host_error(name, &error))?;
            // The engine put it on a network of its own.
            self.off(container.id(), "bridge")
                .and_then(|()| self.join(container.id(), plan))
                .map_err(|error| host_error(name, &error))?;
            self.running.insert(name.to_owned(), container);
        }
        self.ask(name, &Request::Furnish(HostSpec::of(&self.world, name, plan)), ANSWER).map(drop)
    }

    fn request(
        &self,
        name: &str,
        plan: &HostPlan,
    ) -> Result<testcontainers::ContainerRequest<GenericImage>, BackendError> {
        let mut request = GenericImage::new(PREFIX, "run")
            .with_container_name(format!("{PREFIX}-{name}"))
            .with_hostname(plan.fqdn.clone())
            .with_label(LABEL, "run")
            // For `mailstack apply` of root, which looks whose the sockets are that listen.
            .with_cap_add("SYS_PTRACE")
            .with_host_config_modifier(|config: &mut HostConfig| {
                let tmpfs = [("/run", "mode=755"), ("/tmp", "mode=1777")];
                config.tmpfs = Some(tmpfs.map(|(at, mode)| (at.to_owned(), mode.to_owned())).into());
                let ipv6 = "net.ipv6.conf.all.disable_ipv6".to_owned();
                config.sysctls = Some(HashMap::from([(ipv6, "0".to_owned())]));
            });
        // The engine would write these itself, and ask its own name server.
        for file in ["resolv.conf", "hosts"] {
            let place = self.dir.join(format!("{name}.{file}"));
            fs::write(&place, "").map_err(BackendError::io(format!("make {}", place.display())))?;
            let mount = Mount::bind_mount(place.display().to_string(), format!("/etc/{file}"));
            request = request.with_mount(mount);
        }
        Ok(request)
    }

    /// Gives a container its addresses.
    fn join(&self, id: &str, plan: &HostPlan) -> Result<(), testcontainers::bollard::errors::Error> {
        let mut networks: BTreeMap<&String, EndpointIpamConfig> = BTreeMap::new();
        for (network, address) in &plan.addresses {
            let config = networks.entry(network).or_default();
            match address {
                std::net::IpAddr::V4(v4) => config.ipv4_address = Some(v4.to_string()),
                std::net::IpAddr::V6(v6) => config.ipv6_address = Some(v6.to_string()),
            }
        }
        self.runtime.block_on(async {
            for (network, config) in networks {
                let endpoint = EndpointSettings { ipam_config: Some(config), ..EndpointSettings::default() };
                let request =
                    NetworkConnectRequest { container: id.to_owned(), endpoint_config: Some(endpoint) };
                self.docker.connect_network(&network_name(network), request).await?;
            }
            Ok(())
        })
    }

    fn container(&self, host: &str) -> Result<&ContainerAsync<GenericImage>, BackendError> {
        let unknown = || BackendError::Unknown { kind: "running host", name: host.to_owned() };
        self.running.get(host).ok_or_else(unknown)
    }

    fn ask(&self, host: &str, request: &Request, deadline: Duration) -> Result<Reply, BackendError> {
        let id = self.container(host)?.id().to_owned();
        let mut line =
            serde_json::to_vec(request).map_err(|error| BackendError::io("write JSON")(error.into()))?;
        line.push(b'\n');
        let asked = self
            .runtime
            .block_on(async { tokio::time::timeout(deadline, exec(&self.docker, &id, line)).await });
        let said = match asked {
            Ok(Ok(said)) => said,
            Ok(Err(error)) => return Err(host_error(host, &error)),
            Err(_) => return Err(host_error(host, &"no answer in time")),
        };
        match serde_json::from_slice(&said) {
            Ok(Reply::Failed(reason)) => Err(BackendError::Host { host: host.to_owned(), reason }),
            Ok(reply) => Ok(reply),
            Err(error) => {
                Err(host_error(host, &format!("{error}: {}", String::from_utf8_lossy(&said).trim())))
            }
        }
    }
}

/// Runs the agent in a container with this line as its input, and returns what it printed.
async fn exec(
    docker: &Docker,
    container: &str,
    line: Vec<u8>,
) -> Result<Vec<u8>, testcontainers::bollard::errors::Error> {
    use futures_util::StreamExt;
    let options = CreateExecOptions {
        cmd: Some(vec!["/usr/bin/mailstack-vmtests", "agent"]),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let created = docker.create_exec(container, options).await?;
    let StartExecResults::Attached { mut output, mut input } = docker.start_exec(&created.id, None).await?
    else {
        return Ok(Vec::new());
    };
    // Both at once: an answer may be longer than the connection holds.
    let sent = async {
        input.write_all(&line).await?;
        input.flush().await
    };
    let read = async {
        let mut said = Vec::new();
        while let Some(part) = output.next().await {
            match part? {
                LogOutput::StdOut { message } => said.extend(message),
                LogOutput::StdErr { message } => said.extend(message),
                _ => {}
            }
        }
        Ok(said)
    };
    let (sent, said) = tokio::join!(sent, read);
    sent.map_err(|err| testcontainers::bollard::errors::Error::IOError { err })?;
    said
}

fn network_name(network: &str) -> String {
    format!("{PREFIX}-{network}")
}

fn missing(error: impl std::fmt::Display) -> BackendError {
    BackendError::Missing(format!("no Docker engine answers: {error}"))
}

fn docker_error(what: &'static str) -> impl FnOnce(testcontainers::bollard::errors::Error) -> BackendError {
    move |error| BackendError::Missing(format!("{what}: {error}"))
}

fn host_error(host: &str, error: &impl ToString) -> BackendError {
    BackendError::Host { host: host.to_owned(), reason: error.to_string() }
}

impl Backend for Containers {
    fn up(&mut self, host: &str) -> Result<(), BackendError> {
        let plan = self.world.host(host)?.clone();
        self.start(host, &plan)
    }

    fn down(&mut self, host: &str) -> Result<(), BackendError> {
        let stopped = self.runtime.block_on(self.container(host)?.stop_with_timeout(Some(0)));
        stopped.map_err(|error| host_error(host, &error))
    }

    fn run(&self, host: &str, programs: &[Program], deadline: Duration) -> Result<Vec<Output>, BackendError> {
        let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let request = Request::Run(jobs(&self.world, host, programs)?, milliseconds);
        outputs(host, self.ask(host, &request, deadline + MARGIN)?)
    }

    fn talk(&self, host: &str, script: &Script) -> Result<Transcript, BackendError> {
        match self.ask(host, &Request::Talk(script.clone()), Duration::from_secs(300))? {
            Reply::Said(transcript) => Ok(transcript),
            _ => Err(host_error(host, &"another answer")),
        }
    }

    fn get(&self, host: &str, path: &str) -> Result<Option<Vec<u8>>, BackendError> {
        match self.ask(host, &Request::Get(path.into()), ANSWER) {
            Ok(Reply::Got(bytes)) => Ok(bytes),
            Ok(_) => Err(host_error(host, &"another answer")),
            // A host that is down runs nothing.
            Err(_) if !self.is_running(host)? => self.copied(host, path),
            Err(error) => Err(error),
        }
    }

    fn put(&self, host: &str, path: &str, bytes: &[u8]) -> Result<(), BackendError> {
        self.ask(host, &Request::Put(path.into(), bytes.to_vec()), ANSWER).map(drop)
    }

    fn read(&self, host: &str, path: &str) -> Result<Vec<u8>, BackendError> {
        let text = self.get(host, path)?.unwrap_or_default();
        if !path.starts_with("/proc/net/") {
            return Ok(text);
        }
        let kept = text.split_inclusive(|octet| *octet == b'\n');
        let is_engines = |line: &&[u8]| line.windows(ENGINE.len()).any(|part| part == ENGINE);
        Ok(kept.filter(|line| !is_engines(line)).collect::<Vec<_>>().concat())
    }

    fn perform(&mut self, event: &Event) -> Result<(), BackendError> {
        match event {
            Event::Dns(answers) => {
                let server = self.container(NAME_SERVER)?;
                let done = self
                    .runtime
                    .block_on(async { if *answers { server.unpause().await } else { server.pause().await } });
                done.map_err(|error| host_error(NAME_SERVER, &error))
            }
            Event::Link(host, joined) => {
                let (id, plan) = (self.container(host)?.id().to_owned(), self.world.host(host)?.clone());
                let done = if *joined { self.join(&id, &plan) } else { self.leave(&id, &plan) };
                done.map_err(|error| host_error(host, &error))
            }
            _ => Err(BackendError::Unable { level: "container", event: format!("{event:?}") }),
        }
    }

    fn tree(&self, host: &str) -> Result<PathBuf, BackendError> {
        let place = self.dir.join(format!("{host}.tree"));
        for path in ["/var/log/mailstack.log", "/etc/mailstack/host.toml"] {
            if let Some(bytes) = self.get(host, path)? {
                let to = place.join(path.trim_start_matches('/'));
                let parent = to.parent().unwrap_or(&place);
                fs::create_dir_all(parent)
                    .and_then(|()| fs::write(&to, bytes))
                    .map_err(BackendError::io(format!("write {}", to.display())))?;
            }
        }
        fs::create_dir_all(&place).map_err(BackendError::io(format!("make {}", place.display())))?;
        Ok(place)
    }
}

impl Containers {
    fn is_running(&self, host: &str) -> Result<bool, BackendError> {
        let running = self.runtime.block_on(self.container(host)?.is_running());
        running.map_err(|error| host_error(host, &error))
    }

    /// A file of a container that does not run.
    fn copied(&self, host: &str, path: &str) -> Result<Option<Vec<u8>>, BackendError> {
        let container = self.container(host)?;
        let copied = self.runtime.block_on(container.copy_file_from(path, Vec::new()));
        match copied {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.to_string().contains("404") => Ok(None),
            Err(error) => Err(host_error(host, &error)),
        }
    }

    fn leave(&self, id: &str, plan: &HostPlan) -> Result<(), testcontainers::bollard::errors::Error> {
        let networks: std::collections::BTreeSet<&String> =
            plan.addresses.iter().map(|(network, _)| network).collect();
        networks.into_iter().try_for_each(|network| self.off(id, &network_name(network)))
    }

    fn off(&self, id: &str, network: &str) -> Result<(), testcontainers::bollard::errors::Error> {
        let off = NetworkDisconnectRequest { container: id.to_owned(), force: Some(true) };
        self.runtime.block_on(self.docker.disconnect_network(network, off))
    }
}
