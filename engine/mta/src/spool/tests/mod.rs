//! The spool on a disk that forgets, and on the real one.

mod crash;
mod faults;
mod group;
mod hooked;
pub mod model;
mod usage;

use std::sync::Arc;

use mailstack_smtp::address::ReversePath;
use tokio::sync::oneshot;

use super::error::SpoolError;
use super::{Disk, DiskFile};
use crate::message::{Envelope, Origin, Recipient, Timestamp};

pub fn envelope(recipients: u32) -> Envelope {
    let recipient = |n| Recipient {
        address: format!("user{n}@corp.example").parse().unwrap(),
        expanded_from: None,
        orcpt: None,
        notify: None,
        target: mailstack_policy::Target::Address,
    };
    Envelope {
        sender: ReversePath::Null,
        recipients: (0..recipients).map(recipient).collect(),
        arrived: Timestamp(1_000_000),
        origin: Origin::Local { uid: 1000 },
        eight_bit: false,
        smtputf8: false,
        ret: None,
        envid: None,
    }
}

/// The answer that a synchronous log gave.
pub fn wait_one<T>(mut answer: oneshot::Receiver<Result<T, SpoolError>>) -> Result<T, SpoolError> {
    answer.try_recv().unwrap_or(Err(SpoolError::Closed))
}

pub fn disk() -> (model::ModelDisk, Arc<model::ModelDisk>) {
    let disk = model::ModelDisk::default();
    (disk.clone(), Arc::new(disk))
}
