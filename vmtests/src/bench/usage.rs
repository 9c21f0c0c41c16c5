//! What a peer uses: processor time by its control group, memory as its processes' proportional set size.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a peer's processor time is read.
#[derive(Debug)]
pub enum Group {
    /// cgroup v1, controller cpuacct.
    V1(PathBuf),
    /// cgroup v2.
    V2(PathBuf),
    /// Neither can be written here: the times of the peer's processes and of those that they waited for.
    Processes,
}

impl Group {
    /// A group of this name, which is removed when it is dropped.
    pub fn new(name: &str) -> Self {
        let v1 = Path::new("/sys/fs/cgroup/cpuacct").join(name);
        if Path::new("/sys/fs/cgroup/cpuacct/cpuacct.usage").exists() && make(&v1) {
            return Group::V1(v1);
        }
        for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let v2 = Path::new(mount).join(name);
            if Path::new(mount).join("cgroup.controllers").exists()
                && make(&v2)
                && v2.join("cpu.stat").exists()
            {
                return Group::V2(v2);
            }
        }
        Group::Processes
    }

    /// How the processor time is measured.
    pub fn method(&self) -> &'static str {
        match self {
            Group::V1(_) => "cgroup v1 cpuacct.usage",
            Group::V2(_) => "cgroup v2 cpu.stat",
            Group::Processes => "/proc/PID/stat of the process tree",
        }
    }

    /// The file through which a process enters.
    pub fn door(&self) -> Option<PathBuf> {
        match self {
            Group::V1(dir) | Group::V2(dir) => Some(dir.join("cgroup.procs")),
            Group::Processes => None,
        }
    }

    /// Its processes; `first`: the first one of the peer's process namespace.
    pub fn processes(&self, first: Option<u32>) -> Vec<u32> {
        match self {
            Group::V1(dir) | Group::V2(dir) => {
                let list = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                list.lines().filter_map(|line| line.parse().ok()).collect()
            }
            Group::Processes => first.map(same_namespace).unwrap_or_default(),
        }
    }

    /// Seconds of processor time so far.
    pub fn seconds(&self, first: Option<u32>) -> io::Result<f64> {
        match self {
            Group::V1(dir) => {
                let text = fs::read_to_string(dir.join("cpuacct.usage"))?;
                Ok(text.trim().parse::<f64>().map_err(io::Error::other)? / 1e9)
            }
            Group::V2(dir) => {
                let text = fs::read_to_string(dir.join("cpu.stat"))?;
                let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
                let usage = usage.ok_or_else(|| io::Error::other("no usage_usec in cpu.stat"))?;
                Ok(usage.trim().parse::<f64>().map_err(io::Error::other)? / 1e6)
            }
            Group::Processes => Ok(self.processes(first).into_iter().filter_map(ticks).sum::<f64>() / 100.0),
        }
    }
}

fn make(dir: &Path) -> bool {
    fs::create_dir(dir).is_ok() || dir.is_dir()
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Group::V1(dir) | Group::V2(dir) = self {
            let _ = fs::remove_dir(dir);
        }
    }
}

fn same_namespace(first: u32) -> Vec<u32> {
    let of = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(wanted) = of(first) else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| of(pid).as_ref() == Some(&wanted)).collect()
}

/// utime, stime, cutime and cstime of a process, in hundredths of a second (proc(5)).
fn ticks(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    fields.get(11..15)?.iter().map(|field| field.parse::<f64>().ok()).sum()
}

/// Proportional set size of processes in octets; the tracer that counts syncs is not the peer's.
pub fn memory(processes: &[u32]) -> u64 {
    processes.iter().filter(|pid| name(**pid).as_deref() != Some("strace")).filter_map(|pid| pss(*pid)).sum()
}

fn name(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

fn pss(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let this = std::process::id();
        assert!(memory(&[this]) > 100_000);
        assert!(ticks(this).is_some());
        assert!(same_namespace(this).contains(&this));
        assert_eq!(memory(&[0]), 0);
    }
}
