//! Debian packages: which are needed and why, which are missing, and how they are installed.

use std::process::Command;

use crate::step::{self, Failure, program};

/// A package, and what it is needed for.
pub struct Package {
    name: &'static str,
    why: &'static str,
}

/// What turns the generated .mc files into .cf files. Neither is an MTA.
pub const FOR_CF: &[Package] = &[
    Package { name: "m4", why: "expands the generated .mc files" },
    Package { name: "sendmail-cf", why: "the library that turns an .mc file into a .cf file" },
];

/// What the tests need beside that.
pub const FOR_TESTS: &[Package] = &[
    Package { name: "iproute2", why: "links the hosts of a topology (ip)" },
    Package { name: "util-linux", why: "enters their namespaces (nsenter, unshare)" },
    Package { name: "strace", why: "counts what an MTA syncs, and makes syncs slow" },
    Package { name: "python3", why: "reads bounces with a parser that is not ours" },
    Package { name: "python3-venv", why: "holds the language server of the editors' tests" },
    Package { name: "groff-base", why: "reads the manual pages" },
    Package { name: "python3-yaml", why: "reads the workflows" },
    Package { name: "nix-bin", why: "evaluates the flake and the NixOS module" },
    Package { name: "docker-compose", why: "brings up the containers of the image's test" },
    Package { name: "e2fsprogs", why: "makes and reads the disks of virtual machines" },
    Package { name: "wget", why: "fetches packages for private roots" },
];

/// Says which of these are missing and why they are needed, and installs them: as root, or through sudo where it
/// asks nothing. False where that is not possible: the command to run by hand has been printed.
pub fn install(packages: &[&[Package]]) -> Result<bool, Failure> {
    let missing: Vec<&Package> =
        packages.iter().copied().flatten().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(true);
    }
    println!("Debian packages that are missing here:");
    for package in &missing {
        println!("  {:<16} {}", package.name, package.why);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let install = format!("apt-get install -y --no-install-recommends {}", names.join(" "));
    let Some(prefix) = privilege() else {
        println!("Neither root nor sudo without a password here. To have them, run:\n  sudo {install}");
        return Ok(false);
    };
    if !works_after_update(&install, prefix) {
        return Err(format!("could not install them: {}", [prefix, &install].concat()));
    }
    Ok(true)
}

/// Installs from the lists as they are, and with fresh ones if that fails.
fn works_after_update(install: &str, prefix: &str) -> bool {
    let shell = |line: &str| {
        let mut command = program("sh", &["-c", &format!("{prefix}{line}")]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    step::works(&mut shell(install))
        || (step::run("refresh the package lists", &mut shell("apt-get update -q")).is_ok()
            && step::run("install packages", &mut shell(&format!("{install} -q"))).is_ok())
}

/// What goes in front of a command that needs root; None where there is no way.
fn privilege() -> Option<&'static str> {
    if step::is_root() {
        return Some("");
    }
    step::works(Command::new("sudo").args(["-n", "true"])).then_some("sudo -n ")
}

fn installed(package: &Package) -> bool {
    let query = ["-W", "-f", "${db:Status-Status}", package.name];
    let status = Command::new("dpkg-query").args(query).output();
    status.is_ok_and(|output| output.stdout == b"installed")
}
