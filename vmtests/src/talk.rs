//! An SMTP client that says exactly what a check tells it to, right or wrong, and writes down every answer.
//!
//! Shares no code with the MTA under test: what both got wrong alike would pass.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long any single answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// What to say. Paths are sent as they are between the colon and the end of the line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// Where to.
    pub server: SocketAddr,
    /// The name for EHLO.
    pub hello: String,
    /// What follows `MAIL FROM:`.
    pub from: String,
    /// What follows each `RCPT TO:`.
    pub to: Vec<String>,
    /// The message, with bare LF or CRLF line ends; sent with CRLF, transparency added.
    pub message: String,
}

/// A whole session: what was said and what was answered, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// The exchanges; the greeting answers the empty line.
    pub exchanges: Vec<Exchange>,
    /// What broke the session off, where it did not end with QUIT.
    pub broken: Option<String>,
}

/// A line and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The line as sent; the message is shown as its size.
    pub said: String,
    /// The reply code, 200 to 599.
    pub code: u16,
    /// All lines of the answer behind the code, with blanks between.
    pub text: String,
}

impl Exchange {
    /// The enhanced status code at the front of the text.
    pub fn enhanced(&self) -> Option<&str> {
        let first = self.text.split(' ').next()?;
        let mut parts = first.split('.');
        let number =
            |part: Option<&str>| part.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
        let three =
            number(parts.next()) && number(parts.next()) && number(parts.next()) && parts.next().is_none();
        three.then_some(first)
    }
}

impl Transcript {
    /// The first refusal (4xx or 5xx) in the session.
    pub fn refusal(&self) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.code >= 400)
    }

    /// Whether the message was taken: the end of data was answered 250.
    pub fn accepted(&self) -> bool {
        self.exchanges.iter().any(|exchange| exchange.said.starts_with(MESSAGE) && exchange.code == 250)
    }
}

/// How an exchange that sent the message is shown.
const MESSAGE: &str = "(message";

/// Holds the session. A refusal ends it with QUIT; only what cannot go on at all is an error within.
pub fn talk(script: &Script) -> Transcript {
    let mut transcript = Transcript::default();
    if let Err(error) = converse(script, &mut transcript) {
        transcript.broken = Some(error.to_string());
    }
    transcript
}

fn converse(script: &Script, transcript: &mut Transcript) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&script.server, CONNECT)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_nodelay(true)?;
    let mut session = Session { reader: BufReader::new(stream.try_clone()?), writer: stream, transcript };
    session.listen("")?;
    session.say(&format!("EHLO {}", script.hello))?;
    session.say(&format!("MAIL FROM:{}", script.from))?;
    let mut taken = 0;
    for to in &script.to {
        let code = session.say(&format!("RCPT TO:{to}"))?;
        taken += usize::from(code < 300);
    }
    if taken > 0 && session.say("DATA")? == 354 {
        session.send_message(&script.message)?;
    }
    session.say("QUIT").map(drop)
}

struct Session<'t> {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    transcript: &'t mut Transcript,
}

impl Session<'_> {
    fn say(&mut self, line: &str) -> io::Result<u16> {
        self.writer.write_all(format!("{line}\r\n").as_bytes())?;
        self.listen(line)
    }

    fn send_message(&mut self, message: &str) -> io::Result<()> {
        let mut wire = String::with_capacity(message.len() + 64);
        for line in message.lines() {
            if line.starts_with('.') {
                wire.push('.');
            }
            wire.push_str(line);
            wire.push_str("\r\n");
        }
        wire.push_str(".\r\n");
        self.writer.write_all(wire.as_bytes())?;
        self.listen(&format!("{MESSAGE} of {} octets)", wire.len())).map(drop)
    }

    fn listen(&mut self, said: &str) -> io::Result<u16> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed after {said:?}")));
            }
            let line = line.trim_end();
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code: u16 = code.ok_or_else(|| io::Error::other(format!("no reply: {line:?}")))?;
            text.push_str(line.get(4..).unwrap_or_default());
            if line.as_bytes().get(3) != Some(&b'-') {
                self.transcript.exchanges.push(Exchange { said: said.to_owned(), code, text });
                return Ok(code);
            }
            text.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Exchange {
        Exchange { said: String::new(), code: 250, text: text.to_owned() }
    }

    #[test]
    fn an_enhanced_code_has_three_numbers() {
        assert_eq!(answer("5.7.1 <a@b>... Relaying denied").enhanced(), Some("5.7.1"));
        assert_eq!(answer("2.1.0").enhanced(), Some("2.1.0"));
        assert_eq!(answer("gw.corp.example at your service").enhanced(), None);
        assert_eq!(answer("1.2.3.4 hello").enhanced(), None);
        assert_eq!(answer("").enhanced(), None);
    }
}
