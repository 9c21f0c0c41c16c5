//! Which system calls are left: seccomp.
//!
//! Two filters, of which the kernel takes the stricter answer, and of two that refuse that of the second: the first has
//! the allowed calls, all others answer ENOSYS; the second has the forbidden ones, which answer EPERM.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::Part;
use super::calls::{
    BASE, DESCRIPTORS, FORBIDDEN, MAILBOXES, NAMESPACES, NETWORK, OLD_BASE, OLD_FORBIDDEN, OLD_MAILBOXES,
};

/// Puts both filters on this thread. Errors: the kernel's.
pub(super) fn filter(part: &Part) -> Result<(), String> {
    let (allowed, forbidden) = programs(part)?;
    for program in [allowed, forbidden] {
        seccompiler::apply_filter(&program).map_err(|error| match error {
            seccompiler::Error::Seccomp(source) | seccompiler::Error::Prctl(source) => source.to_string(),
            other => other.to_string(),
        })?;
    }
    Ok(())
}

/// Both filters, in the order in which they are put on.
pub(super) fn programs(part: &Part) -> Result<(BpfProgram, BpfProgram), String> {
    let refuse = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    let allowed = compile(allowed(part)?, SeccompAction::Allow, refuse(libc::ENOSYS))?;
    let forbidden = compile(forbidden(part)?, refuse(libc::EPERM), SeccompAction::Allow)?;
    Ok((allowed, forbidden))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile(rules: Rules, matching: SeccompAction, other: SeccompAction) -> Result<BpfProgram, String> {
    let architecture = std::env::consts::ARCH.try_into().map_err(words)?;
    SeccompFilter::new(rules, other, matching, architecture).and_then(TryInto::try_into).map_err(words)
}

fn words(error: seccompiler::BackendError) -> String {
    error.to_string()
}

/// The argument of that number, of 32 bits, compared.
fn argument(number: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(number, SeccompCmpArgLen::Dword, operator, value).map_err(words)
}

fn equals(number: u8, value: i32) -> Result<SeccompCondition, String> {
    argument(number, SeccompCmpOp::Eq, u64::from(value.cast_unsigned()))
}

fn differs(number: u8, value: i32) -> Result<SeccompCondition, String> {
    argument(number, SeccompCmpOp::Ne, u64::from(value.cast_unsigned()))
}

/// Of these bits, those are set.
fn bits(number: u8, mask: i32, value: i32) -> Result<SeccompCondition, String> {
    let mask = u64::from(mask.cast_unsigned());
    argument(number, SeccompCmpOp::MaskedEq(mask), u64::from(value.cast_unsigned()))
}

fn rule<const N: usize>(conditions: [Result<SeccompCondition, String>; N]) -> Result<SeccompRule, String> {
    let conditions = conditions.into_iter().collect::<Result<Vec<_>, _>>()?;
    SeccompRule::new(conditions).map_err(words)
}

fn allowed(part: &Part) -> Result<Rules, String> {
    let mut rules = conditional()?;
    let mut always = |calls: &[i64]| rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    always(BASE);
    always(OLD_BASE);
    match part {
        Part::Client { .. } => always(NETWORK),
        Part::Receiver => {
            always(NETWORK);
            always(DESCRIPTORS);
            always(&[libc::SYS_accept4]);
        }
        Part::Mailboxes => {
            always(DESCRIPTORS);
            always(MAILBOXES);
            always(OLD_MAILBOXES);
        }
    }
    if let Part::Client { accepts } = part {
        let at = accepts.iter().map(|at| rule([equals(0, *at)])).collect::<Result<_, _>>()?;
        rules.insert(libc::SYS_accept4, at);
    }
    if *part != Part::Mailboxes {
        rules.insert(libc::SYS_socket, sockets()?);
        rules.insert(libc::SYS_socketpair, vec![rule([equals(0, libc::AF_UNIX)])?]);
        rules.insert(libc::SYS_clone, vec![rule([bits(0, libc::CLONE_THREAD, libc::CLONE_THREAD)])?]);
    }
    Ok(rules)
}

/// What depends on its arguments, whoever calls.
fn conditional() -> Result<Rules, String> {
    let own = std::process::id().cast_signed();
    let no_code = || bits(2, libc::PROT_EXEC, 0);
    let option = |option| rule([equals(0, option)]);
    let request = |request| rule([argument(1, SeccompCmpOp::Eq, request)]);
    Ok(Rules::from([
        (libc::SYS_mmap, vec![rule([no_code()])?]),
        (libc::SYS_mprotect, vec![rule([no_code()])?]),
        (libc::SYS_prlimit64, vec![rule([equals(0, 0)])?, rule([equals(0, own)])?]),
        (libc::SYS_tgkill, vec![rule([equals(0, own)])?]),
        // PR_SET_NO_NEW_PRIVS: the second filter is yet to come, and asks for it.
        (
            libc::SYS_prctl,
            vec![option(libc::PR_SET_NAME)?, option(libc::PR_GET_NAME)?, option(libc::PR_SET_NO_NEW_PRIVS)?],
        ),
        (libc::SYS_ioctl, vec![request(FIONBIO)?, request(FIOCLEX)?, request(FIONREAD)?, request(TCGETS)?]),
    ]))
}

/// Unix sockets, TCP and UDP; nothing that sees packets of others.
fn sockets() -> Result<Vec<SeccompRule>, String> {
    let mut rules = vec![rule([equals(0, libc::AF_UNIX)])?];
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in
            [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)]
        {
            for protocol in [0, protocol] {
                rules.push(rule([equals(0, family), bits(1, KIND, kind), equals(2, protocol)])?);
            }
        }
    }
    Ok(rules)
}

