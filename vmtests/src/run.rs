//! Runs a topology: hosts up, declarations applied, steps in order, expectations looked at.
//!
//! Knows no level: everything goes through [`Backend`].

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};

use mailstack_schema::host::Engine;
use mailstack_schema::topology::{
    Action, Apply, BySendmail, BySmtp, Dns, Expect, Message, Outcome, Send, Step,
};
use mailstack_schema::value;

use crate::backend::{Backend, BackendError, Event, HostPlan, Program};
use crate::check::{self, TOKEN_FIELD};
use crate::evidence::{self, Evidence, Logs};
use crate::plan::{self, Plan, texts};
use crate::report::{Report, StepReport, Voice};
use crate::served;
use crate::talk::{Exchange, Script, Transcript};

/// How long `mailstack apply` may take on a host, its proof included.
const APPLY: Duration = Duration::from_secs(60);
/// How long any other program may take.
const PROGRAM: Duration = Duration::from_secs(150);
/// Lines of all logs together that a failed step shows; its evidence has them all.
const LAST_LINES: usize = 20;
/// The place of a host's declaration.
const DECLARATION: &str = "/etc/mailstack/host.toml";

/// Brings up all hosts and runs all steps; after the first step that fails the rest would mislead and is left out.
/// `detailed`: the rules are asked for at every step, not only where one fails.
pub fn run(plan: &Plan, backend: &mut dyn Backend, level: &str, voice: Voice, detailed: bool) -> Report {
    let started = Instant::now();
    voice.heading(&plan.topology.name, plan.topology.description.as_deref(), plan.world.hosts.len());
    let mut report = Report::of(plan, level);
    let mut logs = Logs::default();
    let up = timed(voice, "hosts up, declarations applied", || start_all(plan, backend, voice).map(done));
    report.steps.push(up);
    // What was written before the first step belongs to none.
    let _ = logs.fresh(plan, backend);
    for (at, step) in plan.topology.step.iter().enumerate() {
        if report.counts().1 > 0 {
            break;
        }
        let name = step.name.clone().unwrap_or_else(|| format!("step {}", at + 1));
        let done = timed(voice, &name, || {
            Runner { plan, backend: &mut *backend, at, dialogue: Vec::new() }.whole(step, &mut logs, detailed)
        });
        report.steps.push(done);
    }
    if report.counts().1 == 0 {
        report.steps.push(timed(voice, "nothing arrived twice since", || recount(plan, backend).map(done)));
    }
    report.seconds = started.elapsed().as_secs_f64();
    report
}

fn done(failures: Vec<String>) -> (Vec<String>, Evidence) {
    (failures, Evidence::default())
}

fn timed(
    voice: Voice,
    name: &str,
    step: impl FnOnce() -> Result<(Vec<String>, Evidence), BackendError>,
) -> StepReport {
    voice.under_way(name);
    let started = Instant::now();
    let (failures, evidence) = step().unwrap_or_else(|error| done(vec![words(&error)]));
    let seconds = started.elapsed().as_secs_f64();
    let done = StepReport { name: name.to_owned(), failures, seconds, evidence };
    voice.step(&done);
    done
}

/// An error with its causes.
pub fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Brings up all hosts, and applies their declarations.
pub fn start_all(plan: &Plan, backend: &mut dyn Backend, voice: Voice) -> Result<Vec<String>, BackendError> {
    for host in plan.world.hosts.keys() {
        voice.under_way(&format!("{host} comes up"));
        backend.up(host)?;
    }
    for (host, machine) in &plan.world.hosts {
        if machine.declaration.is_some() {
            voice.under_way(&format!("{host}: mailstack apply"));
            go_live(backend, host, machine)?;
        }
    }
    Ok(Vec::new())
}

/// Applies the declaration of a host that has just come up, and starts who listens for it.
fn go_live(backend: &dyn Backend, host: &str, machine: &HostPlan) -> Result<(), BackendError> {
    apply(backend, host)?;
    let Some(words) = served::program(host, machine.served_by)? else { return Ok(()) };
    let program = root_program(words);
    let output = run_one(backend, host, &program, PROGRAM)?;
    if output.status.success() { Ok(()) } else { Err(BackendError::failed(host, &program, &output)) }
}

fn apply(backend: &dyn Backend, host: &str) -> Result<(), BackendError> {
    let program = root_program(&["mailstack", "apply", DECLARATION]);
    let output = run_one(backend, host, &program, APPLY)?;
    if output.status.success() { Ok(()) } else { Err(BackendError::failed(host, &program, &output)) }
}

