//! A client that sends one message after the other, and remembers what it was told of each.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What the client was told of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// 250: it is the MTA's.
    Accepted,
    /// Nothing, after the final dot was sent.
    Nothing,
    /// It was refused, or the connection broke before its end.
    Refused(u16),
}

/// A message: all of it follows from its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(pub u64);

impl Serial {
    pub fn sender(self) -> String {
        format!("sender-{}@far.example", self.0)
    }

    /// One in seven is sent to somebody who is not there, too.
    pub fn recipients(self) -> Vec<String> {
        let known = (0..=self.0 % 3).map(|at| format!("to-{}-{at}@far.example", self.0));
        known.chain(self.unknown()).collect()
    }

    pub fn unknown(self) -> Option<String> {
        self.0.is_multiple_of(7).then(|| format!("unknown-{}@far.example", self.0))
    }

    /// Most are small; one in twenty is larger than what a single record holds.
    pub fn octets(self) -> Vec<u8> {
        let lines = if self.0 % 20 == 19 { 3000 } else { 1 + self.0 % 60 };
        let mut text = format!("Subject: load\r\nX-Serial: {}\r\n\r\n", self.0);
        for line in 0..lines {
            text.push_str(&format!(
                "{:016x} line {line} of {lines} of message {}\r\n",
                self.0 * 31 + line,
                self.0
            ));
        }
        text.into_bytes()
    }
}

/// A session.
pub struct Client {
    input: BufReader<TcpStream>,
    out: TcpStream,
}

impl Client {
    /// Connects, and says hello.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut client = Self { input: BufReader::new(stream.try_clone()?), out: stream };
        match client.reply()? {
            220 => {}
            code => return Err(io::Error::other(format!("greeted with {code}"))),
        }
        client.say("EHLO client.example\r\n")?;
        client.reply()?;
        Ok(client)
    }

    /// Sends a message. Errors: the connection broke before the final dot was sent.
    pub fn send(&mut self, serial: Serial) -> io::Result<Told> {
        let mut batch = format!("MAIL FROM:<{}>\r\n", serial.sender());
        let recipients = serial.recipients();
        for recipient in &recipients {
            batch.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
        }
        batch.push_str("DATA\r\n");
        self.say(&batch)?;
        let codes: Vec<u16> = (0..recipients.len() + 2).map(|_| self.reply()).collect::<io::Result<_>>()?;
        if codes.last() != Some(&354) {
            self.say("RSET\r\n")?;
            self.reply()?;
            return Ok(Told::Refused(codes.into_iter().find(|code| *code >= 400).unwrap_or(0)));
        }
        self.out.write_all(&serial.octets())?;
        // From here on nobody knows, until there is an answer.
        if self.out.write_all(b".\r\n").is_err() {
            return Ok(Told::Nothing);
        }
        Ok(match self.reply() {
            Ok(250) => Told::Accepted,
            Ok(code) => Told::Refused(code),
            Err(_) => Told::Nothing,
        })
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    fn reply(&mut self) -> io::Result<u16> {
        loop {
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return line[..3].parse().map_err(|_| io::Error::other(line));
            }
        }
    }
}
