//! The virtual-machine level: every host is a machine of its own under QEMU, with its own kernel, clock and disk.
//!
//! A guest is Debian's cloud kernel and an initial file tree of static programs; all that its MTA writes lies on its
//! disk, mounted at /var. Its writes and flushes are recorded, so that a power cut is one: what was not flushed is gone.

pub mod disk;
pub mod guest;
pub mod initrd;
pub mod machine;
pub mod writes;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use std::os::unix::process::ExitStatusExt;

use crate::agent::{Job, Reply, Request};
use crate::backend::{Backend, BackendError, Event, HostPlan, Program, World};
use crate::dns::Service;
use crate::netns::host::{HostSpec, User};
use crate::netns::{hardware_address, name_server, number};
use crate::talk::{Script, Transcript};
use disk::Disk;
use machine::{Hardware, Machine};

/// The name server's place among the machines.
const NAME_SERVER: &str = "dns";
/// What the name server serves, on its machine.
const SERVICE: &str = "/etc/zones.json";
/// How long an answer may take that needs no program.
const ANSWER: Duration = Duration::from_secs(90);
/// How long what an agent runs may take to be told beyond its own deadline.
const MARGIN: Duration = Duration::from_secs(30);

/// Where the parts of a machine are.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What vmtests/roots/vm.sh made: QEMU, kernel, modules, BusyBox.
    pub root: PathBuf,
    /// This program, static.
    pub program: PathBuf,
    /// The binary under test, static.
    pub mailstack: PathBuf,
    /// Whether the guests run on the machine's own processor.
    pub kvm: bool,
    /// What decides which of a cut's last writes reached the disk.
    pub seed: u64,
}

/// Hosts as virtual machines.
pub struct Vm {
    world: World,
    dir: PathBuf,
    parts: Parts,
    ports: BTreeMap<String, u16>,
    running: BTreeMap<String, Machine>,
    disks: BTreeMap<String, Disk>,
    findings: Vec<String>,
}

