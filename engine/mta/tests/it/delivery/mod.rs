//! Delivery: DNS, mailboxes through the helper, SMTP, and the whole way from the queue to an outcome.

#![expect(clippy::panic, reason = "a test ends where its ground is missing")]

mod dns;
mod helper;
mod lmtp;
mod names;
mod queue;
mod remote;
mod restricted;
mod sink;
mod tls;
