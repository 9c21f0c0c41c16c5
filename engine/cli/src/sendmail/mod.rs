//! `sendmail`, `mailq` and `newaliases`: what programs of a host have always called.
//!
//! Owns their command lines, the reading of a message, and the exit codes of sysexits.h. Handing in is
//! [`mailstack_mta::submission`]'s. Runs as whoever calls it, without privilege.

mod flags;
mod fold;
mod mailq;
mod message;
mod resent;
mod stdio;
mod verify;

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::process::ExitCode;

use mailstack_deploy::generation::Store;
use mailstack_mta::control::{Client, ControlError, Item, MAX_IDS, Operation};
use mailstack_mta::host::{Root, Users, own_name};
use mailstack_mta::message::{Notify, QueueId, Ret};
use mailstack_mta::queue::Selector;
use mailstack_mta::submission::{self, Lines, MAX_RECIPIENTS, Request, Submitted, is_envid};
use mailstack_mta::sysexits::{EX_CONFIG, EX_DATAERR, EX_IOERR, EX_OK, EX_OSERR, EX_UNAVAILABLE, EX_USAGE};
use mailstack_policy::{Address, ReversePath};
use mailstack_runtime::{CONFIG_PATH, Config, Paths};

pub use mailq::dropped_line;

use flags::{Flags, Mode, Restriction};
use mailq::Wanted;
use message::{BadMessage, Head};

/// What the program was called as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// `sendmail`
    Sendmail,
    /// `mailq`: `sendmail -bp`
    Mailq,
    /// `newaliases`: `sendmail -bi`
    Newaliases,
}

impl Personality {
    /// The personality of this name, if it is one.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "sendmail" => Some(Self::Sendmail),
            "mailq" => Some(Self::Mailq),
            "newaliases" => Some(Self::Newaliases),
            _ => None,
        }
    }
}

/// Why a call fails: its exit code, and the line that says so.
struct Failed(u8, String);

/// Does what `words`, those behind the program's name, ask for, on the host below `root`.
pub fn main(personality: Personality, words: &[String], root: &Path) -> ExitCode {
    let done = flags::parse(words).map_err(|bad| Failed(EX_USAGE, bad.to_string())).and_then(|mut flags| {
        match personality {
            Personality::Sendmail => {}
            Personality::Mailq => flags.mode = Mode::ListQueue,
            Personality::Newaliases => flags.mode = Mode::NewAliases,
        }
        run(&flags, root)
    });
    let code = done.unwrap_or_else(|Failed(code, said)| {
        eprintln!("sendmail: {said}");
        code
    });
    ExitCode::from(code)
}

fn run(flags: &Flags, root: &Path) -> Result<u8, Failed> {
    let config = config(root)?;
    if let Some(sendmail) = &config.sendmail {
        let text = format!("the host's Sendmail runs the role: call {}", sendmail.program.display());
        return Err(Failed(EX_CONFIG, text));
    }
    let (root, paths) = (Root::new(root), &config.paths);
    match flags.mode {
        Mode::Submit => submit(flags, &root, &config),
        Mode::Smtp => stdio::serve(&root, paths).map_err(|e| Failed(EX_UNAVAILABLE, e.to_string())),
        Mode::ListQueue => {
            let select = selector(&flags.restriction);
            let wanted = Wanted { select, named: flags.restriction.id.clone(), verbose: flags.verbose };
            mailq::print(&root, &config, wanted, &mut io::stdout().lock())
        }
        Mode::RunQueue => run_queue(&root, &config, &flags.restriction),
        Mode::Verify => verify(flags, &root, &config),
        // The aliases are part of the declaration: `mailstack apply` takes them in.
        Mode::NewAliases => Ok(EX_OK),
    }
}

/// The configuration of the live generation.
fn config(root: &Path) -> Result<Config, Failed> {
    let file = Store::below(root).current_link().join(CONFIG_PATH);
    let unreadable = |why: String| Failed(EX_CONFIG, format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failed(EX_CONFIG, "nothing is set up here yet; run mailstack apply".to_owned())
        }
        _ => unreadable(error.to_string()),
    })?;
    toml::from_str(&text).map_err(|error| unreadable(error.message().to_owned()))
}

fn verify(flags: &Flags, root: &Root, config: &Config) -> Result<u8, Failed> {
    let given = flags.recipients.iter().map(|word| message::list(word.as_bytes()));
    let given = given.collect::<Result<Vec<_>, _>>().map_err(bad_message)?.concat();
    if given.is_empty() {
        return Err(Failed(EX_USAGE, "-bv: no addresses to verify".to_owned()));
    }
    verify::verify(root, config, &given, &mut io::stdout().lock())
}

