//! `mailstack plan`: what an apply would change, and why.

use std::fmt::Write;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use mailstack_deploy::plan::{Change, FileChange, Plan, Verb};

use super::activate::preview;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;

/// Shows the plan of a declaration.
pub fn plan(host: &HostTree, file: &Path, json: bool, exit_code: bool) -> Result<Exit, Failure> {
    let plan = preview(host, file)?;
    if json {
        super::print_json(&plan)?;
    } else {
        super::print(&render(&plan))?;
    }
    Ok(if exit_code && !plan.is_empty() { Exit::Pending } else { Exit::Done })
}

fn render(plan: &Plan) -> String {
    let mut text = String::new();
    let from = plan.from.as_ref().map_or("nothing", |digest| digest.short());
    let _ = writeln!(text, "from  {from}\nto    {}\n", plan.to.short());
    for file in &plan.files {
        file_change(&mut text, file);
    }
    for action in &plan.actions {
        let _ = writeln!(text, "{:<8} {}: {}", verb(action.verb), action.subject, action.reason);
    }
    text
}

fn file_change(text: &mut String, file: &FileChange) {
    let what = match file.change {
        Change::Added => "added",
        Change::Changed => "changed",
        Change::Removed => "removed",
    };
    let mode = file.mode.as_ref().map(|(old, new)| format!(", mode {old} to {new}")).unwrap_or_default();
    let _ = writeln!(text, "{} {what}{mode}", file.path);
    for line in file.diff.lines() {
        let style = match line.as_bytes().first() {
            Some(b'+') => AnsiColor::Green.on_default(),
            Some(b'-') => AnsiColor::Red.on_default(),
            Some(b'@') => AnsiColor::Cyan.on_default(),
            _ => Style::new(),
        };
        let _ = writeln!(text, "{style}{line}{style:#}");
    }
    text.push('\n');
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "start",
        Verb::Restart => "restart",
        Verb::Reload => "reload",
        Verb::Rebuild => "rebuild",
        Verb::Nothing => "nothing",
    }
}
