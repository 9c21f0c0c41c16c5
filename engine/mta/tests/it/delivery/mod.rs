//! Delivery: DNS, mailboxes through the helper, SMTP.

mod helper;
