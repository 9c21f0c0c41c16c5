//! Words of expectations that do not hold: where, what happens instead, and the line that decides so.

use annotate_snippets::Level;
use mailstack_policy::Step;
use mailstack_prove::expect::{Deciding, Unmet, unmet as found};
use mailstack_schema::spans::element;

use super::Words;
use super::declaration::{FaultReport, render_one, report};
use super::rule::{self, Origin, Part};
use crate::declaration::Declaration;

/// The expectations of a declaration that do not hold, each as a report and as text.
pub fn unmet(declaration: &Declaration) -> Vec<(FaultReport, String)> {
    let config = declaration.model.runtime_config();
    let one = |unmet: Unmet| {
        let expectations = declaration.model.expectations();
        let expected = expectations.get(unmet.index).map(ToString::to_string).unwrap_or_default();
        let words = Words::new(format!("not so: {expected}")).note(format!("instead it {}", unmet.instead));
        let words = match deciding(declaration, &unmet) {
            Some(decided) => words.note(decided),
            None => words,
        };
        let path = element("expect", unmet.index);
        let words = words.help("change the expectation, or what decides");
        let report = report(&declaration.sources, &declaration.spans.find(&path), &path, words);
        let text = render_one(&declaration.sources, &report, Level::ERROR);
        (report, text)
    };
    found(&config, declaration.model.expectations()).into_iter().map(one).collect()
}

/// The last rule that can be declared, else the last.
fn deciding(declaration: &Declaration, unmet: &Unmet) -> Option<String> {
    let part = match unmet.at {
        Deciding::Sender => Part::EnvelopeSender,
        Deciding::Recipient => Part::EnvelopeRecipient,
        Deciding::Hop => Part::NextHop,
    };
    let origin = |step: &Step| rule::origin(declaration, part, &step.rule);
    let declared = unmet.steps.iter().rev().find(|step| origin(step) != Origin::BuiltIn);
    let step = declared.or(unmet.steps.last())?;
    let meaning = rule::meaning(&step.rule);
    Some(match origin(step) {
        Origin::BuiltIn => format!("decided by: {meaning}"),
        origin => format!("decided by `{}`, {}: {meaning}", origin.key(), origin.place()),
    })
}
