//! Programs and files of aliases: what they may be, and as whom.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mailstack_policy::rules::AliasTarget;
use mailstack_runtime::Restricted;
use mailstack_schema::host::Local;
use mailstack_schema::spans::{child, element};

use super::Faults;
use super::local::has_only_names;
use crate::model::defaults::Defaults;
use crate::model::fault::FaultKind;
use crate::model::parse;

type Aliases = BTreeMap<String, Vec<AliasTarget>>;

/// Programs that are there to run others.
const INTERPRETERS: [&str; 18] = [
    "sh", "bash", "dash", "ash", "ksh", "zsh", "csh", "tcsh", "fish", "busybox", "perl", "python", "python3",
    "ruby", "awk", "sed", "env", "uuencode",
];

/// Users who own queues, mailboxes or everything.
const NEVER: [&str; 5] = ["root", "mailstack", "mail", "smmta", "smmsp"];

/// Directories that somebody else lives in: what lies in or above them is no place for what aliases write.
const NO_JAIL: [&str; 18] = [
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    "/dev",
    "/proc",
    "/sys",
    "/run",
    "/root",
    "/var/lib/mailstack",
    "/var/spool/mailstack",
    "/var/spool/mailstack-drop",
    "/var/spool/mqueue",
    "/var/spool/mqueue-client",
    "/var/spool/clientmqueue",
];

/// The aliases with each program as the list has it, and what they may do; None where nothing is allowed.
pub(super) fn resolve(
    written: &Local,
    mut aliases: Aliases,
    defaults: &Defaults,
    faults: &mut Faults,
) -> (Aliases, Option<Restricted>) {
    let programs = programs(written.programs.as_deref().unwrap_or_default(), faults);
    let file_jail = written.file_jail.as_deref().and_then(|text| {
        let path = PathBuf::from(text);
        let apart = |other: &str| !path.starts_with(other) && !Path::new(other).starts_with(&path);
        let is_mail = defaults.mailboxes.as_ref().is_some_and(|mailboxes| path.starts_with(&mailboxes.path));
        let good = parse::include(text).is_some() && has_only_names(&path) && path.components().count() > 2;
        let good = good && !is_mail && NO_JAIL.into_iter().all(apart);
        faults.keep("file_jail", if good { Ok(path) } else { Err(FaultKind::Jail { text: text.to_owned() }) })
    });
    let user = match &written.default_user {
        Some(text) if NEVER.contains(&text.to_ascii_lowercase().as_str()) => {
            faults.keep("default_user", Err(FaultKind::DefaultUser { text: text.clone() }))
        }
        Some(text) => faults.keep("default_user", parse::user(text)),
        None => Some(defaults.default_user.clone()),
    };
    if written.default_user.is_some() && written.programs.is_none() && written.file_jail.is_none() {
        faults.add("default_user", FaultKind::Without { needed: "programs".to_owned() });
    }
    for (name, targets) in &mut aliases {
        let path = child("aliases", name);
        for target in targets {
            check(target, &programs, file_jail.as_deref()).unwrap_or_else(|fault| faults.add(&path, fault));
        }
    }
    let is_declared = written.programs.is_some() || file_jail.is_some();
    let restricted = user.filter(|_| is_declared).map(|user| Restricted { user, programs, file_jail });
    (aliases, restricted)
}

fn programs(written: &[String], faults: &mut Faults) -> BTreeMap<String, PathBuf> {
    let mut programs: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (index, text) in written.iter().enumerate() {
        let at = element("programs", index);
        let place = parse::include(text).filter(|_| has_only_names(Path::new(text)));
        let name = text.rsplit('/').next().unwrap_or_default().to_owned();
        let other = written.iter().position(|other| other.rsplit('/').next() == Some(name.as_str()));
        let fault = match place {
            None => FaultKind::Place { text: text.clone() },
            // A name with `-` in front would be taken for an option.
            Some(_) if name.starts_with(['-', '.']) => FaultKind::Place { text: text.clone() },
            Some(_) if INTERPRETERS.contains(&name.as_str()) => FaultKind::Interpreter { text: text.clone() },
            Some(_) if programs.contains_key(&name) => {
                FaultKind::ProgramName { text: text.clone(), other: element("programs", other.unwrap_or(0)) }
            }
            Some(path) => {
                programs.insert(name, path.into());
                continue;
            }
        };
        faults.add(at, fault);
    }
    programs
}

/// A program is given its path in the list, a file is left as it is.
fn check(
    target: &mut AliasTarget,
    programs: &BTreeMap<String, PathBuf>,
    jail: Option<&Path>,
) -> Result<(), FaultKind> {
    match target {
        AliasTarget::Program(command) => {
            let (program, arguments) = command.split_once(' ').unwrap_or((command, ""));
            let name = program.rsplit('/').next().unwrap_or_default();
            let listed = programs.get(name).filter(|path| program == name || Path::new(program) == *path);
            let path = listed.ok_or_else(|| FaultKind::ProgramNotListed { program: program.to_owned() })?;
            *command = format!("{} {arguments}", path.display()).trim_end().to_owned();
            Ok(())
        }
        AliasTarget::File(path) => {
            let inside =
                jail.is_some_and(|jail| Path::new(path).starts_with(jail) && Path::new(path) != jail);
            inside.then_some(()).ok_or_else(|| FaultKind::FileNotJailed { text: path.clone() })
        }
        AliasTarget::Address(_) | AliasTarget::User(_) | AliasTarget::Include(_) => Ok(()),
    }
}
