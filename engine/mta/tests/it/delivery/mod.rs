//! Delivery: DNS, mailboxes through the helper, SMTP, and the whole way from the queue to an outcome.

mod dns;
mod helper;
mod names;
mod queue;
mod remote;
mod sink;
