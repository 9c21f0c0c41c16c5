//! What the compiled filters answer, by a machine that runs them as the kernel does.

use nix::libc;
use seccompiler::BpfProgram;

use super::super::Part;
use super::super::calls::FORBIDDEN;
use super::super::syscalls::programs;
use super::parts;

/// What the kernel does with two filters: the stricter answer, and of two alike that of the second.
fn answer(part: &Part, call: i64, arguments: [u64; 6]) -> u32 {
    let (first, second) = programs(part).unwrap();
    let (first, second) = (run(&first, call, arguments), run(&second, call, arguments));
    let action = |answer: u32| (answer & libc::SECCOMP_RET_ACTION_FULL).cast_signed();
    if action(first) < action(second) { first } else { second }
}

fn errno(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
}

/// Runs a filter as the kernel does (Documentation/networking/filter.rst), as far as filters of system calls go.
fn run(program: &BpfProgram, call: i64, arguments: [u64; 6]) -> u32 {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => 0xc000_003e,
        "aarch64" => 0xc000_00b7,
        other => panic!("{other}"),
    };
    run_on(architecture, program, call, arguments)
}

fn run_on(architecture: u32, program: &BpfProgram, call: i64, arguments: [u64; 6]) -> u32 {
    let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap();
    let word = |offset: u32| match (offset, usize::try_from(offset).unwrap()) {
        (0, _) => u32::try_from(call).unwrap(),
        (4, _) => architecture,
        (_, at) if (at - 16) % 8 == 0 => low(arguments[(at - 16) / 8]),
        (_, at) => low(arguments[(at - 16) / 8] >> 32),
    };
    let (mut at, mut value) = (0, 0u32);
    loop {
        let step = &program[at];
        let jump = |met: bool| usize::from(if met { step.jt } else { step.jf });
        at += 1 + match step.code {
            0x06 => return step.k,
            0x20 => {
                value = word(step.k);
                0
            }
            0x54 => {
                value &= step.k;
                0
            }
            0x05 => usize::try_from(step.k).unwrap(),
            0x15 => jump(value == step.k),
            0x25 => jump(value > step.k),
            0x35 => jump(value >= step.k),
            other => panic!("{other:#x}"),
        };
    }
}

#[test]
fn every_call_has_its_answer() {
    let (eperm, enosys) = (errno(libc::EPERM), errno(libc::ENOSYS));
    for part in parts() {
        let all = |call| answer(&part, call, [u64::MAX; 6]);
        for call in FORBIDDEN {
            let expected = if may(&part, *call) { libc::SECCOMP_RET_ALLOW } else { eperm };
            assert_eq!(all(*call), expected, "{call}: {part:?}");
        }
        assert_eq!(answer(&part, libc::SYS_clone3, [0; 6]), enosys, "a libc falls back to clone");
        for call in [0x4000_0000, 0x4000_003b, 4095] {
            assert_eq!(all(call), enosys, "{call:#x}");
        }
        let (first, _) = programs(&part).unwrap();
        assert_eq!(run_on(0x4000_0003, &first, 11, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS, "calls of i386");
    }
}

/// Of the calls that are forbidden by name, those that a part makes.
fn may(part: &Part, call: i64) -> bool {
    let of_helper = [
        libc::SYS_sendmsg,
        libc::SYS_recvmsg,
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setregid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
        libc::SYS_setgroups,
        libc::SYS_linkat,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fchown,
    ];
    match part {
        Part::Client { .. } => false,
        Part::Receiver => [libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_accept4].contains(&call),
        Part::Mailboxes => of_helper.contains(&call),
    }
}

#[test]
fn arguments_decide_where_a_call_is_needed_in_part() {
    let (allow, eperm, enosys) = (libc::SECCOMP_RET_ALLOW, errno(libc::EPERM), errno(libc::ENOSYS));
    let code = u64::from((libc::PROT_READ | libc::PROT_EXEC).unsigned_abs());
    let thread = u64::from((libc::CLONE_VM | libc::CLONE_THREAD).unsigned_abs());
    let user = thread | u64::from(libc::CLONE_NEWUSER.unsigned_abs());
    let own = u64::from(std::process::id());
    let inet = |kind: i32, protocol: i32| {
        [2, u64::from(kind.unsigned_abs()), u64::from(protocol.unsigned_abs()), 0, 0, 0]
    };
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let table = [
        (libc::SYS_mmap, [0, 0, 3, 0, 0, 0], allow),
        (libc::SYS_mmap, [0, 0, code, 0, 0, 0], eperm),
        (libc::SYS_mprotect, [0, 0, 1, 0, 0, 0], allow),
        (libc::SYS_mprotect, [0, 0, code, 0, 0, 0], eperm),
        (libc::SYS_clone, [thread, 0, 0, 0, 0, 0], allow),
        (libc::SYS_clone, [17, 0, 0, 0, 0, 0], eperm),
        (libc::SYS_clone, [user, 0, 0, 0, 0, 0], eperm),
        (libc::SYS_tgkill, [own, 1, 6, 0, 0, 0], allow),
        (libc::SYS_tgkill, [own + 1, 1, 6, 0, 0, 0], eperm),
        (libc::SYS_prlimit64, [0; 6], allow),
        (libc::SYS_prlimit64, [own + 1, 0, 0, 0, 0, 0], enosys),
        (libc::SYS_prctl, [15, 0, 0, 0, 0, 0], allow),
        (libc::SYS_prctl, [4, 0, 0, 0, 0, 0], enosys),
        (libc::SYS_ioctl, [0, libc::FIONBIO, 0, 0, 0, 0], allow),
        (libc::SYS_ioctl, [0, libc::TIOCSTI, 0, 0, 0, 0], enosys),
        (libc::SYS_socket, [1, 5, 0, 0, 0, 0], allow),
        (libc::SYS_socket, inet(libc::SOCK_STREAM | flags, 0), allow),
        (libc::SYS_socket, inet(libc::SOCK_DGRAM | flags, libc::IPPROTO_UDP), allow),
        (libc::SYS_socket, inet(libc::SOCK_DGRAM, libc::IPPROTO_ICMP), enosys),
        (libc::SYS_socket, inet(libc::SOCK_STREAM, libc::IPPROTO_SCTP), enosys),
        (libc::SYS_socket, inet(libc::SOCK_RAW, libc::IPPROTO_TCP), eperm),
        (libc::SYS_socket, [16, 3, 0, 0, 0, 0], eperm),
    ];
    for part in [Part::Client { accepts: vec![7] }, Part::Receiver] {
        for (call, arguments, expected) in table {
            assert_eq!(answer(&part, call, arguments), expected, "{call} {arguments:?}: {part:?}");
        }
    }
    let client = Part::Client { accepts: vec![7, 8] };
    for (at, expected) in [(7, allow), (8, allow), (9, eperm)] {
        assert_eq!(answer(&client, libc::SYS_accept4, [at, 0, 0, 0, 0, 0]), expected);
    }
}
