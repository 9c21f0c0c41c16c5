//! Queues of other MTAs: what is in them, and having those MTAs deliver it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::known::KNOWN;
use super::record::below;

/// Between two looks at a queue.
const LOOK: Duration = Duration::from_millis(200);
/// Between two times that an MTA is asked to try all.
const ROUND: Duration = Duration::from_secs(10);
/// Between two words on what is left.
const WORD: Duration = Duration::from_secs(5);

/// A queue that holds mail.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Queue {
    /// Its directory, as below `/`.
    pub path: PathBuf,
    /// How many files are in it.
    pub files: usize,
}

/// The queues of all MTAs that are known, where they hold anything.
pub fn queues(root: &Path) -> Vec<Queue> {
    let all = KNOWN.iter().flat_map(|mta| mta.queues).map(PathBuf::from);
    all.map(|path| Queue { files: count_files(&below(root, &path)), path })
        .filter(|queue| queue.files > 0)
        .collect()
}

fn count_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let count = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count_files(&entry.path()),
        Ok(kind) if kind.is_file() => 1,
        _ => 0,
    };
    entries.map(count).sum()
}

/// Has the MTAs of this host deliver what is in their queues, for so long at most; `counted` are the queues that count.
/// Tells now and then what is left, and returns it in the end. Below another root no MTA runs: nothing is asked.
pub(crate) fn drain(
    root: &Path,
    within: Duration,
    counted: &dyn Fn(&Queue) -> bool,
    told: &mut dyn FnMut(&[Queue]),
) -> Vec<Queue> {
    let left = || -> Vec<Queue> { queues(root).into_iter().filter(|queue| counted(queue)).collect() };
    let (begin, mut asked, mut word) = (Instant::now(), None::<Instant>, Instant::now());
    let mut runs: Vec<Child> = Vec::new();
    let mut found = left();
    while !found.is_empty() && begin.elapsed() < within && root == Path::new("/") {
        runs.retain_mut(|run| matches!(run.try_wait(), Ok(None)));
        if runs.is_empty() && asked.is_none_or(|asked| asked.elapsed() > ROUND) {
            runs = flush(&found);
            asked = Some(Instant::now());
        }
        if word.elapsed() > WORD {
            told(&found);
            word = Instant::now();
        }
        thread::sleep(LOOK);
        found = left();
    }
    for mut run in runs {
        // Each knows how to end in the middle of a message.
        let _ = kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGTERM);
        let _ = run.wait();
    }
    left()
}

fn flush(found: &[Queue]) -> Vec<Child> {
    let holds = |path: &&&str| found.iter().any(|queue| queue.path == Path::new(path));
    let asked = KNOWN.iter().filter(|mta| mta.queues.iter().any(|path| holds(&path)));
    asked.flat_map(|mta| mta.flush).filter_map(|(programs, arguments)| start(programs, arguments)).collect()
}

fn start(programs: &[&str], arguments: &[&str]) -> Option<Child> {
    let is_its = |program: &&&str| {
        fs::canonicalize(program).is_ok_and(|path| path.file_name().is_some_and(|name| name != "mailstack"))
    };
    let mut command = Command::new(programs.iter().find(is_its)?);
    command.args(arguments).current_dir("/").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // One that does not start leaves the mail where it is, which is said.
    command.spawn().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_with_mail_is_seen() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(queues(root.path()), []);
        let queue = root.path().join("var/spool/mqueue/A");
        fs::create_dir_all(&queue).unwrap();
        assert_eq!(queues(root.path()), []);
        fs::write(queue.join("qf1"), "").unwrap();
        assert_eq!(queues(root.path()), [Queue { path: "/var/spool/mqueue".into(), files: 1 }]);
    }
}
