//! The limits of a message, for who drops it: what the MTA would refuse is refused at once, in the same words.

use mailstack_runtime::Limits;
use mailstack_smtp::reply::{Enhanced, Reply};

use crate::server::{Collected, Collector, header_too_large, survey, too_many_hops};

/// Looks at a message as it is written.
pub(super) struct Gate<'l> {
    limits: &'l Limits,
    octets: u64,
    /// None once the header is over.
    header: Option<Collector>,
}

impl<'l> Gate<'l> {
    /// A gate for one message.
    pub(super) fn new(limits: &'l Limits) -> Self {
        Self { limits, octets: 0, header: Some(Collector::new(limits.header_size)) }
    }

    /// Takes the next octets, CRLF. Errors: the reply that refuses the message.
    pub(super) fn take(&mut self, octets: &[u8]) -> Result<(), Reply> {
        self.octets += octets.len() as u64;
        let limit = self.limits.message_size;
        if self.octets > limit {
            let text = format!("Message exceeds maximum fixed size ({limit})");
            return Err(Reply::new(552, Some(Enhanced(5, 2, 3)), text));
        }
        let Some(collector) = &mut self.header else { return Ok(()) };
        match collector.push(octets) {
            Collected::More => Ok(()),
            Collected::TooLarge => Err(header_too_large(self.limits.header_size)),
            Collected::Done(split) => {
                self.header = None;
                self.check(&split.header)
            }
        }
    }

    /// The message is whole.
    pub(super) fn end(self) -> Result<u64, Reply> {
        if let Some(collector) = self.header {
            let split = collector.finish();
            Self { header: None, ..self }.check(&split.header)?;
        }
        Ok(self.octets)
    }

    fn check(&self, header: &[u8]) -> Result<(), Reply> {
        let (hops, limit) = (survey(header).hops, self.limits.hops);
        if hops > limit { Err(too_many_hops(hops, limit)) } else { Ok(()) }
    }
}