fn root_program(words: &[&str]) -> Program {
    let command = words.iter().map(|&word| word.to_owned()).collect();
    Program { user: "root".to_owned(), command, input: Vec::new() }
}

fn run_one(
    backend: &dyn Backend,
    host: &str,
    program: &Program,
    deadline: Duration,
) -> Result<Output, BackendError> {
    let mut outputs = backend.run(host, std::slice::from_ref(program), deadline)?;
    Ok(outputs.remove(0))
}

/// The mark of a step's messages: of this step where it sends, else of the last one that did.
fn token(plan: &Plan, at: usize) -> String {
    let sends = |at: &usize| matches!(plan.topology.step[*at].action, Action::Send(_));
    let step = (0..=at).rev().find(sends).unwrap_or(at);
    format!("{}-{}", plan.topology.name, step + 1)
}

/// Looks at every delivery and notice of all steps once more: what came twice came after its step had ended.
fn recount(plan: &Plan, backend: &dyn Backend) -> Result<Vec<String>, BackendError> {
    let mut wrong = Vec::new();
    for (at, step) in plan.topology.step.iter().enumerate() {
        let holds = |expect: &&Expect| {
            let here = engine(plan, outcome_host(&expect.outcome));
            expect.not_on.as_ref().is_none_or(|not_on| not_on.reason(here).is_none())
        };
        let lasting = step.expect.iter().filter(holds).map(|expect| &expect.outcome);
        for outcome in
            lasting.filter(|outcome| matches!(outcome, Outcome::Delivered(_) | Outcome::Bounced(_)))
        {
            // A step that expects nothing yet may be overtaken by a later one.
            let nothing_yet = matches!(outcome, Outcome::Delivered(delivered) if delivered.count == Some(0));
            if !nothing_yet {
                wrong.extend(check::look(backend, outcome, &token(plan, at))?);
            }
        }
    }
    Ok(wrong)
}

struct Runner<'r> {
    plan: &'r Plan,
    backend: &'r mut dyn Backend,
    at: usize,
    dialogue: Vec<Exchange>,
}

