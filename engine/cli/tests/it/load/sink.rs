//! The next hop: takes everything but for unknown recipients, and keeps an account of it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A message that was taken.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub to: Vec<String>,
    /// Header and body, CRLF.
    pub octets: Vec<u8>,
}

/// A running sink. It ends with the process.
#[derive(Clone)]
pub struct Sink {
    pub port: u16,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    /// It hangs up on everybody.
    is_down: Arc<AtomicBool>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sink = Self { port, arrivals: Arc::default(), is_down: Arc::default() };
        let serving = sink.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                if !serving.is_down.load(Ordering::SeqCst) {
                    thread::spawn(move || serving.converse(stream));
                }
            }
        });
        sink
    }

    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Messages so far.
    pub fn count(&self) -> usize {
        self.arrivals.lock().unwrap().len()
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap().clone()
    }

    fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut input, mut out) = (BufReader::new(stream.try_clone()?), stream);
        out.write_all(b"220 sink.example\r\n")?;
        let mut to = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let verb = text.get(..4).unwrap_or_default().to_ascii_uppercase();
            let reply = match verb.as_str() {
                "EHLO" => "250-sink.example\r\n250 PIPELINING\r\n",
                "MAIL" => {
                    to.clear();
                    "250 ok\r\n"
                }
                "RCPT" if text.contains("<unknown-") => "550 5.1.1 no such user\r\n",
                "RCPT" => {
                    let address = text.split(['<', '>']).nth(1).unwrap_or_default();
                    to.push(address.to_owned());
                    "250 ok\r\n"
                }
                "DATA" if to.is_empty() => "554 no recipients\r\n",
                "DATA" => {
                    out.write_all(b"354 go on\r\n")?;
                    let octets = body(&mut input)?;
                    // Taken from here on, whether anybody hears of it or not.
                    let arrival = Arrival { to: std::mem::take(&mut to), octets };
                    self.arrivals.lock().unwrap().push(arrival);
                    "250 taken\r\n"
                }
                "QUIT" => {
                    return out.write_all(b"221 bye\r\n");
                }
                _ => "250 ok\r\n",
            };
            out.write_all(reply.as_bytes())?;
        }
    }
}

fn body(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let (mut octets, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.as_slice() {
            b".\r\n" => return Ok(octets),
            [b'.', rest @ ..] => octets.extend_from_slice(rest),
            whole => octets.extend_from_slice(whole),
        }
    }
}