fn run_queue(root: &Root, config: &Config, restriction: &Restriction) -> Result<u8, Failed> {
    let flushed = Client::connect(root, &config.paths).and_then(|mut client| {
        client.scan_drop()?;
        if *restriction == Restriction::default() {
            return client.flush();
        }
        let mut select = selector(restriction);
        if let Some(part) = &restriction.id {
            select.ids = named(root, &config.paths, part)?;
            if select.ids.is_empty() {
                return Ok(());
            }
        }
        client.queue_operate(&Operation::Flush, select, false, &mut |_| ())
    });
    flushed.map(|()| EX_OK).map_err(unanswered)
}

/// The messages with this in their name, as many as one request may name.
fn named(root: &Root, paths: &Paths, part: &str) -> Result<Vec<QueueId>, ControlError> {
    let entries = Client::connect(root, paths)?.queue_list(None, None, Selector::default())?;
    let id = |item| match item {
        Ok(Item::Message(entry)) if entry.id.to_string().contains(part) => Some(Ok(entry.id)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    };
    entries.filter_map(id).take(MAX_IDS).collect()
}

fn selector(restriction: &Restriction) -> Selector {
    let anywhere = |text: &Option<String>| text.as_ref().map(|text| format!("*{text}*"));
    Selector {
        sender: anywhere(&restriction.sender),
        recipient: anywhere(&restriction.recipient),
        ..Selector::default()
    }
}

fn unanswered(error: ControlError) -> Failed {
    Failed(EX_UNAVAILABLE, error.to_string())
}

fn submit(flags: &Flags, root: &Root, config: &Config) -> Result<u8, Failed> {
    let mut lines = Lines::new(BufReader::new(io::stdin().lock()), !flags.dot_is_text);
    let mut head = message::read_head(&mut lines).map_err(bad_message)?;
    if head == Head::default() && stdio::is_closed() {
        return Err(Failed(EX_IOERR, "standard input is closed".to_owned()));
    }
    let request = request(flags, root, &head)?;
    complete_resent(&mut head, root, config, &request);
    head.remove_bcc();
    if let Some(name) = &flags.full_name {
        head.add_from(name, &request.sender.address().map(Address::to_string).unwrap_or_default());
    }
    let mut whole = Whole { ready: Cursor::new(start(&head)), lines };
    match submission::submit(root, config, &request, &mut whole) {
        Ok(submitted) => Ok(said(flags, &submitted)),
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Err(Failed(error.exit_code(), format!("{error}{cause}")))
        }
    }
}

/// A message that is sent on says by whom, and when.
fn complete_resent(head: &mut Head, root: &Root, config: &Config, request: &Request) {
    let hostname = config.hostname.clone().unwrap_or_else(|| own_name(root).name);
    let sender = match request.sender.address() {
        Some(sender) if sender.domain().is_none() => format!("{sender}@{hostname}"),
        Some(sender) => sender.to_string(),
        None => format!("MAILER-DAEMON@{hostname}"),
    };
    let now = jiff::Zoned::now();
    let date = now.strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
    let (time, process) = (now.strftime("%Y%m%d%H%M%S%6f"), std::process::id());
    head.complete_resent(&sender, &date, &format!("<{time}.{process}@{hostname}>"));
}

fn bad_message(bad: BadMessage) -> Failed {
    match bad {
        BadMessage::Input(error) => Failed(EX_IOERR, format!("standard input: {error}")),
        bad => Failed(EX_DATAERR, bad.to_string()),
    }
}

fn said(flags: &Flags, submitted: &Submitted) -> u8 {
    match submitted {
        Submitted::Queued { reply, refused } => {
            refused.iter().for_each(|(address, reply)| eprintln!("sendmail: {address}: {reply}"));
            if flags.verbose {
                eprintln!("{reply}");
            }
            if !refused.is_empty() {
                eprintln!("sendmail: the other recipients get the message");
            }
        }
        Submitted::Dropped { name } => {
            if flags.verbose {
                eprintln!("the MTA does not run; waits for it as {name}");
            }
        }
    }
    submitted.exit_code()
}

