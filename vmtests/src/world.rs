//! `mailstack-vmtests run`: which files, at which level, with which binary; and the world that they run in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};
use mailstack_schema::host::Engine;
use mailstack_schema::topology::Level;

use crate::backend::{Backend, BackendError};
use crate::faults;
use crate::netns::{Netns, namespaces as ns};
use crate::plan::{Engines, Plan, PlanError};
use crate::policy;
use crate::report::{Report, Voice};
use crate::run;

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
    /// The private root that vmtests/roots/sendmail.sh made. Default: ../private-roots/sendmail beside this program's
    /// directory.
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
    /// Print the results as JSON on standard output instead of a line per step.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LevelArgument {
    /// By the policy of all hosts alone: nothing runs.
    Static,
    /// Network namespaces of this machine; needs root.
    Netns,
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
    let named = arguments.engine_of.iter().map(|(host, engine)| (host.clone(), (*engine).into()));
    let engines = Engines { others: arguments.engine.into(), named: named.collect() };
    let mut plans = Vec::new();
    for file in &arguments.files {
        match Plan::read(file, &engines) {
            Ok(plan) => plans.push((file.as_path(), plan)),
            Err(error) => return Ok(refuse(file, &error)),
        }
    }
    plans.retain(|(_, plan)| arguments.only.as_ref().is_none_or(|name| *name == plan.topology.name));
    if plans.is_empty() {
        eprintln!("mailstack-vmtests: no topology of that name in these files");
        return Ok(ExitCode::from(2));
    }
    if arguments.level == LevelArgument::Static {
        return by_policy(arguments, &plans);
    }
    if std::env::var_os(INSIDE).is_none() {
        return enter_world();
    }
    ns::die_with_parent()?;
    ns::make_mounts_private()?;
    ns::mount_type("proc", Path::new("/proc"), None)?;
    let plans: Vec<Plan> = plans.into_iter().map(|(_, plan)| plan).collect();
    run_all(arguments, &plans)
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
            reports.push(policy::check(&mailstack, file, name, voice)?);
        } else {
            voice.say(&format!("{name}: not for the static level; left out as the file says"));
        }
    }
    voice.sum(&reports, started.elapsed());
    if arguments.json {
        serde_json::to_writer_pretty(io::stdout(), &reports)?;
    }
    Ok(policy::exit(&reports))
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
        if !plan.is_for(Level::Netns) {
            voice.say(&format!("{}: not for the netns level; left out as the file says", plan.topology.name));
            continue;
        }
        match run_one(arguments, plan, voice) {
            Ok(report) => reports.push(report),
            Err(error) => {
                eprintln!("mailstack-vmtests: {}: {error}", plan.topology.name);
                return Ok(ExitCode::from(MISSING));
            }
        }
    }
    voice.sum(&reports, started.elapsed());
    if arguments.json {
        serde_json::to_writer_pretty(io::stdout(), &reports)?;
    }
    Ok(policy::exit(&reports))
}

fn run_one(arguments: &RunArguments, plan: &Plan, voice: Voice) -> Result<Report, BackendError> {
    let place = tempfile::Builder::new().prefix("mailstack-vmtests-").tempdir();
    let place = place.map_err(BackendError::io("make a directory for the hosts"))?;
    // What hosts write stays in memory, and in this mount namespace.
    ns::mount_type("tmpfs", place.path(), Some("mode=0755")).map_err(BackendError::io("mount a tmpfs"))?;
    let mailstack = match &arguments.mailstack {
        Some(path) => path.clone(),
        None => beside_this_program()?,
    };
    let sendmail = sendmail_root(arguments, plan)?;
    let mut netns = Netns::build(plan.world.clone(), place.path(), &mailstack, sendmail)?;
    let report = run::run(plan, &mut netns, "netns", voice);
    let failed = report.counts().1 > 0;
    let keep =
        arguments.keep.clone().or_else(|| failed.then(|| std::env::temp_dir().join("mailstack-evidence")));
    if let Some(dir) = keep {
        let dir = dir.join(&plan.topology.name);
        keep_trees(plan, &netns, &dir)
            .map_err(BackendError::io(format!("keep evidence in {}", dir.display())))?;
        voice.say(&format!("  what the hosts wrote: {}", dir.display()));
    }
    netns.close()?;
    // The mount ends with this process in any case.
    let _ = nix::mount::umount2(place.path(), nix::mount::MntFlags::MNT_DETACH);
    Ok(report)
}

/// The private root, where a host needs one.
fn sendmail_root(arguments: &RunArguments, plan: &Plan) -> Result<Option<PathBuf>, BackendError> {
    if plan.world.hosts.values().all(|host| host.engine == Engine::Builtin) {
        return Ok(None);
    }
    let root = match &arguments.sendmail_root {
        Some(root) => root.clone(),
        None => beside_this_program()?.with_file_name("../private-roots/sendmail"),
    };
    if root.join(".complete").exists() {
        return Ok(Some(root));
    }
    let root = root.display();
    Err(BackendError::Missing(format!("no Sendmail in {root}: sh vmtests/roots/sendmail.sh {root}")))
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
