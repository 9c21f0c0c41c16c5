//! MAIL and RCPT from an address of the world, many over one connection.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use mailstack_prove::corpus::Lines;
use mailstack_smtp::address::Domain;

use super::dialogue::{Dialogue, connect_from};

/// How one attempt ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// What the candidate made of it.
    pub(super) verdict: Verdict,
    /// What was said.
    pub(super) said: Vec<String>,
}

/// What a candidate makes of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// MAIL and RCPT were answered with 2xx.
    Accepted,
    /// One of them, or the session, was answered with 4xx or 5xx.
    Refused,
    /// There was no answer.
    Silent,
}

/// The clients of the world, each with a connection that is kept as long as the candidate keeps it.
#[derive(Default)]
pub(super) struct Clients {
    open: BTreeMap<IpAddr, Dialogue<TcpStream>>,
    /// What the first attempt of a client that got no answer met with: the others would wait as long for nothing.
    silent: BTreeMap<IpAddr, String>,
}

impl Clients {
    /// Makes one attempt; over a new connection where the candidate has ended the one that there was.
    pub(super) fn attempt(&mut self, source: IpAddr, target: SocketAddr, lines: &Lines) -> Ended {
        if let Some(why) = self.silent.get(&source) {
            return Ended { verdict: Verdict::Silent, said: vec![why.clone()] };
        }
        if let Some(dialogue) = self.open.get_mut(&source) {
            match transaction(dialogue, lines) {
                Ok(ended) if !closes(&ended) => return ended,
                // What ended the connection may be the attempts before this one.
                Ok(_) | Err(_) => drop(self.open.remove(&source)),
            }
        }
        self.afresh(source, target, lines).unwrap_or_else(|error| {
            let why = format!("no answer from {target}: {error}");
            self.silent.insert(source, why.clone());
            Ended { verdict: Verdict::Silent, said: vec![why] }
        })
    }

    fn afresh(&mut self, source: IpAddr, target: SocketAddr, lines: &Lines) -> io::Result<Ended> {
        let stream = connect_from(source, target)?;
        let mut dialogue = match Dialogue::open(stream, &Domain::Literal(source).to_string())? {
            Ok(dialogue) => dialogue,
            Err(reply) => return Ok(Ended { verdict: Verdict::Refused, said: vec![format!("S: {reply}")] }),
        };
        let ended = transaction(&mut dialogue, lines)?;
        if !closes(&ended) {
            self.open.insert(source, dialogue);
        }
        Ok(ended)
    }
}

/// RFC 5321 3.8: 421 ends the session.
fn closes(ended: &Ended) -> bool {
    ended.said.iter().any(|line| line.starts_with("S: 421"))
}

fn transaction(dialogue: &mut Dialogue<TcpStream>, lines: &Lines) -> io::Result<Ended> {
    let mut accepted = dialogue.say(&lines.mail)?.is_positive();
    if accepted {
        accepted = dialogue.say(&lines.rcpt)?.is_positive();
    }
    let said = dialogue.take_said();
    if !said.iter().any(|line| line.starts_with("S: 421")) {
        dialogue.say("RSET")?;
    }
    dialogue.take_said();
    Ok(Ended { verdict: if accepted { Verdict::Accepted } else { Verdict::Refused }, said })
}
