//! Faults of a topology file as text: where, what, and the line itself.

use std::fmt::Write;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use mailstack_schema::Fault;

/// All faults of a file, each with its place and the source line underlined.
pub fn rendered(file: &Path, text: &str, faults: &[Fault]) -> String {
    let renderer = Renderer::styled();
    let name = file.display().to_string();
    faults.iter().fold(String::new(), |mut out, fault| {
        let title = fault.to_string();
        let marked =
            Snippet::source(text).path(&name).annotation(AnnotationKind::Primary.span(fault.span.clone()));
        let group = Level::ERROR.primary_title(&title).element(marked);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}\n", renderer.render(&[group]));
        out
    })
}
