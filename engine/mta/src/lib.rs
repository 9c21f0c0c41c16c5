//! The built-in MTA: server, queue, delivery, bounces, DNS.