impl Vm {
    /// Prepares disks and the initial file tree, and starts the name server. `dir` is empty.
    pub fn build(world: World, dir: &Path, parts: Parts) -> Result<Self, BackendError> {
        initrd::write(
            &dir.join("initrd"),
            &parts.program,
            &parts.mailstack,
            &parts.root.join("bin/busybox"),
            &parts.root.join("modules"),
        )
        .map_err(BackendError::io("make the guests' initial file tree"))?;
        // Runs at the same time have networks of their own.
        let base = 20_000 + u16::try_from(number(&dir.display().to_string()) % 20_000).unwrap_or_default();
        let ports = world.networks.keys().cloned().zip(base..).collect();
        let mut vm = Self {
            world,
            dir: dir.to_owned(),
            parts,
            ports,
            running: BTreeMap::new(),
            disks: BTreeMap::new(),
            findings: Vec::new(),
        };
        vm.start_name_server()?;
        Ok(vm)
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
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).map_err(BackendError::io(format!("make {}", dir.display())))?;
        let failed = || BackendError::io(format!("start the machine {name}"));
        if plan.declaration.is_some() && !self.disks.contains_key(name) {
            let made = Disk::make(&dir).map_err(failed())?;
            self.disks.insert(name.to_owned(), made);
        }
        let disk = self.disks.get_mut(name).map(Disk::record).transpose().map_err(failed())?;
        let hardware = self.hardware(name, plan, dir, disk);
        self.running.insert(name.to_owned(), Machine::start(&hardware).map_err(failed())?);
        self.ask(name, &Request::Furnish(HostSpec::of(&self.world, name, plan)), ANSWER)?;
        for at in 0..networks(plan).len() {
            // No duplicate address detection: a guest hears its own multicasts.
            let switch = format!("/proc/sys/net/ipv6/conf/eth{at}/accept_dad");
            self.ask(name, &Request::Put(switch.into(), b"0".to_vec()), ANSWER)?;
        }
        let commands = self.network_commands(plan).into_iter().map(|line| {
            let command = line.split(' ').map(str::to_owned).collect();
            Job { user: root(), command, input: Vec::new() }
        });
        for job in commands {
            let shown = job.command.join(" ");
            let ended = self.run_jobs(name, vec![job], ANSWER)?;
            if let Some(failed) = ended.iter().find(|output| !output.status.success()) {
                let reason = format!("{shown}: {}", String::from_utf8_lossy(&failed.stderr));
                return Err(BackendError::Host { host: name.to_owned(), reason });
            }
        }
        Ok(())
    }

    fn hardware(
        &self,
        name: &str,
        plan: &HostPlan,
        dir: PathBuf,
        disk: Option<(PathBuf, PathBuf)>,
    ) -> Hardware {
        let link = |(at, network): (usize, &String)| {
            (self.ports.get(network).copied().unwrap_or_default(), hardware_address(&format!("{name}.{at}")))
        };
        Hardware {
            qemu: self.parts.root.join("qemu"),
            kernel: self.parts.root.join("vmlinuz"),
            initrd: self.dir.join("initrd"),
            dir,
            disk,
            links: networks(plan).into_iter().enumerate().map(link).collect(),
            accelerator: if self.parts.kvm { "kvm" } else { "tcg" },
        }
    }

    /// What gives a guest its name and addresses.
    fn network_commands(&self, plan: &HostPlan) -> Vec<String> {
        let mut commands = vec![format!("/bin/hostname {}", plan.fqdn), "/bin/ip link set lo up".to_owned()];
        for (at, network) in networks(plan).into_iter().enumerate() {
            let prefix = self.world.networks.get(network).map_or(24, |&(_, prefix)| prefix);
            let here = plan.addresses.iter().filter(|(on, _)| on == network);
            commands
                .extend(here.map(|(_, address)| format!("/bin/ip addr add {address}/{prefix} dev eth{at}")));
            commands.push(format!("/bin/ip link set eth{at} up"));
        }
        commands
    }

    fn machine(&self, host: &str) -> Result<&Machine, BackendError> {
        let unknown = || BackendError::Unknown { kind: "running host", name: host.to_owned() };
        self.running.get(host).ok_or_else(unknown)
    }

    fn ask(&self, host: &str, request: &Request, deadline: Duration) -> Result<Reply, BackendError> {
        match self.machine(host)?.ask(request, deadline) {
            Ok(Reply::Failed(reason)) => Err(BackendError::Host { host: host.to_owned(), reason }),
            Ok(reply) => Ok(reply),
            Err(error) => Err(BackendError::io(format!("ask {host}"))(error)),
        }
    }

    fn run_jobs(&self, host: &str, jobs: Vec<Job>, deadline: Duration) -> Result<Vec<Output>, BackendError> {
        let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        outputs(host, self.ask(host, &Request::Run(jobs, milliseconds), deadline + MARGIN)?)
    }

    fn control(&self, host: &str, command: &str) -> Result<(), BackendError> {
        self.machine(host)?.control(command).map_err(BackendError::io(format!("control the machine {host}")))
    }

    /// Switches a host off and looks at what its disk may hold then; the host comes up with the worst of it: what was
    /// flushed, and nothing else.
    fn power_cut(&mut self, host: &str) -> Result<(), BackendError> {
        self.down(host)?;
        let (parts, dir) = (self.parts.clone(), self.dir.join(host).join("cuts"));
        let unknown = || BackendError::Unknown { kind: "host with a disk", name: host.to_owned() };
        let disk = self.disks.get_mut(host).ok_or_else(unknown)?;
        let cut = disk.cut(&dir, &parts.mailstack, parts.seed);
        let found = cut.map_err(BackendError::io(format!("cut the power of {host}")))?;
        self.findings.extend(found.into_iter().map(|line| format!("{host}: {line}")));
        Ok(())
    }
}

/// What an agent answered to programs that it ran.
pub fn outputs(host: &str, reply: Reply) -> Result<Vec<Output>, BackendError> {
    let Reply::Ran(ended) = reply else {
        return Err(BackendError::Host { host: host.to_owned(), reason: "another answer".to_owned() });
    };
    let output = |one: crate::agent::Ended| Output {
        status: std::process::ExitStatus::from_raw(one.status),
        stdout: one.stdout,
        stderr: one.stderr,
    };
    Ok(ended.into_iter().map(output).collect())
}

