//! What is to be looked at in the mail of a host that runs well. It is no failure of the host, and changes no exit code:
//! a next hop that is down must not have a container started again.

use mailstack_mta::control::Status as Mta;

use crate::table::{ago, time};
use crate::words::Words;

/// The age at which a message is worth a word (`Timeout.queuewarn`), in seconds.
const OLD: u64 = 4 * 3600;
/// How long before its end a certificate is, in seconds.
const SOON: u64 = 14 * 86_400;
/// Octets free below which there is little room.
const LITTLE: u64 = 256 << 20;
/// Destinations that are named.
const NAMED: usize = 5;

/// Warnings of a running MTA. `limit`: `limits.free_space`; `now`: seconds since 1970.
pub fn warnings(mta: &Mta, limit: u64, now: u64) -> Vec<Words> {
    let mut found: Vec<Words> = Vec::new();
    found.extend(old(mta, now));
    found.extend(troubled(mta));
    found.extend(room(mta, limit));
    found.extend(certificate(mta, now));
    if mta.confinement.is_some_and(|it| !it.seccomp) {
        let words = Words::new(
            "the MTA's system calls are not filtered: the kernel, or the container, refuses seccomp",
        );
        found.push(words.help("the log says why; mail is served all the same"));
    }
    if mta.damaged > 0 {
        let words = Words::new(format!("{} in the queue cannot go on", mta.damaged));
        found.push(words.help("mailstack queue list says what, where, and what to do"));
    }
    found
}

fn old(mta: &Mta, now: u64) -> Option<Words> {
    let oldest = mta.oldest?.0 / 1000;
    (now.saturating_sub(oldest) >= OLD).then(|| {
        let words = Words::new(format!("the oldest message waits for {}", ago(oldest)));
        words.help("mailstack queue list --older-than 4h")
    })
}

fn troubled(mta: &Mta) -> Option<Words> {
    let recipients: u64 = mta.troubles.iter().map(|trouble| trouble.recipients).sum();
    if recipients == 0 {
        return None;
    }
    let mut words = Words::new(format!("{recipients} recipients wait for hosts that take nothing"));
    for trouble in mta.troubles.iter().take(NAMED) {
        let since = ago(trouble.since.0 / 1000);
        let about = format!("{}: {} for {since}: {}", trouble.destination, trouble.recipients, trouble.said);
        words = words.note(about);
    }
    if let Some(more) = mta.troubles.len().checked_sub(NAMED).filter(|more| *more > 0) {
        words = words.note(format!("and {more} more"));
    }
    Some(
        words.help("put right what is said there; mailstack queue flush --destination HOST tries it at once"),
    )
}

fn room(mta: &Mta, limit: u64) -> Option<Words> {
    let free = mta.free?;
    if free >= LITTLE.max(limit.saturating_mul(2)) {
        return None;
    }
    let title = match free < limit {
        true => format!("only {} MiB are free for the queue: new mail is put off (452)", free >> 20),
        false => format!("only {} MiB are free for the queue", free >> 20),
    };
    Some(Words::new(title).help("make room on its file system"))
}

fn certificate(mta: &Mta, now: u64) -> Option<Words> {
    let expires = mta.certificate_expires?;
    if expires > now.saturating_add(SOON) {
        return None;
    }
    let title = match expires <= now {
        true => format!("the certificate has expired, on {}", time(expires)),
        false => format!("the certificate expires on {}", time(expires)),
    };
    Some(Words::new(title).help("renew it, and run mailstack reload"))
}

#[cfg(test)]
mod tests {
    use mailstack_mta::message::Timestamp;
    use mailstack_mta::queue::Trouble;
    use mailstack_mta::run::Confinement;
    use mailstack_runtime::Role;

    use super::*;

    const NOW: u64 = 1_795_190_602;

    fn good() -> Mta {
        Mta {
            pid: 1,
            role: Role::Gateway,
            hostname: "gw.corp.example".into(),
            since: Timestamp(0),
            listening: Vec::new(),
            sessions: 0,
            queued: 0,
            damaged: 0,
            dropped: 0,
            refused: 0,
            oldest: Some(Timestamp((NOW - 60) * 1000)),
            held: 0,
            free: Some(1 << 40),
            certificate_expires: Some(NOW + 30 * 86_400),
            troubles: Vec::new(),
            confinement: Some(Confinement { seccomp: true, landlock: 0 }),
        }
    }

    #[test]
    fn each_thing_to_look_at_is_said_with_what_to_do() {
        assert!(warnings(&good(), 1 << 20, NOW).is_empty());
        let trouble = |n: u64| Trouble {
            destination: format!("mx{n}.example"),
            recipients: n,
            since: Timestamp(NOW * 1000),
            said: "Connection refused".into(),
        };
        type Spoil = fn(&mut Mta);
        let table: [(Spoil, &str); 7] = [
            (|mta| mta.oldest = Some(Timestamp((NOW - 5 * 3600) * 1000)), "the oldest message waits"),
            (|mta| mta.free = Some(200 << 20), "only 200 MiB are free for the queue"),
            (|mta| mta.free = Some(1 << 10), "new mail is put off"),
            (|mta| mta.certificate_expires = Some(NOW + 13 * 86_400), "the certificate expires on"),
            (|mta| mta.certificate_expires = Some(NOW), "the certificate has expired"),
            (|mta| mta.confinement = Some(Confinement::default()), "system calls are not filtered"),
            (|mta| mta.damaged = 2, "2 in the queue cannot go on"),
        ];
        for (spoil, said) in table {
            let mut mta = good();
            spoil(&mut mta);
            let found = warnings(&mta, 100 << 20, NOW);
            assert_eq!(found.len(), 1, "{said}");
            assert!(found[0].title.contains(said) && found[0].help.len() == 1, "{:?}", found[0]);
        }
        let mta = Mta { troubles: (1..=7).rev().map(trouble).collect(), ..good() };
        let found = warnings(&mta, 0, NOW);
        assert!(found[0].title.starts_with("28 recipients wait"), "{found:?}");
        assert_eq!(found[0].notes.len(), NAMED + 1);
        assert!(found[0].notes[0].starts_with("mx7.example: 7 for "), "{found:?}");
        assert_eq!(found[0].notes[NAMED], "and 2 more");
    }
}
