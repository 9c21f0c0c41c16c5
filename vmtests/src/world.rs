//! `mailstack-vmtests run`: which files, at which level, with which binary; and the world that they run in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};
use mailstack_schema::host::Engine;
use mailstack_schema::topology::{Level, Topology};

use crate::backend::{Backend, BackendError};
use crate::container::Containers;
use crate::faults;
use crate::netns::{Netns, Roots, namespaces as ns};
use crate::plan::{Engines, Plan, PlanError};
use crate::policy;
use crate::report::{Report, Voice, html, junit, say};
use crate::run;
use crate::served;
use crate::vm::{Parts, Vm};

/// Marks the process that runs inside the world of its own.
const INSIDE: &str = "MAILSTACK_VMTESTS_INSIDE";
/// This machine lacks what the level needs.
const MISSING: u8 = 7;

/// What to run.
#[derive(Args)]
pub struct RunArguments {
    /// Topology files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The level of proof.
    #[arg(long, value_enum, default_value = "netns")]
    level: LevelArgument,
    /// Who runs the roles of hosts that say nothing of it. Sendmail comes from a private root.
    #[arg(long, value_enum, default_value = "builtin")]
    engine: EngineArgument,
    /// Who runs the role of the host of this name: a mix.
    #[arg(long, value_name = "HOST=ENGINE", value_parser = named_engine)]
    engine_of: Vec<(String, EngineArgument)>,
    /// The private root that vmtests/roots/sendmail.sh made. Default: private-roots/sendmail in cargo's target directory.
    #[arg(long, value_name = "DIR")]
    sendmail_root: Option<PathBuf>,
    /// Run only the topology of this name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The binary under test. Default: `mailstack` beside this program.
    #[arg(long, value_name = "FILE")]
    mailstack: Option<PathBuf>,
    /// Keep what the hosts wrote below this directory, one directory per topology; a failed one is kept in any case.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// What vmtests/roots/vm.sh made. Default: private-roots/vm in cargo's target directory.
    #[arg(long, value_name = "DIR")]
    vm_root: Option<PathBuf>,
    /// Virtual machines run on this machine's processor.
    #[arg(long)]
    kvm: bool,
    /// What decides which of the last writes before a power cut reached the disk.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Print the results as JSON on standard output instead of a line per step.
    #[arg(long)]
    json: bool,
    /// Write the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the results as one page: the topology drawn, and per step the way of its message.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LevelArgument {
    /// By the policy of all hosts alone: nothing runs.
    Static,
    /// Network namespaces of this machine; needs root.
    Netns,
    /// Containers on a Docker engine; needs static binaries.
    Container,
    /// Virtual machines under QEMU; needs what vmtests/roots/vm.sh makes, and static binaries.
    Vm,
}

