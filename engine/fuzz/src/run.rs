//! The runner: corpora first, then what is made of them, until a bound or a finding.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::Target;
use crate::chance::Chance;
use crate::minimise::minimise;
use crate::mutate::mutate;
use crate::seen;

/// How long one input may take: far longer than any does on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);
/// The most inputs that are kept to be changed further.
const KEPT: usize = 20_000;

/// When a run ends that finds nothing.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// After so many inputs that were made.
    Inputs(u64),
    /// After so long.
    Time(Duration),
}

/// A run that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Inputs that were tried, the corpus among them.
    pub inputs: u64,
    /// Inputs that are changed further.
    pub kept: usize,
    /// What was seen of behaviour.
    pub seen: usize,
}

/// An input for which something does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The octets.
    pub input: Vec<u8>,
    /// What does not hold.
    pub message: String,
    /// Which input of the run it was.
    pub number: u64,
}

/// Tries the inputs, then such as are made of them. Errors: the first input that finds something, as small as it gets.
pub fn run(target: Target, inputs: &[Vec<u8>], seed: u64, bound: Bound) -> Result<Report, Finding> {
    let begin = Instant::now();
    let mut run = Run { target, seen: HashSet::new(), kept: Vec::new(), tried: 0 };
    for input in inputs {
        run.try_one(input)?;
    }
    // What the corpus holds is changed whether it shows anything new or not.
    run.kept = inputs.to_vec();
    let mut chance = Chance::new(seed);
    let mut made = 0;
    while match bound {
        Bound::Inputs(most) => made < most,
        Bound::Time(most) => begin.elapsed() < most,
    } {
        let from = chance.pick(&run.kept).cloned().unwrap_or_default();
        let input = mutate(&mut chance, &from, &run.kept, target.tokens, target.longest);
        if run.try_one(&input)? && run.kept.len() < KEPT {
            run.kept.push(input);
        }
        made += 1;
    }
    Ok(Report { inputs: run.tried, kept: run.kept.len(), seen: run.seen.len() })
}

struct Run {
    target: Target,
    seen: HashSet<u64>,
    kept: Vec<Vec<u8>>,
    tried: u64,
}

impl Run {
    /// Whether it shows anything new.
    fn try_one(&mut self, input: &[u8]) -> Result<bool, Finding> {
        self.tried += 1;
        seen::take();
        let begin = Instant::now();
        if let Some(message) = fault(self.target, input) {
            let input = minimise(input, |smaller| fault(self.target, smaller).is_some());
            let message = fault(self.target, &input).unwrap_or(message);
            return Err(Finding { input, message, number: self.tried });
        }
        if begin.elapsed() > LONGEST {
            let message = format!("took {} seconds", begin.elapsed().as_secs());
            return Err(Finding { input: input.to_vec(), message, number: self.tried });
        }
        let before = self.seen.len();
        self.seen.extend(seen::take());
        Ok(self.seen.len() > before)
    }
}

thread_local! {
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
    static IS_CHECKING: Cell<bool> = const { Cell::new(false) };
}

/// What does not hold for an input; None: all does.
pub fn fault(target: Target, input: &[u8]) -> Option<String> {
    catch_silently();
    IS_CHECKING.set(true);
    let ended = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    IS_CHECKING.set(false);
    let caught = CAUGHT.take();
    ended.err().map(|payload| caught.unwrap_or_else(|| words(&*payload)))
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("it panics").to_owned()
}

/// Panics of targets are findings: they are told once, when the least input is known.
fn catch_silently() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| match IS_CHECKING.get() {
            true => CAUGHT.set(Some(panic.to_string())),
            false => usual(panic),
        }));
    });
}
