//! One virtual machine: its QEMU, the agent in it, and QEMU's own control socket.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::agent::{Reply, Request};

/// Memory of a guest, MiB.
const MEMORY: &str = "384";
/// How long a guest may take to its first answer.
const BOOT: Duration = Duration::from_secs(60);
/// The pause between two looks at a socket that is not there yet.
const PAUSE: Duration = Duration::from_millis(10);

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// QEMU.
    pub qemu: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial file tree.
    pub initrd: PathBuf,
    /// Sockets and the console's log.
    pub dir: PathBuf,
    /// The disk, and where its writes and flushes are recorded.
    pub disk: Option<(PathBuf, PathBuf)>,
    /// Multicast port of the network and hardware address, per interface.
    pub links: Vec<(u16, String)>,
    /// The emulator's accelerator: `kvm` where it works, else `tcg`.
    pub accelerator: &'static str,
}

/// A machine that runs until this value goes.
pub struct Machine {
    process: Child,
    agent: RefCell<BufReader<UnixStream>>,
    control: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Machine {
    /// Switches the machine on, and waits until its agent answers.
    pub fn start(hardware: &Hardware) -> io::Result<Self> {
        let mut starting = Self::switch_on(hardware)?;
        starting.await_agent(hardware)?;
        Ok(starting)
    }

    /// Switches the machine on.
    pub fn switch_on(hardware: &Hardware) -> io::Result<Self> {
        let (agent, control) = (hardware.dir.join("agent"), hardware.dir.join("control"));
        for socket in [&agent, &control] {
            let _ = std::fs::remove_file(socket);
        }
        let mut command = command(hardware, &agent, &control);
        // The runner may be killed: then its machines must end too.
        let process = command.spawn()?;
        let until = Instant::now() + BOOT;
        let stream = loop {
            match UnixStream::connect(&agent) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => std::thread::sleep(PAUSE),
            }
        };
        Ok(Self { process, agent: RefCell::new(BufReader::new(stream)), control })
    }

    /// Waits for the first answer.
    pub fn await_agent(&mut self, hardware: &Hardware) -> io::Result<()> {
        self.ask(&Request::Sync, BOOT).map(drop).map_err(|error| {
            let console = std::fs::read(hardware.dir.join("console")).unwrap_or_default();
            let console = String::from_utf8_lossy(&console).into_owned();
            let last: Vec<&str> = console.lines().rev().take(45).collect();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            io::Error::other(format!("the guest does not answer: {error}\n{last}"))
        })
    }

    /// Asks the agent.
    pub fn ask(&self, request: &Request, deadline: Duration) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let mut agent = self.agent.borrow_mut();
        agent.get_mut().write_all(&line)?;
        agent.get_ref().set_read_timeout(Some(deadline))?;
        let mut reply = String::new();
        if agent.read_line(&mut reply)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the machine has ended"));
        }
        Ok(serde_json::from_str(&reply)?)
    }

    /// Gives QEMU a command (docs/interop/qmp-spec.txt).
    pub fn control(&self, command: &str) -> io::Result<()> {
        let mut stream = BufReader::new(UnixStream::connect(&self.control)?);
        stream.get_ref().set_read_timeout(Some(BOOT))?;
        let mut greeting = String::new();
        stream.read_line(&mut greeting)?;
        for command in ["{\"execute\":\"qmp_capabilities\"}", command] {
            stream.get_mut().write_all(format!("{command}\n").as_bytes())?;
            // Events may come between.
            loop {
                let mut answer = String::new();
                if stream.read_line(&mut answer)? == 0 || answer.contains("\"error\"") {
                    return Err(io::Error::other(format!("{command}: {}", answer.trim_end())));
                }
                if answer.contains("\"return\"") {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn command(hardware: &Hardware, agent: &Path, control: &Path) -> Command {
    let mut command = Command::new(&hardware.qemu);
    let place = |path: &Path| path.display().to_string();
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", MEMORY]);
    command.args(["-machine", &format!("pc,accel={}", hardware.accelerator), "-cpu", "max", "-smp", "1"]);
    command.args(["-kernel", &place(&hardware.kernel), "-initrd", &place(&hardware.initrd)]);
    command.args(["-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on"]);
    command.args(["-serial", &format!("file:{}", place(&hardware.dir.join("console")))]);
    command.args(["-device", "virtio-rng-pci"]);
    command.args(["-device", "virtio-serial-pci", "-chardev"]);
    command.arg(format!("socket,id=agent,server=on,wait=off,path={}", place(agent)));
    command.args(["-device", "virtserialport,chardev=agent,name=agent"]);
    command.args(["-qmp", &format!("unix:{},server=on,wait=off", place(control))]);
    if let Some((disk, log)) = &hardware.disk {
        command.args(["-blockdev", &format!("driver=file,node-name=image,filename={}", place(disk))]);
        command.args(["-blockdev", &format!("driver=file,node-name=log,filename={}", place(log))]);
        let recorded = "driver=blklogwrites,node-name=disk,file=image,log=log,log-sector-size=512";
        command.args(["-blockdev", recorded, "-device", "virtio-blk-pci,drive=disk"]);
    }
    for (at, (port, address)) in hardware.links.iter().enumerate() {
        // On this machine alone: multicast leaves by the loopback interface.
        let network = format!("socket,id=link{at},mcast=239.66.83.1:{port},localaddr=127.0.0.1");
        command.args(["-netdev", &network]);
        command.args(["-device", &format!("virtio-net-pci,netdev=link{at},mac={address},romfile=")]);
    }
    let errors = File::create(hardware.dir.join("qemu")).map_or_else(|_| Stdio::null(), Stdio::from);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    command
}
