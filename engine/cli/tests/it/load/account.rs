//! The account: what was accepted, what arrived, what was named as possibly twice.

use std::collections::BTreeMap;

use super::sender::{Serial, Told};
use super::sink::Arrival;

/// What a whole run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub accepted: usize,
    /// Sent to the end and not answered: they may have been accepted.
    pub in_doubt: usize,
    /// Recipients that got a message they were sent, and senders that got a bounce.
    pub delivered: usize,
    pub bounced: usize,
    /// Copies beyond the first.
    pub copies: usize,
    /// Recipients that the starts named as possibly getting a second copy.
    pub named: usize,
}

/// The recipients that log lines name as possibly getting a second copy, with how often.
fn named(lines: &[String]) -> BTreeMap<String, usize> {
    let mut named = BTreeMap::new();
    for line in lines.iter().filter(|line| line.contains("stat=Unknown")) {
        let address = line.split("to=<").nth(1).and_then(|rest| rest.split('>').next()).unwrap();
        *named.entry(address.to_owned()).or_default() += 1;
    }
    named
}

/// Balances the account, or panics with what is wrong. Every recipient of what was accepted has its message or its
/// bounce; nothing arrives that was not sent, or not whole; a second copy was named.
pub fn balance(told: &BTreeMap<Serial, Told>, arrivals: &[Arrival], lines: &[String]) -> Balance {
    let named = named(lines);
    let mut balance = Balance { named: named.values().sum(), ..Balance::default() };
    let mut arrived: BTreeMap<&str, usize> = BTreeMap::new();
    for arrival in arrivals {
        check(told, arrival);
        for to in &arrival.to {
            *arrived.entry(to).or_default() += 1;
        }
    }
    for (serial, told) in told {
        match told {
            Told::Accepted => balance.accepted += 1,
            Told::Nothing => balance.in_doubt += 1,
            Told::Refused(_) => {}
        }
        let bounces_to = serial.unknown().map(|_| serial.sender());
        for to in serial.recipients().into_iter().filter(|to| !to.starts_with("unknown-")).chain(bounces_to) {
            let count = arrived.remove(to.as_str()).unwrap_or(0);
            match told {
                Told::Accepted => assert!(count > 0, "{to}: accepted, and lost"),
                Told::Nothing => {}
                Told::Refused(_) => assert_eq!(count, 0, "{to}: refused, and delivered"),
            }
            let copies = count.saturating_sub(1);
            let may_be = named.get(&to).copied().unwrap_or(0);
            assert!(copies <= may_be, "{to}: {copies} copies too many, of which {may_be} were named");
            balance.copies += copies;
            let arrived =
                if to.starts_with("sender-") { &mut balance.bounced } else { &mut balance.delivered };
            *arrived += usize::from(count > 0);
        }
    }
    assert!(arrived.is_empty(), "nobody sent to {arrived:?}");
    balance
}

/// That a message is the one that was sent, whole; a bounce need only name its message.
fn check(told: &BTreeMap<Serial, Told>, arrival: &Arrival) {
    let text = String::from_utf8_lossy(&arrival.octets);
    let serial = text.lines().find_map(|line| line.strip_prefix("X-Serial: "));
    let serial = Serial(serial.unwrap().parse().unwrap());
    assert!(told.contains_key(&serial), "{serial:?} was never sent");
    if arrival.to.iter().any(|to| to.starts_with("sender-")) {
        assert_eq!(arrival.to, [serial.sender()]);
        return;
    }
    let sent = serial.octets();
    let body = sent.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert!(arrival.octets.ends_with(&sent[body..]), "{serial:?} is not whole");
    assert!(arrival.to.iter().all(|to| serial.recipients().contains(to)), "{serial:?}: {:?}", arrival.to);
}

#[test]
fn an_account_that_does_not_balance_is_found() {
    let (one, two) = (Serial(1), Serial(2));
    let told: BTreeMap<Serial, Told> = [(one, Told::Accepted), (two, Told::Nothing)].into();
    let arrival = |serial: Serial, to: &[String]| Arrival { to: to.to_vec(), octets: serial.octets() };
    let whole = arrival(one, &one.recipients());
    let first = arrival(one, &one.recipients()[..1]);
    let line =
        |to: &str| format!("x: 123: to=<{to}>, stat=Unknown (killed during delivery: it may arrive twice)");
    let balanced = balance(&told, &[whole.clone(), first.clone()], &[line(&one.recipients()[0])]);
    assert_eq!(balanced, Balance { accepted: 1, in_doubt: 1, delivered: 2, bounced: 0, copies: 1, named: 1 });
    let cut = Arrival { octets: whole.octets[..whole.octets.len() - 3].to_vec(), ..whole.clone() };
    let unbalanced = [
        ("lost", vec![first.clone()]),
        ("a copy that nobody named", vec![whole.clone(), first]),
        ("half a message", vec![cut]),
        ("not sent", vec![whole, arrival(Serial(4), &Serial(4).recipients())]),
    ];
    for (what, arrivals) in unbalanced {
        let told = told.clone();
        assert!(std::panic::catch_unwind(move || balance(&told, &arrivals, &[])).is_err(), "{what}");
    }
}