/// Programs as an agent runs them.
pub fn jobs(world: &World, host: &str, programs: &[Program]) -> Result<Vec<Job>, BackendError> {
    let job = |program: &Program| {
        let user = User::of(world, host, &program.user)?;
        Ok(Job { user, command: program.command.clone(), input: program.input.clone() })
    };
    programs.iter().map(job).collect()
}

fn root() -> User {
    User { name: "root".to_owned(), id: 0, home: "/root".into() }
}

/// The networks of a host, each once, in the order of its interfaces.
fn networks(plan: &HostPlan) -> Vec<&String> {
    let mut found: Vec<&String> = Vec::new();
    for (network, _) in &plan.addresses {
        if !found.contains(&network) {
            found.push(network);
        }
    }
    found
}

impl Backend for Vm {
    fn up(&mut self, host: &str) -> Result<(), BackendError> {
        let plan = self.world.host(host)?.clone();
        self.start(host, &plan)
    }

    fn down(&mut self, host: &str) -> Result<(), BackendError> {
        let unknown = || BackendError::Unknown { kind: "running host", name: host.to_owned() };
        self.running.remove(host).map(drop).ok_or_else(unknown)
    }

    fn run(&self, host: &str, programs: &[Program], deadline: Duration) -> Result<Vec<Output>, BackendError> {
        self.run_jobs(host, jobs(&self.world, host, programs)?, deadline)
    }

    fn talk(&self, host: &str, script: &Script) -> Result<Transcript, BackendError> {
        match self.ask(host, &Request::Talk(script.clone()), Duration::from_secs(300))? {
            Reply::Said(transcript) => Ok(transcript),
            _ => Err(BackendError::Host { host: host.to_owned(), reason: "another answer".to_owned() }),
        }
    }

    fn get(&self, host: &str, path: &str) -> Result<Option<Vec<u8>>, BackendError> {
        if self.running.contains_key(host) {
            return match self.ask(host, &Request::Get(path.into()), ANSWER)? {
                Reply::Got(bytes) => Ok(bytes),
                _ => Err(BackendError::Host { host: host.to_owned(), reason: "another answer".to_owned() }),
            };
        }
        let Some(disk) = self.disks.get(host) else { return Ok(None) };
        disk.get(path).map_err(BackendError::io(format!("read {path} on the disk of {host}")))
    }

    fn put(&self, host: &str, path: &str, bytes: &[u8]) -> Result<(), BackendError> {
        self.ask(host, &Request::Put(path.into(), bytes.to_vec()), ANSWER).map(drop)
    }

    fn read(&self, host: &str, path: &str) -> Result<Vec<u8>, BackendError> {
        Ok(self.get(host, path)?.unwrap_or_default())
    }

    fn perform(&mut self, event: &Event) -> Result<(), BackendError> {
        match event {
            Event::PowerCut(host) => self.power_cut(host),
            Event::Link(host, joined) => {
                let count = networks(self.world.host(host)?).len();
                (0..count).try_for_each(|at| {
                    let arguments = format!("{{\"name\":\"link{at}\",\"up\":{joined}}}");
                    self.control(host, &format!("{{\"execute\":\"set_link\",\"arguments\":{arguments}}}"))
                })
            }
            Event::Dns(answers) => {
                let word = if *answers { "cont" } else { "stop" };
                self.control(NAME_SERVER, &format!("{{\"execute\":\"{word}\"}}"))
            }
            Event::Clock(host, by) => {
                let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
                self.ask(host, &Request::Clock(seconds), ANSWER).map(drop)
            }
            Event::Disk(..) | Event::Delay(..) => {
                Err(BackendError::Unable { level: "vm", event: format!("{event:?}") })
            }
        }
    }

    fn findings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.findings)
    }

    fn tree(&self, host: &str) -> Result<PathBuf, BackendError> {
        let place = self.dir.join(host).join("tree");
        if let Some(disk) = self.disks.get(host) {
            if let Ok(machine) = self.machine(host) {
                machine.ask(&Request::Sync, ANSWER).map_err(BackendError::io(format!("ask {host}")))?;
            }
            disk.tree(&place).map_err(BackendError::io(format!("read the disk of {host}")))?;
        }
        fs::create_dir_all(&place).map_err(BackendError::io(format!("make {}", place.display())))?;
        Ok(place)
    }
}
