//! A queue that is filled before the daemon starts.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Instant, SystemTime};

use mailstack_mta::message::{Envelope, Origin, Recipient, Timestamp};
use mailstack_mta::spool::{Options, RealDisk, Spool};

/// Messages that are handed in at once.
const AT_ONCE: u64 = 256;

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

pub fn envelope(to: &str) -> Envelope {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let recipient = Recipient {
        address: to.parse().unwrap(),
        expanded_from: None,
        orcpt: None,
        notify: None,
        target: Default::default(),
    };
    Envelope {
        sender: "ada@corp.example".to_owned().try_into().unwrap(),
        recipients: vec![recipient],
        arrived: Timestamp(now.as_millis() as u64),
        origin: Origin::Network { peer: "192.0.2.1".parse().unwrap(), hello: "client.example".into() },
        eight_bit: false,
        smtputf8: false,
        ret: None,
        envid: None,
    }
}

/// A message of a kibioctet.
pub fn body() -> Vec<u8> {
    format!("From: ada@corp.example\r\nSubject: backlog\r\n\r\n{}", "0123456789abcde\r\n".repeat(57))
        .into_bytes()
}

/// Puts so many messages for `domain` into the spool in `directory`; returns how many a second.
pub fn fill(directory: &Path, count: u64, domain: &str) -> f64 {
    let begin = Instant::now();
    runtime().block_on(async {
        let (spool, _) = Spool::open(directory, Options::default()).unwrap();
        let one = |spool: Spool, first: u64, domain: String| async move {
            for number in (first..count).step_by(AT_ONCE as usize) {
                let mut incoming = spool.begin();
                incoming.write(&body()).await.unwrap();
                incoming.commit(envelope(&format!("user{number}@{domain}"))).await.unwrap();
            }
        };
        let running: Vec<_> =
            (0..AT_ONCE).map(|first| tokio::spawn(one(spool.clone(), first, domain.to_owned()))).collect();
        for running in running {
            running.await.unwrap();
        }
    });
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    // The committer closes the spool a moment later.
    while matches!(RealDisk::open(directory), Err(error) if error.kind() == ErrorKind::WouldBlock) {
        std::thread::yield_now();
    }
    rate
}