impl Runner<'_> {
    /// The step with all that it left behind.
    fn whole(
        &mut self,
        step: &Step,
        logs: &mut Logs,
        detailed: bool,
    ) -> Result<(Vec<String>, Evidence), BackendError> {
        let mut failures = self.step(step).unwrap_or_else(|error| vec![words(&error)]);
        let failed = !failures.is_empty();
        let trail = logs.fresh(self.plan, self.backend)?;
        if failed {
            let last = trail.iter().skip(trail.len().saturating_sub(LAST_LINES));
            failures.extend(last.map(|line| format!("{}: {}", line.host, line.text)));
        }
        let rules =
            if failed || detailed { evidence::rules(self.plan, self.backend, step) } else { Vec::new() };
        let evidence = Evidence {
            action: evidence::action(step),
            dialogue: std::mem::take(&mut self.dialogue),
            trail,
            rules,
            expected: evidence::expected(step),
        };
        Ok((failures, evidence))
    }

    fn step(&mut self, step: &Step) -> Result<Vec<String>, BackendError> {
        let mut failures: Vec<String> = self.act(&step.action)?.into_iter().collect();
        let token = token(self.plan, self.at);
        for expect in &step.expect {
            if failures.is_empty() {
                failures.extend(self.expectation(expect, &token)?);
            }
        }
        Ok(failures)
    }

    /// What is wrong. On an engine that it is said not to hold on, that it holds.
    fn expectation(&self, expect: &Expect, token: &str) -> Result<Option<String>, BackendError> {
        let host = outcome_host(&expect.outcome);
        let reason = expect.not_on.as_ref().and_then(|not_on| not_on.reason(engine(self.plan, host)));
        let wrong = check::await_expectation(self.backend, expect, token)?;
        Ok(match (reason, wrong) {
            (None, wrong) => wrong,
            (Some(_), Some(_)) => None,
            (Some(reason), None) => {
                Some(format!("not_on is not needed: on {host} it is so, in spite of `{reason}`"))
            }
        })
    }

    fn act(&mut self, action: &Action) -> Result<Option<String>, BackendError> {
        match action {
            Action::Send(Send::Sendmail(send)) => self.by_sendmail(send),
            Action::Send(Send::Smtp(send)) => self.by_smtp(send),
            Action::Down(host) => self.backend.down(host).map(|()| None),
            Action::Up(host) => self.come_up(host).map(|()| None),
            Action::Flush(hosts) => self.flush(texts(hosts)),
            Action::Look(_) => Ok(None),
            event => self.event(event),
        }
    }

    /// What happens to hosts and networks. What was found on a disk behind its host's back is a failure.
    fn event(&mut self, action: &Action) -> Result<Option<String>, BackendError> {
        for event in events(action) {
            self.backend.perform(&event)?;
        }
        let found = self.backend.findings();
        match action {
            Action::Apply(apply) => self.apply_anew(apply),
            Action::RollBack(host) => {
                let program = root_program(&["mailstack", "rollback"]);
                let output = run_one(self.backend, host, &program, APPLY)?;
                let failed = || BackendError::failed(host, &program, &output).to_string();
                Ok((!output.status.success()).then(failed))
            }
            _ => Ok((!found.is_empty()).then(|| found.join("\n"))),
        }
    }

    fn apply_anew(&self, change: &Apply) -> Result<Option<String>, BackendError> {
        let host = &change.host;
        let text = plan::declared(&change.declaration, engine(self.plan, host)).map_err(|reason| {
            BackendError::Host { host: host.clone(), reason: format!("the declaration: {reason}") }
        })?;
        self.backend.put(host, DECLARATION, text.as_bytes())?;
        let program = root_program(&["mailstack", "apply", DECLARATION]);
        let output = run_one(self.backend, host, &program, APPLY)?;
        let failed = BackendError::failed(host, &program, &output);
        Ok(match (output.status.success(), change.refused.unwrap_or(false)) {
            (true, true) => Some("expected it to be refused".to_owned()),
            (false, false) => Some(failed.to_string()),
            _ => None,
        })
    }

    fn come_up(&mut self, host: &str) -> Result<(), BackendError> {
        self.backend.up(host)?;
        match self.plan.world.hosts.get(host) {
            Some(machine) if machine.declaration.is_some() => go_live(self.backend, host, machine),
            _ => Ok(()),
        }
    }

    fn by_sendmail(&self, send: &BySendmail) -> Result<Option<String>, BackendError> {
        let host = &send.message.from;
        let user = send.user.clone().unwrap_or_else(|| "root".to_owned());
        let mut command = vec!["/usr/sbin/sendmail".to_owned()];
        command.extend(send.args.iter().cloned());
        command.extend(send.message.envelope_from.iter().flat_map(|from| ["-f".to_owned(), from.clone()]));
        command.extend(send.message.to.iter().cloned());
        let program = Program { user, command, input: self.text(&send.message).into_bytes() };
        let output = run_one(self.backend, host, &program, PROGRAM)?;
        let expected = i32::from(send.exit.unwrap_or(0));
        let as_expected = output.status.code() == Some(expected);
        let failed = BackendError::failed(host, &program, &output);
        Ok((!as_expected).then(|| format!("expected exit status {expected}: {failed}")))
    }

    fn by_smtp(&mut self, send: &BySmtp) -> Result<Option<String>, BackendError> {
        let host = &send.message.from;
        let server = send.server.parse().map_err(|_| BackendError::Unknown {
            kind: "server (write address:port)",
            name: send.server.clone(),
        })?;
        let fqdn = self.plan.world.hosts.get(host).map(|machine| machine.fqdn.clone());
        let script = Script {
            server,
            hello: send.helo.clone().or(fqdn).unwrap_or_default(),
            from: bracketed(send.message.envelope_from.as_deref().unwrap_or_default()),
            to: send.message.to.iter().map(|to| bracketed(to)).collect(),
            message: self.text(&send.message),
        };
        let transcript = self.backend.talk(host, &script)?;
        self.dialogue.clone_from(&transcript.exchanges);
        Ok(judge(send, &transcript).map(|wrong| format!("{wrong}\n{}", shown(&transcript))))
    }

    fn text(&self, message: &Message) -> String {
        let headers: BTreeMap<&str, &str> =
            message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let body = message.body.as_deref().unwrap_or("This is a message of a topology.\n");
        format!("{fields}{TOKEN_FIELD}: {}\n\n{body}", token(self.plan, self.at))
    }

    /// Runs the queues, all at once: a host that is named twice has two runs at the same time.
    fn flush(&self, hosts: &[String]) -> Result<Option<String>, BackendError> {
        let mut runs: BTreeMap<&String, usize> = BTreeMap::new();
        hosts.iter().for_each(|host| *runs.entry(host).or_default() += 1);
        for (host, times) in runs {
            let program = match engine(self.plan, host) {
                Engine::Builtin => root_program(&["/usr/sbin/sendmail", "-q"]),
                // Its own -q runs one of its two queues, and not in the foreground.
                Engine::Sendmail => root_program(&["mailstack", "queue", "flush"]),
            };
            let outputs = self.backend.run(host, &vec![program.clone(); times], PROGRAM)?;
            if let Some(output) = outputs.iter().find(|output| !output.status.success()) {
                return Err(BackendError::failed(host, &program, output));
            }
        }
        Ok(None)
    }
}

