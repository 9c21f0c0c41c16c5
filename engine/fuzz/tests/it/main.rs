//! The corpora hold, and so does what is made of them: a short run of every target.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use mailstack_fuzz::minimise::minimise;
use mailstack_fuzz::run::{Bound, Report, fault, run};
use mailstack_fuzz::{TARGETS, Target, corpus, seen};

/// Inputs that are made for each target.
const INPUTS: u64 = 3000;
/// `MAILSTACK_FUZZ_SEED` is another one.
const SEED: u64 = 1;

fn inputs(target: Target) -> Vec<Vec<u8>> {
    let inputs = corpus::read(&corpus::directory(), target.name).unwrap();
    inputs.into_iter().map(|(_, input)| input).collect()
}

#[test]
fn every_input_that_is_kept_holds() {
    for target in TARGETS {
        let inputs = corpus::read(&corpus::directory(), target.name).unwrap();
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for (name, input) in inputs {
            assert_eq!(fault(*target, &input), None, "{}/{name}", target.name);
        }
    }
}

#[test]
fn a_short_run_finds_nothing() {
    let seed = std::env::var("MAILSTACK_FUZZ_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    std::thread::scope(|scope| {
        for target in TARGETS {
            scope.spawn(move || match run(*target, &inputs(*target), seed, Bound::Inputs(INPUTS)) {
                Ok(report) => assert!(report.seen > 3, "{}: {report:?}", target.name),
                Err(finding) => panic!(
                    "{}, seed {seed}: {}\nkeep as engine/fuzz/corpus/{}/found-…: {}",
                    target.name,
                    finding.message,
                    target.name,
                    finding.input.escape_ascii()
                ),
            });
        }
    });
}

/// Wrong for what begins with `MAIL` and has a `%` later, which is only reached by way of what is seen.
fn picky(octets: &[u8]) {
    let word = b"MAIL%";
    let matched = octets.iter().zip(word).take_while(|(a, b)| a == b).count();
    seen::note(matched);
    assert!(matched < word.len(), "found it");
}

const PICKY: Target = Target { name: "picky", check: picky, tokens: &["x"], longest: 64 };

#[test]
fn what_is_seen_leads_to_what_is_wrong_and_a_seed_repeats_it() {
    let found = run(PICKY, &[b"MAxy".to_vec()], 7, Bound::Inputs(400_000)).unwrap_err();
    assert_eq!((found.input.as_slice(), found.message.contains("found it")), (&b"MAIL%"[..], true));
    assert_eq!(run(PICKY, &[b"MAxy".to_vec()], 7, Bound::Inputs(400_000)).unwrap_err(), found);
    let quiet = Target { check: |_| (), ..PICKY };
    let report = run(quiet, &[b"a".to_vec()], 7, Bound::Inputs(10)).unwrap();
    assert_eq!(report, Report { inputs: 11, kept: 1, seen: 0 });
}

#[test]
fn the_least_input_is_found() {
    let least = minimise(b"some text with a \0 and more, and then ! far behind", |input| {
        input.contains(&0) && input.contains(&b'!')
    });
    assert_eq!(least, b"\0!");
}
