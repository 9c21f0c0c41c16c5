//! Fuzzing: targets that say what holds for every input, corpora of inputs, and what makes new ones of them.
//!
//! Owns: the targets, plain functions of octets that panic where something does not hold, and the runner. The corpora
//! lie in `corpus/TARGET`, a file an input; an input that found something stays there as `found-…`.
//!
//! # Why a runner of our own
//!
//! libFuzzer with sanitizers needs a nightly compiler; AFL++ and honggfuzz need tools that a checkout does not bring;
//! bolero without either has no feedback. The workspace is built by stable Rust alone and has no `unsafe`, so what a
//! sanitizer finds is not what is looked for here: it is rules that are broken, loops and panics. So inputs are made
//! here, repeatably: a seed decides every one of them. In place of the coverage of code stands that of behaviour:
//! targets tell by [`seen::note`] what an input came to (which error, which action in which order), and an input
//! that shows something new is kept and changed further. A front-end of libFuzzer is one line a target:
//! `fuzz_target!(|octets: &[u8]| mailstack_fuzz::targets::command(octets))`.

pub mod chance;
pub mod corpus;
pub mod minimise;
pub mod mutate;
pub mod run;
pub mod seen;
pub mod targets;

/// What is fuzzed.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Panics where something does not hold for these octets.
    pub check: fn(&[u8]),
    /// What inputs of it are made of, beside octets.
    pub tokens: &'static [&'static str],
    /// The most octets of an input that is made.
    pub longest: usize,
}

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.iter().find(|target| target.name == name).copied()
    }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "command", check: targets::command, tokens: targets::COMMAND_TOKENS, longest: 1024 },
    Target { name: "reply", check: targets::reply, tokens: targets::REPLY_TOKENS, longest: 4096 },
    Target { name: "data", check: targets::data, tokens: targets::DATA_TOKENS, longest: 512 },
    Target { name: "server", check: targets::server, tokens: targets::SERVER_TOKENS, longest: 2048 },
    Target { name: "client", check: targets::client, tokens: targets::CLIENT_TOKENS, longest: 1024 },
    Target { name: "address", check: targets::address, tokens: targets::ADDRESS_TOKENS, longest: 320 },
    Target { name: "header", check: targets::header, tokens: targets::HEADER_TOKENS, longest: 1024 },
    Target { name: "alias", check: targets::alias, tokens: targets::ALIAS_TOKENS, longest: 512 },
    Target { name: "access", check: targets::access, tokens: targets::ACCESS_TOKENS, longest: 160 },
    Target { name: "host", check: targets::host, tokens: targets::HOST_TOKENS, longest: 4096 },
    Target { name: "spool", check: targets::spool, tokens: targets::SPOOL_TOKENS, longest: 8192 },
];
