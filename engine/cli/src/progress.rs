//! What is said on standard error while something takes time.
//!
//! On a terminal one line that is rewritten, and only after a quarter of a second; elsewhere one line per step.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use annotate_snippets::Level;
use anstream::{eprint, eprintln};
use mailstack_deploy::apply::{Event, Step};

use crate::words;

/// Before this nothing is said of a step on a terminal.
const PATIENCE: Duration = Duration::from_millis(250);

/// Says what happens.
pub struct Progress {
    line: Option<Line>,
}

/// The line of a terminal, rewritten by a thread of its own: a step that takes long blocks its caller.
struct Line {
    steps: Sender<Option<Step>>,
    writer: JoinHandle<()>,
}

impl Progress {
    /// Progress on standard error.
    pub fn new() -> Self {
        let line = std::io::stderr().is_terminal().then(|| {
            let (steps, received) = mpsc::channel();
            Line { steps, writer: thread::spawn(move || write_line(&received)) }
        });
        Self { line }
    }

    /// Takes an event.
    pub fn take(&self, event: &Event) {
        match event {
            Event::Begin(step) => self.show(Some(*step)),
            Event::End(step, took) => {
                self.show(None);
                if self.line.is_none() && is_worth_a_line(*step) {
                    eprintln!("{:<34} {:>7.3} s", words::step(*step), took.as_secs_f64());
                }
            }
            Event::Failed(step) => {
                self.show(None);
                if self.line.is_none() {
                    eprintln!("{:<34} failed", words::step(*step));
                }
            }
            Event::Note(note) => {
                self.show(None);
                eprintln!("{}", words::note(note).render(Level::WARNING));
            }
        }
    }

    fn show(&self, step: Option<Step>) {
        if let Some(line) = &self.line {
            // The writer ends only after this value does.
            let _ = line.steps.send(step);
        }
    }
}

/// What is always done in no time says nothing in a log.
fn is_worth_a_line(step: Step) -> bool {
    !matches!(step, Step::Lock | Step::Generate | Step::Plan)
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(Line { steps, writer }) = self.line.take() {
            drop(steps);
            let _ = writer.join();
        }
    }
}

fn write_line(steps: &mpsc::Receiver<Option<Step>>) {
    let mut current: Option<Step> = None;
    let mut shown = false;
    loop {
        match steps.recv_timeout(PATIENCE) {
            Ok(step) => {
                if shown {
                    eprint!("\r\x1b[K");
                    shown = false;
                }
                current = step;
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(step) = current.filter(|_| !shown) {
                    eprint!("{} …", words::step(step));
                    shown = true;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
