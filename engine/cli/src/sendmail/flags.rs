//! The command line of `sendmail`, as scripts have written it for forty years.
//!
//! A flag may stand alone or in a group (`-ti`); one that takes a value takes the rest of its word, or the next
//! word. What has no meaning here is read and passed over, as Postfix does, so that no script breaks; what would
//! start another program than a submission is a mode, or refused.

use std::fmt;

/// What a call asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// What to do.
    pub mode: Mode,
    /// `-t`: recipients are in the header too.
    pub recipients_from_header: bool,
    /// `-i`, `-oi`: a line of a single dot does not end the message.
    pub dot_is_text: bool,
    /// `-f`, `-r`: the envelope sender; empty for the null sender.
    pub sender: Option<String>,
    /// `-F`: the full name of the sender.
    pub full_name: Option<String>,
    /// `-N`: `NOTIFY` of RFC 3461.
    pub notify: Option<String>,
    /// `-R`: `RET` of RFC 3461.
    pub ret: Option<String>,
    /// `-V`: `ENVID` of RFC 3461.
    pub envid: Option<String>,
    /// `-qI`, `-qS`, `-qR`: only messages with this in their name, sender, or a recipient.
    pub restriction: Restriction,
    /// `-B`: `7BIT` or `8BITMIME`; either may have octets over 127.
    pub body: Option<String>,
    /// `-v`: say what happens.
    pub verbose: bool,
    /// The recipients of the command line.
    pub recipients: Vec<String>,
}

/// Which part of the queue is meant, by what is in it anywhere, as Sendmail reads it; None: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restriction {
    /// `-qI`: the queue id.
    pub id: Option<String>,
    /// `-qS`: the sender.
    pub sender: Option<String>,
    /// `-qR`: a recipient.
    pub recipient: Option<String>,
}

/// What `sendmail` is to do (`-b`, `-q`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `-bm`: read a message and send it.
    #[default]
    Submit,
    /// `-bs`: speak SMTP on standard input and output.
    Smtp,
    /// `-bp`: list the queue.
    ListQueue,
    /// `-bi`, `-I`: rebuild the alias database.
    NewAliases,
    /// `-bv`: say where the recipients would go.
    Verify,
    /// `-q`: try everything in the queue now.
    RunQueue,
}

/// A command line that cannot be followed (EX_USAGE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadFlags {
    /// A mode that is another program's business.
    Mode(char),
    /// A part of the queue that there is not.
    Queue(char),
    /// A flag without its value.
    NoValue(char),
    /// A flag that no sendmail has.
    Unknown(char),
}

impl fmt::Display for BadFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadFlags::Mode('d' | 'D') => f.write_str("-bd: the daemon is started by mailstack apply"),
            BadFlags::Mode('t') => f.write_str("-bt: not supported; see mailstack trace"),
            BadFlags::Mode('h' | 'H') => f.write_str("-bh and -bH: not supported; see mailstack status"),
            BadFlags::Mode(mode) => write!(f, "-b{mode}: no such mode"),
            BadFlags::Queue(what) => write!(f, "-q{what}: not supported; see mailstack queue --help"),
            BadFlags::NoValue(flag) => write!(f, "-{flag}: a value must follow"),
            BadFlags::Unknown(flag) => write!(f, "-{flag}: no such flag"),
        }
    }
}

/// Flags whose value is the rest of the word or the next word.
const WITH_VALUE: &str = "fFrNRVBhoOLXCdpDMAe";
/// Flags whose value, if any, is the rest of the word.
const OPTIONAL_VALUE: &str = "q";
/// Flags without a meaning here: -G relay, -U user submission, -n no aliases, -m me too, -c, -s, -w, -x of others. Of
/// those with a value -A, -C, -D, -L, -M, -X, -d, -e, -h, -p, and -o, -O but for what is about dots.
const PASSED_OVER: &str = "GUncmsxw";

/// Reads the words behind the program's name.
pub fn parse(words: &[String]) -> Result<Flags, BadFlags> {
    let mut flags = Flags::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some("-") => {
                flags.recipients.extend(words.by_ref().cloned());
            }
            Some(group) if !group.is_empty() => flags.read_group(group, &mut words)?,
            _ => flags.recipients.push(word.clone()),
        }
    }
    Ok(flags)
}