impl From<LevelArgument> for Level {
    fn from(level: LevelArgument) -> Self {
        match level {
            LevelArgument::Static => Self::Static,
            LevelArgument::Netns => Self::Netns,
            LevelArgument::Container => Self::Container,
            LevelArgument::Vm => Self::Vm,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EngineArgument {
    /// mailstack's own MTA.
    Builtin,
    /// The host's Sendmail.
    Sendmail,
}

fn named_engine(text: &str) -> Result<(String, EngineArgument), String> {
    let (host, engine) = text.split_once('=').ok_or("write HOST=builtin or HOST=sendmail")?;
    Ok((host.to_owned(), EngineArgument::from_str(engine, false)?))
}

impl From<EngineArgument> for Engine {
    fn from(engine: EngineArgument) -> Self {
        match engine {
            EngineArgument::Builtin => Engine::Builtin,
            EngineArgument::Sendmail => Engine::Sendmail,
        }
    }
}

/// Runs them.
pub fn run(arguments: &RunArguments) -> io::Result<ExitCode> {
    let mut plans = match read(arguments) {
        Ok(plans) => plans,
        Err(refused) => return Ok(refused),
    };
    plans.retain(|(_, plan)| arguments.only.as_ref().is_none_or(|name| *name == plan.topology.name));
    if plans.is_empty() {
        eprintln!("mailstack-vmtests: no topology of that name in these files");
        return Ok(ExitCode::from(2));
    }
    if arguments.level == LevelArgument::Static {
        return by_policy(arguments, &plans);
    }
    let plans: Vec<Plan> = plans.into_iter().map(|(_, plan)| plan).collect();
    if arguments.level != LevelArgument::Netns {
        return run_all(arguments, &plans);
    }
    match world()? {
        Some(done) => Ok(done),
        None => run_all(arguments, &plans),
    }
}

/// Brings up the hosts of the first topology and gives shells on them until standard input ends.
pub fn explore(arguments: &RunArguments) -> io::Result<ExitCode> {
    let plan = match read(arguments) {
        Ok(mut plans) => plans.remove(0).1,
        Err(refused) => return Ok(refused),
    };
    if let Some(done) = world()? {
        return Ok(done);
    }
    let voice = Voice { aside: true };
    let all_up = || {
        let place = place()?;
        let mut netns = build(arguments, &plan, place.path())?;
        run::start_all(&plan, &mut netns, voice)?;
        Ok((place, netns))
    };
    let (_place, netns) = all_up().map_err(|error: BackendError| io::Error::other(run::words(&error)))?;
    let hosts: Vec<&str> = plan.world.hosts.keys().map(String::as_str).collect();
    voice.say(&format!("{}: all hosts are up; everything ends with this program", plan.topology.name));
    loop {
        eprint!("a shell on which host ({}; end of input ends all)? ", hosts.join(", "));
        let mut name = String::new();
        if io::stdin().read_line(&mut name)? == 0 {
            eprintln!();
            return netns.close().map(|()| ExitCode::SUCCESS).map_err(io::Error::other);
        }
        match name.trim() {
            "" => {}
            name => {
                if let Err(error) = netns.shell(name) {
                    eprintln!("{error}");
                }
            }
        }
    }
}

/// Says of each topology what it is, and at which levels it can run.
pub fn list(arguments: &ListArguments) -> io::Result<ExitCode> {
    let engines = Engines { others: Engine::Builtin, named: Default::default() };
    for file in &arguments.files {
        let plan = match Plan::read(file, &engines) {
            Ok(plan) => plan,
            Err(error) => return Ok(refuse(file, &error)),
        };
        let all = [Level::Static, Level::Netns, Level::Container, Level::Vm];
        let levels: Vec<String> =
            all.into_iter().filter(|level| plan.is_for(*level)).map(|level| level.to_string()).collect();
        let Topology { name, description, host, step, .. } = &plan.topology;
        let description = description.as_deref().unwrap_or_default();
        let (hosts, steps) = (host.len(), step.len());
        say(&format!("{name}: {description}\n  {hosts} hosts, {steps} steps; {}", levels.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

/// What to list.
#[derive(Args)]
pub struct ListArguments {
    /// Topology files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// All plans with their files, or the end of the program where a file is wrong.
fn read(arguments: &RunArguments) -> Result<Vec<(&Path, Plan)>, ExitCode> {
    let named = arguments.engine_of.iter().map(|(host, engine)| (host.clone(), (*engine).into()));
    let engines = Engines { others: arguments.engine.into(), named: named.collect() };
    let one = |file: &'_ PathBuf| Plan::read(file, &engines).map_err(|error| refuse(file, &error));
    arguments.files.iter().map(|file| Ok((file.as_path(), one(file)?))).collect()
}

/// Enters a world of this program's own, and returns None there; outside, how it ended.
fn world() -> io::Result<Option<ExitCode>> {
    if std::env::var_os(INSIDE).is_none() {
        return enter_world().map(Some);
    }
    ns::die_with_parent()?;
    ns::make_mounts_private()?;
    ns::mount_type("proc", Path::new("/proc"), None)?;
    Ok(None)
}

fn by_policy(arguments: &RunArguments, plans: &[(&Path, Plan)]) -> io::Result<ExitCode> {
    let started = Instant::now();
    let voice = Voice { aside: arguments.json };
    let mailstack =
        arguments.mailstack.clone().map_or_else(beside_this_program, Ok).map_err(io::Error::other)?;
    let mut reports = Vec::new();
    for (file, plan) in plans {
        let name = &plan.topology.name;
        if plan.is_for(Level::Static) {
            reports.push(policy::check(&mailstack, file, plan, voice)?);
        } else {
            voice.say(&format!("{name}: not for the static level; left out as the file says"));
        }
    }
    conclude(arguments, &reports, voice, started)
}

/// Says the sum, and writes the results wherever they are wanted.
fn conclude(
    arguments: &RunArguments,
    reports: &[Report],
    voice: Voice,
    started: Instant,
) -> io::Result<ExitCode> {
    voice.sum(reports, started.elapsed());
    if arguments.json {
        serde_json::to_writer_pretty(io::stdout(), reports)?;
    }
    let written = |file: &Path, text: String| {
        fs::write(file, text)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
    };
    if let Some(file) = &arguments.junit {
        written(file, junit::document(reports))?;
    }
    if let Some(file) = &arguments.html {
        written(file, html::document(reports))?;
    }
    Ok(policy::exit(reports))
}

fn refuse(file: &Path, error: &PlanError) -> ExitCode {
    match error {
        PlanError::Faults { text, faults } => eprint!("{}", faults::rendered(file, text, faults)),
        error => eprintln!("{}: {error}", file.display()),
    }
    ExitCode::FAILURE
}

fn enter_world() -> io::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!(
            "mailstack-vmtests: the netns level needs root: it makes network namespaces with users of their own"
        );
        return Ok(ExitCode::from(MISSING));
    }
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    ns::run_in_new_world(&arguments, INSIDE)
}

fn run_all(arguments: &RunArguments, plans: &[Plan]) -> io::Result<ExitCode> {
    let started = Instant::now();
    let voice = Voice { aside: arguments.json };
    let mut reports = Vec::new();
    for plan in plans {
        let level = Level::from(arguments.level);
        if !plan.is_for(level) {
            voice.say(&format!(
                "{}: not for the {level} level; left out as the file says",
                plan.topology.name
            ));
            continue;
        }
        match run_one(arguments, plan, voice) {
            Ok(report) => reports.push(report),
            Err(error) => {
                eprintln!("mailstack-vmtests: {}: {}", plan.topology.name, run::words(&error));
                return Ok(ExitCode::from(MISSING));
            }
        }
    }
    conclude(arguments, &reports, voice, started)
}

fn run_one(arguments: &RunArguments, plan: &Plan, voice: Voice) -> Result<Report, BackendError> {
    match arguments.level {
        LevelArgument::Container => return run_in_containers(arguments, plan, voice),
        LevelArgument::Vm => return run_in_machines(arguments, plan, voice),
        LevelArgument::Static | LevelArgument::Netns => {}
    }
    let place = place()?;
    let mut netns = build(arguments, plan, place.path())?;
    let report = run::run(plan, &mut netns, "netns", voice, arguments.html.is_some());
    keep(arguments, plan, &netns, &report, voice)?;
    netns.close()?;
    // The mount ends with this process in any case.
    let _ = nix::mount::umount2(place.path(), nix::mount::MntFlags::MNT_DETACH);
    Ok(report)
}

fn run_in_containers(arguments: &RunArguments, plan: &Plan, voice: Voice) -> Result<Report, BackendError> {
    without_sendmail(plan, "container")?;
    let (place, (this, mailstack)) = (directory()?, static_programs(arguments)?);
    let mut containers = Containers::build(plan.world.clone(), place.path(), &this, &mailstack)?;
    let report = run::run(plan, &mut containers, "container", voice, arguments.html.is_some());
    keep(arguments, plan, &containers, &report, voice)?;
    containers.close()?;
    Ok(report)
}

fn without_sendmail(plan: &Plan, level: &str) -> Result<(), BackendError> {
    if plan.world.hosts.values().all(|host| host.engine == Engine::Builtin) {
        return Ok(());
    }
    Err(BackendError::Missing(format!("the {level} level has no Sendmail: its hosts have no C library")))
}

fn directory() -> Result<tempfile::TempDir, BackendError> {
    let place = tempfile::Builder::new().prefix("mailstack-vmtests-").tempdir();
    place.map_err(BackendError::io("make a directory for the hosts"))
}

fn run_in_machines(arguments: &RunArguments, plan: &Plan, voice: Voice) -> Result<Report, BackendError> {
    without_sendmail(plan, "vm")?;
    let (place, parts) = (directory()?, parts(arguments)?);
    let mut vm = Vm::build(plan.world.clone(), place.path(), parts)?;
    let mut report = run::run(plan, &mut vm, "vm", voice, arguments.html.is_some());
    report.seed = Some(arguments.seed);
    keep(arguments, plan, &vm, &report, voice)?;
    Ok(report)
}

/// What machines are made of; all of it must be there.
fn parts(arguments: &RunArguments) -> Result<Parts, BackendError> {
    let (this, mailstack) = static_programs(arguments)?;
    let root = match &arguments.vm_root {
        Some(root) => root.clone(),
        None => private_roots().map_err(BackendError::io("find this program"))?.join("vm"),
    };
    if !root.join(".complete").exists() {
        let root = root.display();
        return Err(BackendError::Missing(format!("no QEMU in {root}: sh vmtests/roots/vm.sh {root}")));
    }
    Ok(Parts { root, program: this, mailstack, kvm: arguments.kvm, seed: arguments.seed })
}

/// This program and the binary under test: hosts at some levels have no library.
fn static_programs(arguments: &RunArguments) -> Result<(PathBuf, PathBuf), BackendError> {
    let this = std::env::current_exe().map_err(BackendError::io("find this program"))?;
    let mailstack = arguments.mailstack.clone().map_or_else(beside_this_program, Ok)?;
    for program in [&this, &mailstack] {
        if !is_static(program).map_err(BackendError::io(format!("read {}", program.display())))? {
            return Err(BackendError::Missing(format!(
                "{} needs libraries that a host at this level does not have: build both with RUSTFLAGS=\"-C \
                 target-feature=+crt-static\" cargo build --release --target x86_64-unknown-linux-gnu",
                program.display()
            )));
        }
    }
    Ok((this, mailstack))
}

/// Whether a program needs no loader: an ELF file without a program header of type PT_INTERP (3).
fn is_static(program: &Path) -> io::Result<bool> {
    let bytes = fs::read(program)?;
    let number = |at: usize, size: usize| {
        let octets = bytes.get(at..at + size).unwrap_or_default();
        octets.iter().rev().fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet))
    };
    // ELF-64: where the program headers stand, their size and their number.
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    Ok((0..count).all(|index| number(table + index * size, 4) != 3))
}

/// Where hosts write: in memory, and in this mount namespace.
fn place() -> Result<tempfile::TempDir, BackendError> {
    let place = directory()?;
    ns::mount_type("tmpfs", place.path(), Some("mode=0755")).map_err(BackendError::io("mount a tmpfs"))?;
    Ok(place)
}

fn build(arguments: &RunArguments, plan: &Plan, place: &Path) -> Result<Netns, BackendError> {
    let mailstack = arguments.mailstack.clone().map_or_else(beside_this_program, Ok)?;
    let sendmail = sendmail_root(arguments, plan)?;
    let private = private_roots().map_err(BackendError::io("find this program"))?;
    let inetd = served::root(&private, plan.world.hosts.values().map(|host| host.served_by))?;
    Netns::build(plan.world.clone(), place, &mailstack, Roots { sendmail, inetd })
}

/// Keeps what the hosts wrote, where it is wanted or the topology failed.
fn keep(
    arguments: &RunArguments,
    plan: &Plan,
    backend: &dyn Backend,
    report: &Report,
    voice: Voice,
) -> Result<(), BackendError> {
    let failed = report.counts().1 > 0;
    let evidence = || failed.then(|| std::env::temp_dir().join("mailstack-evidence"));
    let Some(dir) = arguments.keep.clone().or_else(evidence) else { return Ok(()) };
    let dir = dir.join(&plan.topology.name);
    keep_trees(plan, backend, &dir)
        .map_err(BackendError::io(format!("keep evidence in {}", dir.display())))?;
    voice.say(&format!("  what the hosts wrote: {}", dir.display()));
    Ok(())
}

/// The private root, where a host needs one.
fn sendmail_root(arguments: &RunArguments, plan: &Plan) -> Result<Option<PathBuf>, BackendError> {
    if plan.world.hosts.values().all(|host| host.engine == Engine::Builtin) {
        return Ok(None);
    }
    let root = match &arguments.sendmail_root {
        Some(root) => root.clone(),
        None => private_roots().map_err(BackendError::io("find this program"))?.join("sendmail"),
    };
    if root.join(".complete").exists() {
        return Ok(Some(root));
    }
    let root = root.display();
    Err(BackendError::Missing(format!("no Sendmail in {root}: sh vmtests/roots/sendmail.sh {root}")))
}

/// `private-roots` in cargo's target directory, which is two above this program or, built for a named target, three.
pub fn private_roots() -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let mut found = this.ancestors().skip(2).take(2).map(|target| target.join("private-roots"));
    let near = found.next().unwrap_or_else(|| PathBuf::from("private-roots"));
    Ok(found.find(|far| far.is_dir() && !near.is_dir()).unwrap_or(near))
}

fn beside_this_program() -> Result<PathBuf, BackendError> {
    let this = std::env::current_exe().map_err(BackendError::io("find this program"))?;
    Ok(this.with_file_name("mailstack"))
}

fn keep_trees(plan: &Plan, backend: &dyn Backend, dir: &Path) -> io::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    for host in plan.world.hosts.keys() {
        let tree = backend.tree(host).map_err(io::Error::other)?;
        copy_tree(&tree, &dir.join(host))?;
    }
    Ok(())
}

/// Copies directories, regular files and links; sockets and the marks of covered files are no evidence.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target, kind) = (entry.path(), to.join(entry.file_name()), entry.file_type()?);
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