/// What a level must do of a step.
fn events(action: &Action) -> Vec<Event> {
    let time = |text: &Option<String>| {
        text.as_deref().and_then(|text| value::duration(text).ok()).unwrap_or_default()
    };
    match action {
        Action::Partition(hosts) => {
            texts(hosts).iter().map(|host| Event::Link(host.clone(), false)).collect()
        }
        Action::Heal(hosts) => texts(hosts).iter().map(|host| Event::Link(host.clone(), true)).collect(),
        Action::Dns(state) => vec![Event::Dns(*state == Dns::Answers)],
        Action::DiskFull(host) => vec![Event::Disk(host.clone(), true)],
        Action::DiskFreed(host) => vec![Event::Disk(host.clone(), false)],
        Action::Delay(delay) => {
            let loss = f64::from(delay.loss.unwrap_or_default());
            vec![Event::Delay(delay.host.clone(), time(&delay.latency), loss)]
        }
        Action::Clock(clock) => vec![Event::Clock(clock.host.clone(), time(&Some(clock.forward.clone())))],
        Action::PowerCut(host) => vec![Event::PowerCut(host.clone())],
        _ => Vec::new(),
    }
}

/// Who runs the role of a host.
fn engine(plan: &Plan, host: &str) -> Engine {
    plan.world.hosts.get(host).map_or(Engine::Builtin, |host| host.engine)
}

/// The host that an expectation looks at.
fn outcome_host(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered(expected) => &expected.host,
        Outcome::Queued(expected) => &expected.host,
        Outcome::Bounced(expected) => &expected.host,
        Outcome::Listens(expected) => &expected.host,
    }
}

/// What differs from what the step says must be answered.
fn judge(send: &BySmtp, transcript: &Transcript) -> Option<String> {
    match (&send.refused, transcript.refusal()) {
        (None, None) if transcript.accepted() => None,
        (None, _) => Some("expected it to be accepted".to_owned()),
        (Some(refused), None) => Some(format!("expected {} and no refusal came", refused.code)),
        (Some(refused), Some(refusal)) => {
            let enhanced = refused.enhanced.as_deref();
            let same = refusal.code == refused.code && (enhanced.is_none() || enhanced == refusal.enhanced());
            (!same).then(|| format!("expected {} {}", refused.code, enhanced.unwrap_or_default()))
        }
    }
}

fn shown(transcript: &Transcript) -> String {
    let lines = transcript
        .exchanges
        .iter()
        .map(|exchange| format!("> {}\n< {} {}\n", exchange.said, exchange.code, exchange.text));
    lines.chain(transcript.broken.iter().map(|why| format!("! {why}\n"))).collect()
}

/// A path in angle brackets, unless it is written with its own.
fn bracketed(path: &str) -> String {
    if path.starts_with('<') { path.to_owned() } else { format!("<{path}>") }
}

#[cfg(test)]
mod tests {
    use mailstack_schema::topology::Refused;

    use super::*;
    use crate::talk::Exchange;

    fn transcript(code: u16, text: &str) -> Transcript {
        let exchange =
            |said: &str, code, text: &str| Exchange { said: said.to_owned(), code, text: text.to_owned() };
        let end = exchange("(message of 9 octets)", 250, "2.0.0 ok");
        Transcript { exchanges: vec![exchange("RCPT TO:<a@b>", code, text), end], broken: None }
    }

    #[test]
    fn answers_are_judged_by_code_and_enhanced_code() {
        let refused = |code, enhanced: Option<&str>| BySmtp {
            refused: Some(Refused { code, enhanced: enhanced.map(str::to_owned) }),
            ..BySmtp::default()
        };
        let denied = transcript(550, "5.7.1 <a@b>... Relaying denied");
        assert_eq!(judge(&refused(550, Some("5.7.1")), &denied), None);
        assert_eq!(judge(&refused(550, None), &denied), None);
        assert!(judge(&refused(550, Some("5.1.1")), &denied).is_some());
        assert!(judge(&refused(553, None), &denied).is_some());
        assert!(judge(&BySmtp::default(), &denied).is_some());
        let fine = transcript(250, "2.1.5 ok");
        assert_eq!(judge(&BySmtp::default(), &fine), None);
        assert!(judge(&refused(550, None), &fine).is_some());
        assert!(judge(&BySmtp::default(), &Transcript::default()).is_some());
    }
}
