//! New inputs from those that are there.

use crate::chance::Chance;

/// Octets that mean something to one reader or another.
const TELLING: &[u8] = b"\r\n.\0 <>\"\\@:=+%!,;()[]{}#-0129\t\x7f\x80\xff";
/// The most changes of one input.
const CHANGES: usize = 6;

/// Makes one input out of `from`: some changes, one upon another. `others` is what is spliced in.
pub fn mutate(
    chance: &mut Chance,
    from: &[u8],
    others: &[Vec<u8>],
    tokens: &[&str],
    longest: usize,
) -> Vec<u8> {
    let mut input = from.to_vec();
    for _ in 0..=chance.below(CHANGES) {
        change(chance, &mut input, others, tokens);
    }
    input.truncate(longest);
    input
}

fn change(chance: &mut Chance, input: &mut Vec<u8>, others: &[Vec<u8>], tokens: &[&str]) {
    let at = chance.below(input.len() + 1);
    match chance.below(11) {
        0 => flip(chance, input),
        1 => set(chance, input),
        2 => insert(input, at, &[telling(chance)]),
        3 | 4 => {
            let token = chance.pick(tokens).copied().unwrap_or("\r\n");
            insert(input, at, token.as_bytes());
        }
        5 => {
            let token = chance.pick(tokens).copied().unwrap_or("\r\n");
            let end = input.len().min(at + token.len());
            input.splice(at..end, token.bytes());
        }
        6 => {
            let range = range(chance, input.len());
            input.drain(range);
        }
        7 => {
            let copied = input[range(chance, input.len())].to_vec();
            insert(input, at, &copied);
        }
        8 => input.truncate(at),
        9 => splice(chance, input, at, others),
        _ => number(chance, input),
    }
}

fn telling(chance: &mut Chance) -> u8 {
    match chance.below(4) {
        0 => (chance.number() & 0xff) as u8,
        _ => chance.pick(TELLING).copied().unwrap_or(0),
    }
}

fn insert(input: &mut Vec<u8>, at: usize, octets: &[u8]) {
    input.splice(at..at, octets.iter().copied());
}

fn flip(chance: &mut Chance, input: &mut [u8]) {
    let (at, bit) = (chance.below(input.len()), chance.below(8));
    if let Some(octet) = input.get_mut(at) {
        *octet ^= 1 << bit;
    }
}

fn set(chance: &mut Chance, input: &mut [u8]) {
    let (at, telling) = (chance.below(input.len()), telling(chance));
    if let Some(octet) = input.get_mut(at) {
        *octet = telling;
    }
}

/// A part of so many octets; mostly a short one.
fn range(chance: &mut Chance, len: usize) -> std::ops::Range<usize> {
    let start = chance.below(len + 1);
    let most = if chance.below(4) == 0 { len } else { 16 };
    let end = len.min(start + chance.below(most.min(len - start) + 1));
    start..end
}

/// Goes on as another input does.
fn splice(chance: &mut Chance, input: &mut Vec<u8>, at: usize, others: &[Vec<u8>]) {
    if let Some(other) = chance.pick(others) {
        let from = chance.below(other.len() + 1);
        input.truncate(at);
        input.extend_from_slice(&other[from..]);
    }
}

/// Exchanges a number for one at the edge of something.
fn number(chance: &mut Chance, input: &mut Vec<u8>) {
    const EDGES: [&str; 12] = [
        "0",
        "1",
        "-1",
        "64",
        "255",
        "256",
        "512",
        "998",
        "2048",
        "65536",
        "4294967296",
        "18446744073709551616",
    ];
    let from = chance.below(input.len());
    let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let end = input[start..].iter().position(|b| !b.is_ascii_digit()).map_or(input.len(), |at| start + at);
    let edge = chance.pick(&EDGES).copied().unwrap_or("0");
    input.splice(start..end, edge.bytes());
}