/// What answers EPERM: the named calls, of allowed ones those with other arguments.
fn forbidden(part: &Part) -> Result<Rules, String> {
    let allowed = allowed(part)?;
    let names = FORBIDDEN.iter().chain(OLD_FORBIDDEN).filter(|call| !allowed.contains_key(call));
    let mut rules: Rules = names.map(|call| (*call, Vec::new())).collect();
    // The first filter allows it for this one's sake.
    rules.insert(libc::SYS_seccomp, Vec::new());
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule([bits(2, libc::PROT_EXEC, libc::PROT_EXEC)])?]);
    }
    rules.insert(libc::SYS_tgkill, vec![rule([differs(0, std::process::id().cast_signed())])?]);
    match part {
        Part::Mailboxes => return Ok(rules),
        Part::Receiver => {}
        Part::Client { accepts } => {
            let conditions = accepts.iter().map(|at| differs(0, *at)).collect::<Result<Vec<_>, _>>()?;
            rules.insert(libc::SYS_accept4, vec![SeccompRule::new(conditions).map_err(words)?]);
        }
    }
    let mut others = vec![rule([bits(0, libc::CLONE_THREAD, 0)])?];
    for namespace in NAMESPACES {
        others.push(rule([bits(0, *namespace, *namespace)])?);
    }
    rules.insert(libc::SYS_clone, others);
    let family = rule([libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(|family| differs(0, family)))?;
    let raw = rule([differs(0, libc::AF_UNIX), bits(1, KIND, libc::SOCK_RAW)])?;
    rules.insert(libc::SYS_socket, vec![family, raw]);
    rules.insert(libc::SYS_socketpair, vec![rule([differs(0, libc::AF_UNIX)])?]);
    Ok(rules)
}

/// The bits of a socket's type that are no flags (SOCK_TYPE_MASK).
const KIND: i32 = 0xf;

// asm-generic/ioctls.h; libc has them as another type for each C library.
const TCGETS: u64 = 0x5401;
const FIONREAD: u64 = 0x541b;
const FIONBIO: u64 = 0x5421;
const FIOCLEX: u64 = 0x5451;