fn request(flags: &Flags, root: &Root, head: &Head) -> Result<Request, Failed> {
    let given = flags.recipients.iter().map(|word| message::list(word.as_bytes()));
    let given = given.collect::<Result<Vec<_>, _>>().map_err(bad_message)?.concat();
    let recipients = match flags.recipients_from_header {
        // Those of the command line get it too, as with Postfix.
        true => head.recipients().map_err(bad_message)?.into_iter().chain(given).collect(),
        false => given,
    };
    let recipients = once(recipients);
    if recipients.is_empty() {
        return Err(Failed(EX_USAGE, "no recipient addresses (see -t)".to_owned()));
    }
    if recipients.len() > MAX_RECIPIENTS as usize {
        let text =
            format!("{} recipients, and {MAX_RECIPIENTS} are the most; nothing is sent", recipients.len());
        return Err(Failed(EX_DATAERR, text));
    }
    let mut request = Request::new(sender(flags, root)?, recipients);
    request.envid = flags.envid.clone();
    if let Some(envid) = request.envid.as_ref().filter(|envid| !is_envid(envid)) {
        return Err(Failed(EX_USAGE, format!("-V {}: no ENVID of RFC 3461", envid.escape_debug())));
    }
    if let Some(body) = &flags.body
        && !["7BIT", "8BITMIME"].iter().any(|kind| body.eq_ignore_ascii_case(kind))
    {
        return Err(Failed(EX_USAGE, format!("-B {}: 7BIT or 8BITMIME", body.escape_debug())));
    }
    request.ret = flags.ret.as_deref().map(ret).transpose()?;
    request.notify = flags.notify.as_deref().map(notify).transpose()?;
    Ok(request)
}

fn once(addresses: Vec<Address>) -> Vec<Address> {
    let mut seen = std::collections::BTreeSet::new();
    addresses.into_iter().filter(|address| seen.insert(address.clone())).collect()
}

/// The envelope sender: as given, else the name of the user who calls.
fn sender(flags: &Flags, root: &Root) -> Result<ReversePath, Failed> {
    let Some(given) = &flags.sender else {
        return caller(root).map(ReversePath::Address);
    };
    let text = given.trim();
    let text = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    if !text.is_ascii() {
        return Err(bad_message(BadMessage::NotAscii(format!("-f {given}"))));
    }
    let path = ReversePath::try_from(text.to_owned());
    path.map_err(|error| Failed(EX_DATAERR, format!("-f {given}: {error}")))
}

fn caller(root: &Root) -> Result<Address, Failed> {
    let uid = nix::unistd::getuid().as_raw();
    let user = Users::of(root).by_uid(uid).map_err(|error| Failed(EX_OSERR, format!("passwd: {error}")))?;
    let user =
        user.ok_or_else(|| Failed(EX_OSERR, format!("no user has the id {uid}; name a sender with -f")))?;
    if !user.name.is_ascii() {
        return Err(bad_message(BadMessage::NotAscii(user.name)));
    }
    Address::new(user.name, None).map_err(|error| Failed(EX_OSERR, format!("the caller's name: {error}")))
}

fn ret(text: &str) -> Result<Ret, Failed> {
    match text.to_ascii_lowercase().as_str() {
        "full" => Ok(Ret::Full),
        "hdrs" => Ok(Ret::Headers),
        _ => Err(Failed(EX_USAGE, format!("-R {text}: full or hdrs"))),
    }
}

fn notify(text: &str) -> Result<Notify, Failed> {
    let mut notify = Notify { success: false, failure: false, delay: false };
    if text.eq_ignore_ascii_case("never") {
        return Ok(notify);
    }
    for word in text.split(',') {
        match word.trim().to_ascii_lowercase().as_str() {
            "success" => notify.success = true,
            "failure" => notify.failure = true,
            "delay" => notify.delay = true,
            _ => return Err(Failed(EX_USAGE, format!("-N {text}: never, or of success, failure, delay"))),
        }
    }
    Ok(notify)
}

/// What has been read of the message and what goes on: the header, the empty line, the body so far.
fn start(head: &Head) -> Vec<u8> {
    [&fold::fold(&head.block)[..], b"\r\n", &head.body_start].concat()
}

/// The whole message: what was read of it, then its lines as they come.
struct Whole<R> {
    ready: Cursor<Vec<u8>>,
    lines: Lines<R>,
}

impl<R: BufRead> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.ready.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        let mut next = std::mem::take(&mut self.ready).into_inner();
        next.clear();
        // Several lines at once: a line may be a single octet.
        while next.len() < buffer.len() && self.lines.next_into(&mut next)? {}
        self.ready = Cursor::new(next);
        self.ready.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_status_parameters() {
        let never = Notify { success: false, failure: false, delay: false };
        assert!(notify("never").is_ok_and(|n| n == never));
        assert!(notify("failure, delay").is_ok_and(|n| n == Notify { failure: true, delay: true, ..never }));
        assert!(notify("always").is_err_and(|Failed(code, _)| code == EX_USAGE));
        assert!(ret("HDRS").is_ok_and(|r| r == Ret::Headers));
        assert!(ret("half").is_err());
    }

    #[test]
    fn a_message_is_read_whole() {
        let mut lines = Lines::new(&b"Subject: x\n\nbody\n..\nend"[..], true);
        let head = message::read_head(&mut lines).unwrap();
        let mut whole = Whole { ready: Cursor::new(start(&head)), lines };
        let mut text = String::new();
        whole.read_to_string(&mut text).unwrap();
        assert_eq!(text, "Subject: x\r\n\r\nbody\r\n..\r\nend\r\n");
    }
}
