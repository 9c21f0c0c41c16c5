//! A program's standard streams: fed and read to the end without either side waiting for the other.

use std::io::{self, Read, Write};
use std::process::{Child, Output};
use std::time::{Duration, Instant};

/// Writes the input from a thread of its own: a program may print more than a pipe holds before it reads.
pub fn feed(child: &mut Child, input: Vec<u8>) {
    if let Some(mut pipe) = child.stdin.take() {
        // A program that ends without reading its input is not this side's failure.
        std::thread::spawn(move || drop(pipe.write_all(&input)));
    }
}

/// Collects a program's output and end; kills it at the deadline, which shows as its status.
pub fn finish(mut child: Child, until: Instant) -> io::Result<Output> {
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes)).map(|_| bytes)
        })
    };
    let stdout = reader(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = reader(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= until {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let join = |thread: std::thread::JoinHandle<io::Result<Vec<u8>>>| {
        thread.join().unwrap_or_else(|_| Err(io::Error::other("reader")))
    };
    Ok(Output { status, stdout: join(stdout)?, stderr: join(stderr)? })
}