impl Flags {
    fn read_group<'w>(
        &mut self,
        group: &str,
        words: &mut impl Iterator<Item = &'w String>,
    ) -> Result<(), BadFlags> {
        let mut rest = group.chars();
        while let Some(flag) = rest.next() {
            if flag == 'b' {
                return self.mode(rest.next().ok_or(BadFlags::NoValue('b'))?);
            }
            if OPTIONAL_VALUE.contains(flag) {
                return self.optional(flag, rest.as_str());
            }
            if WITH_VALUE.contains(flag) {
                let value = match rest.as_str() {
                    // `-d` alone is a debugging level of its own; `-r ''` and `-f ''` are the null sender.
                    "" if flag == 'd' => String::new(),
                    "" => words.next().ok_or(BadFlags::NoValue(flag))?.clone(),
                    value => value.to_owned(),
                };
                return self.with_value(flag, value);
            }
            self.alone(flag)?;
        }
        Ok(())
    }

    fn alone(&mut self, flag: char) -> Result<(), BadFlags> {
        match flag {
            'I' => self.mode = Mode::NewAliases,
            't' => self.recipients_from_header = true,
            'i' => self.dot_is_text = true,
            'v' => self.verbose = true,
            flag if PASSED_OVER.contains(flag) => {}
            flag => return Err(BadFlags::Unknown(flag)),
        }
        Ok(())
    }

    fn optional(&mut self, flag: char, value: &str) -> Result<(), BadFlags> {
        if flag != 'q' {
            return Ok(());
        }
        // `-bp -qRx` lists; `-q15m` asks a daemon to run the queue by itself, which the one that runs does.
        if self.mode != Mode::ListQueue {
            self.mode = Mode::RunQueue;
        }
        let mut rest = value.chars();
        let part = match rest.next() {
            Some('I') => &mut self.restriction.id,
            Some('S') => &mut self.restriction.sender,
            Some('R') => &mut self.restriction.recipient,
            // `-q!Rx`, all but those; `-qGx`, a queue group; `-qQ`, `-qLx`, the quarantine and what was lost.
            Some(what @ ('!' | 'G' | 'Q' | 'L')) => return Err(BadFlags::Queue(what)),
            _ => return Ok(()),
        };
        *part = Some(rest.as_str().to_owned()).filter(|text| !text.is_empty());
        if part.is_none() { Err(BadFlags::NoValue('q')) } else { Ok(()) }
    }

    fn with_value(&mut self, flag: char, value: String) -> Result<(), BadFlags> {
        match flag {
            'f' | 'r' => self.sender = Some(value),
            'F' => self.full_name = Some(value),
            'N' => self.notify = Some(value),
            'R' => self.ret = Some(value),
            'V' => self.envid = Some(value),
            'B' => self.body = Some(value),
            'o' if value == "i" => self.dot_is_text = true,
            'O' if value.eq_ignore_ascii_case("IgnoreDots")
                || value.eq_ignore_ascii_case("IgnoreDots=true") =>
            {
                self.dot_is_text = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn mode(&mut self, mode: char) -> Result<(), BadFlags> {
        self.mode = match mode {
            'm' | 'a' => Mode::Submit,
            's' => Mode::Smtp,
            'p' => Mode::ListQueue,
            'i' => Mode::NewAliases,
            'v' => Mode::Verify,
            mode => return Err(BadFlags::Mode(mode)),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Flags, BadFlags> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn submit(line: &str) -> Flags {
        parsed(line).unwrap_or_else(|bad| panic!("{line}: {bad}"))
    }

    /// As cron, mailx, mutt, git send-email, PHP, Python and Perl's MIME::Lite call it.
    #[test]
    fn what_programs_call() {
        let cron = submit("-FCronDaemon -i -B8BITMIME -oem root");
        assert_eq!((cron.full_name.as_deref(), cron.dot_is_text), (Some("CronDaemon"), true));
        assert_eq!(cron.recipients, ["root"]);
        let mutt = submit("-oem -oi -f ada@x.example -- bob@y.example -odd@z.example");
        assert_eq!(mutt.sender.as_deref(), Some("ada@x.example"));
        assert_eq!(mutt.recipients, ["bob@y.example", "-odd@z.example"]);
        let php = submit("-t -i");
        assert!(php.recipients_from_header && php.dot_is_text && php.recipients.is_empty());
        assert!(submit("-ti").recipients_from_header && submit("-ti").dot_is_text);
        assert_eq!(submit("-i -f bounce@x.example a@b.example").sender.as_deref(), Some("bounce@x.example"));
        assert_eq!(submit("-fada@x.example a").sender.as_deref(), Some("ada@x.example"));
        assert_eq!(
            submit("-Am -odi -O DeliveryMode=b -N failure,delay -R hdrs -V 42 a").notify.as_deref(),
            Some("failure,delay")
        );
    }

    /// Every flag of Sendmail 8.17 and of Postfix's sendmail that does not ask for another program.
    #[test]
    fn what_is_passed_over_takes_no_recipient_with_it() {
        for flag in [
            "-Ac",
            "-Am",
            "-A m",
            "-B8BITMIME",
            "-B 7BIT",
            "-C /etc/mail/x.cf",
            "-C/x",
            "-D /dev/null",
            "-d",
            "-d0-99.1",
            "-em",
            "-e q",
            "-F Name",
            "-G",
            "-h 3",
            "-h3",
            "-i",
            "-L tag",
            "-Ltag",
            "-Mx",
            "-m",
            "-n",
            "-N never",
            "-c",
            "-oem",
            "-oee",
            "-oep",
            "-oeq",
            "-oew",
            "-oi",
            "-odi",
            "-odb",
            "-odq",
            "-om",
            "-o7",
            "-o8",
            "-O QueueDirectory=/x",
            "-OTimeout.queuereturn=1d",
            "-p SMTP:host",
            "-R full",
            "-U",
            "-V 1",
            "-v",
            "-X /dev/null",
            "-s",
            "-x",
            "-bm",
        ] {
            assert_eq!(submit(&format!("{flag} ada")).recipients, ["ada"], "{flag}");
            assert_eq!(submit(&format!("{flag} ada")).mode, Mode::Submit, "{flag}");
        }
        for flag in "abgjklyzEHJKPSTWYZQ".chars().filter(|flag| *flag != 'b') {
            assert_eq!(parsed(&format!("-{flag} ada")), Err(BadFlags::Unknown(flag)));
        }
    }

    #[test]
    fn an_empty_sender_is_the_null_sender() {
        let words = ["-f".to_owned(), String::new(), "a@b.example".to_owned()];
        assert_eq!(parse(&words).unwrap().sender.as_deref(), Some(""));
        assert_eq!(submit("-f <> a@b.example").sender.as_deref(), Some("<>"));
    }

    #[test]
    fn modes() {
        for (line, mode) in [
            ("-bm a", Mode::Submit),
            ("-bs", Mode::Smtp),
            ("-bp", Mode::ListQueue),
            ("-bi", Mode::NewAliases),
            ("-q", Mode::RunQueue),
            ("-q15m", Mode::RunQueue),
            ("-Ac -q", Mode::RunQueue),
            ("-A c -qf", Mode::RunQueue),
            ("-bv ada", Mode::Verify),
            ("-I", Mode::NewAliases),
        ] {
            assert_eq!(submit(line).mode, mode, "{line}");
        }
    }

    #[test]
    fn parts_of_the_queue() {
        let bob = submit("-qRbob@x -qSada");
        assert_eq!((bob.mode, bob.restriction.recipient.as_deref()), (Mode::RunQueue, Some("bob@x")));
        assert_eq!((bob.restriction.sender.as_deref(), bob.restriction.id.as_deref()), (Some("ada"), None));
        assert_eq!(submit("-bp -qI012").mode, Mode::ListQueue);
        assert_eq!(submit("-qf").restriction, Restriction::default());
    }

    #[test]
    fn what_cannot_be_followed() {
        for (line, bad) in [
            ("-bd", BadFlags::Mode('d')),
            ("-bt", BadFlags::Mode('t')),
            ("-bh", BadFlags::Mode('h')),
            ("-e", BadFlags::NoValue('e')),
            ("-bz", BadFlags::Mode('z')),
            ("-qR", BadFlags::NoValue('q')),
            ("-q!Rbob", BadFlags::Queue('!')),
            ("-qQ", BadFlags::Queue('Q')),
            ("-b", BadFlags::NoValue('b')),
            ("-f", BadFlags::NoValue('f')),
            ("-Z", BadFlags::Unknown('Z')),
        ] {
            assert_eq!(parsed(line), Err(bad), "{line}");
        }
    }
}
