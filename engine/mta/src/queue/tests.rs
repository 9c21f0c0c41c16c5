use std::sync::Arc;

use super::*;
use crate::spool::tests::envelope;
use crate::spool::tests::model::{Faults, ModelDisk};

const SETTINGS: Settings = Settings {
    first_retry: 300_000,
    longest_retry: 3_600_000,
    lifetime: 432_000_000,
    per_destination: 20,
    jobs: 100,
};
const OPTIONS: Options = Options { segment_size: 1 << 20, reserve: 0, memory: 1 << 20, ahead: 4096 };

/// A clock that goes with the paused time of the test.
fn clock() -> Clock {
    let start = tokio::time::Instant::now();
    Arc::new(move || Timestamp(1_000_000 + start.elapsed().as_millis() as u64))
}

fn open(disk: &ModelDisk) -> (Queue, Dispatcher, Recovery) {
    let (spool, recovery) = Spool::on(Arc::new(disk.clone()), OPTIONS).unwrap();
    let route = |to: &Recipient| Destination::Mx(to.address.domain_name().unwrap().clone());
    Queue::over(spool, recovery, SETTINGS, Box::new(route), clock()).unwrap()
}

/// As another process would find it.
fn reopen(disk: &ModelDisk) -> (ModelDisk, Queue, Dispatcher) {
    let disk = ModelDisk::of(disk.files());
    let (queue, dispatcher, recovery) = open(&disk);
    assert_eq!(recovery.unreadable, []);
    (disk, queue, dispatcher)
}

async fn send(queue: &Queue, recipients: u32, body: &[u8]) -> QueueId {
    let mut incoming = queue.begin();
    incoming.write(body).await.unwrap();
    incoming.commit(envelope(recipients)).await.unwrap()
}

fn delivered() -> Attempt {
    Attempt::Final(Outcome::Delivered { mailbox: "u".into() })
}

fn deferred() -> Attempt {
    Attempt::Deferred { status: "4.4.1".into(), diagnostic: "refused".into(), unreachable: true }
}

async fn next(dispatcher: &mut Dispatcher) -> Job {
    tokio::time::timeout(Duration::from_secs(30 * 86_400), dispatcher.next()).await.unwrap().unwrap()
}

async fn nothing(dispatcher: &mut Dispatcher) {
    assert!(tokio::time::timeout(Duration::from_secs(10), dispatcher.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_handed_out_once_and_gone_when_it_is_done() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    let id = send(&queue, 2, b"hello\r\n").await;
    let job = next(&mut dispatcher).await;
    assert_eq!((job.id, job.size, job.expired, job.recipients.len()), (id, 7, false, 2));
    assert_eq!(job.body.beginning(100).await.unwrap(), b"hello\r\n");
    nothing(&mut dispatcher).await;
    assert!(queue.list(None, 10).await.unwrap()[0].recipients[1].active);
    let done = queue.finish(job, vec![(0, delivered()), (1, delivered())], None).await.unwrap();
    assert_eq!(done, Finished { concluded: true, notice: None });
    assert_eq!((queue.count(), queue.list(None, 10).await.unwrap()), (0, vec![]));
    assert_eq!(reopen(&disk).1.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deferral_waits_is_listed_and_survives_a_restart() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    let id = send(&queue, 2, b"hello\r\n").await;
    let job = next(&mut dispatcher).await;
    let done = queue.finish(job, vec![(0, delivered()), (1, deferred())], None).await.unwrap();
    assert!(!done.concluded);
    nothing(&mut dispatcher).await;
    let (_disk, queue, mut dispatcher) = reopen(&disk);
    let listed = queue.list(None, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].id, &listed[0].recipients[0].standing), (1, id, &Standing::Done));
    let Standing::Deferred(wait) = &listed[0].recipients[1].standing else { panic!("{listed:?}") };
    assert_eq!((wait.attempts, wait.status.as_str(), wait.diagnostic.as_str()), (1, "4.4.1", "refused"));
    let job = next(&mut dispatcher).await;
    assert_eq!((job.recipients[0].index, job.recipients[0].last.as_ref()), (1, Some(wait)));
    assert_eq!(job.body.beginning(100).await.unwrap(), b"hello\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_at_once_is_not_read_back() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    send(&queue, 1, &[b'x'; 50_000]).await;
    disk.set(Faults { fail_read: true, ..Faults::default() });
    let job = next(&mut dispatcher).await;
    assert_eq!(job.body.beginning(usize::MAX).await.unwrap().len(), 50_000);
    assert!(queue.finish(job, vec![(0, delivered())], None).await.unwrap().concluded);
}

#[tokio::test(start_paused = true)]
async fn a_start_reads_no_bodies() {
    let disk = ModelDisk::default();
    let (queue, _dispatcher, _) = open(&disk);
    for _ in 0..100 {
        send(&queue, 1, &[b'x'; 60_000]).await;
    }
    // Of the last segment alone it is not known how much counts: it is read, and sealed by the next start.
    let disk = ModelDisk::of(disk.files());
    drop(open(&disk));
    let before = disk.octets_read();
    let (queue, _dispatcher, recovery) = open(&disk);
    assert_eq!((queue.count(), recovery.messages), (100, 100));
    let read = disk.octets_read() - before;
    assert!(read < 100 * 1000, "{read} octets of six million");
}

/// What a start names, once the process before was killed.
fn named(disk: &ModelDisk) -> Vec<(QueueId, usize)> {
    let (_, _, recovery) = open(&ModelDisk::of(disk.files()));
    recovery.under_way.into_iter().map(|one| (one.id, one.recipients.len())).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_when_it_was_killed_is_named_and_nothing_else() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    let id = send(&queue, 3, b"hello\r\n").await;
    assert_eq!(named(&disk), []);
    let job = next(&mut dispatcher).await;
    assert_eq!(named(&disk), [(id, 3)]);
    // A start that is killed before it delivers anything leaves it to the next one to say so.
    let again = ModelDisk::of(disk.files());
    assert_eq!((named(&again), named(&again)), (vec![(id, 3)], vec![(id, 3)]));
    drop(open(&again));
    assert_eq!(named(&again), [(id, 3)]);
    // What was recorded by then cannot arrive twice.
    queue.finish(job, vec![(0, delivered()), (1, deferred()), (2, deferred())], None).await.unwrap();
    assert_eq!(named(&disk), []);
    queue.flush();
    let job = next(&mut dispatcher).await;
    assert_eq!(named(&disk), [(id, 2)]);
    queue.finish(job, vec![(1, delivered()), (2, delivered())], None).await.unwrap();
    assert_eq!(named(&disk), []);
    // Broken off, a next hop may have it: it stays named until something else is.
    send(&queue, 1, b"hello\r\n").await;
    drop(next(&mut dispatcher).await);
    assert_eq!(named(&disk).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_full_start_leaves_for_later_is_delivered_and_flushed_too() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    let count = 6000;
    for _ in 0..count {
        send(&queue, 1, b"hello\r\n").await;
    }
    let (_, queue, mut again) = reopen(&disk);
    queue.flush();
    drop(dispatcher.next().await);
    for _ in 0..count {
        let job = next(&mut again).await;
        queue.finish(job, vec![(0, delivered())], None).await.unwrap();
    }
    assert_eq!(queue.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_flushes_at_once_deliver_once() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    send(&queue, 1, b"hello\r\n").await;
    let job = next(&mut dispatcher).await;
    queue.finish(job, vec![(0, deferred())], None).await.unwrap();
    nothing(&mut dispatcher).await;
    queue.flush();
    queue.flush();
    let job = next(&mut dispatcher).await;
    queue.flush();
    nothing(&mut dispatcher).await;
    assert!(queue.finish(job, vec![(0, delivered())], None).await.unwrap().concluded);
    nothing(&mut dispatcher).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_dropped_comes_again() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    let id = send(&queue, 1, b"hello\r\n").await;
    drop(next(&mut dispatcher).await);
    nothing(&mut dispatcher).await;
    assert_eq!(next(&mut dispatcher).await.id, id);
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_delivered_after_what_it_tells_of() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    send(&queue, 1, b"hello\r\n").await;
    let job = next(&mut dispatcher).await;
    let failed = Outcome::Failed { status: "5.1.1".into(), diagnostic: "no".into(), notice: None };
    let notice = Notice { envelope: envelope(1), octets: b"returned\r\n".to_vec() };
    let done = queue.finish(job, vec![(0, Attempt::Final(failed))], Some(notice)).await.unwrap();
    assert!(done.concluded);
    let job = next(&mut dispatcher).await;
    assert_eq!(Some(job.id), done.notice);
    assert_eq!(job.body.beginning(100).await.unwrap(), b"returned\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_handed_out_to_be_returned() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    send(&queue, 1, b"hello\r\n").await;
    let mut attempts = 0;
    loop {
        let job = next(&mut dispatcher).await;
        if job.expired {
            assert_eq!(job.recipients[0].last.as_ref().map(|last| last.attempts), Some(attempts));
            break;
        }
        attempts += 1;
        queue.finish(job, vec![(0, deferred())], None).await.unwrap();
    }
    assert!(attempts > 100);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_waits_for_the_disk_and_is_not_forgotten() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    send(&queue, 1, b"hello\r\n").await;
    let job = next(&mut dispatcher).await;
    disk.set(Faults { read_only: true, ..Faults::default() });
    let finishing = queue.clone();
    let finish = tokio::spawn(async move { finishing.finish(job, vec![(0, delivered())], None).await });
    nothing(&mut dispatcher).await;
    assert!(!finish.is_finished());
    disk.set(Faults::default());
    assert!(finish.await.unwrap().unwrap().concluded);
    assert_eq!(reopen(&disk).1.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_recorded_holds_the_message_and_is_told_of() {
    let (queue, mut dispatcher, _) = open(&ModelDisk::default());
    let id = send(&queue, 1, b"hello\r\n").await;
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hearing = told.clone();
    queue.tell(Box::new(move |found| hearing.lock().unwrap().push(found.id)));
    let job = next(&mut dispatcher).await;
    let notice = Notice { envelope: envelope(1), octets: vec![b'x'; 9 << 20] };
    let finished = queue.finish(job, vec![(0, delivered())], Some(notice)).await;
    assert!(matches!(finished, Err(SpoolError::TooLarge(_))), "{finished:?}");
    nothing(&mut dispatcher).await;
    assert!(tokio::time::timeout(Duration::from_secs(86_400), dispatcher.next()).await.is_err(), "again");
    assert!(queue.list(None, 10).await.unwrap()[0].held);
    assert_eq!(*told.lock().unwrap(), [Some(id)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_waits_for_the_next_start_alone() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    let id = send(&queue, 2, b"hello\r\n").await;
    let job = next(&mut dispatcher).await;
    let held = Attempt::Held { status: "4.3.5".into(), diagnostic: "no alias".into() };
    queue.finish(job, vec![(0, held), (1, delivered())], None).await.unwrap();
    queue.flush();
    assert!(
        tokio::time::timeout(Duration::from_secs(30 * 86_400), dispatcher.next()).await.is_err(),
        "again"
    );
    let listed = queue.list(None, 10).await.unwrap();
    assert!(listed[0].held && listed[0].recipients[0].held && !listed[0].recipients[1].held, "{listed:?}");
    let (_, _, mut dispatcher) = reopen(&disk);
    let job = next(&mut dispatcher).await;
    assert_eq!((job.id, job.recipients[0].index, job.expired), (id, 0, false));
    assert_eq!(job.recipients[0].last.as_ref().map(|last| last.diagnostic.as_str()), Some("no alias"));
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_holds_stays_held_over_a_restart_and_goes_on_once_it_is_released() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    let id = send(&queue, 2, b"hello\r\n").await;
    queue.hold(id, 7).await.unwrap();
    nothing(&mut dispatcher).await;
    queue.flush();
    nothing(&mut dispatcher).await;
    let (disk, queue, mut dispatcher) = reopen(&disk);
    nothing(&mut dispatcher).await;
    let listed = queue.list(None, 10).await.unwrap();
    assert!(listed[0].held && listed[0].held_because.as_ref().unwrap().contains("uid 7"), "{listed:?}");
    queue.release(id).await.unwrap();
    let job = next(&mut dispatcher).await;
    assert_eq!((job.id, job.recipients.len()), (id, 2));
    drop(job);
    let (_disk, queue, mut dispatcher) = reopen(&disk);
    assert!(!queue.list(None, 10).await.unwrap()[0].held);
    assert_eq!(next(&mut dispatcher).await.id, id);
    assert!(matches!(queue.hold(QueueId(99), 0).await, Err(SpoolError::Unknown(_))));
}

/// Carries out what is ordered, as delivery does.
fn obey(queue: &Queue, dispatcher: &mut Dispatcher) {
    let (queue, mut orders) = (queue.clone(), dispatcher.orders().unwrap());
    tokio::spawn(async move {
        while let Some(mut job) = orders.recv().await {
            let order = job.order.take().unwrap();
            let removed = |due: &Due| (due.index, Attempt::Final(Outcome::Removed { uid: order.uid }));
            let attempts = job.recipients.iter().map(removed).collect();
            let finished = queue.finish(job, attempts, None).await;
            order.answer(finished.map(drop).map_err(|error| error.to_string()));
        }
    });
}

#[tokio::test(start_paused = true)]
async fn an_order_ends_recipients_durably_and_leaves_those_that_are_being_tried() {
    let disk = ModelDisk::default();
    let (queue, mut dispatcher, _) = open(&disk);
    obey(&queue, &mut dispatcher);
    let id = send(&queue, 3, b"hello\r\n").await;
    let job = next(&mut dispatcher).await;
    let ordered = queue.order(id, &[0, 1, 2], What::Remove, 0).await.unwrap();
    assert_eq!(ordered, Ordered { done: vec![], active: vec![0, 1, 2], kept: None });
    queue.finish(job, vec![(0, delivered()), (1, deferred()), (2, deferred())], None).await.unwrap();
    let ordered = queue.order(id, &[1], What::Remove, 0).await.unwrap();
    assert_eq!(ordered, Ordered { done: vec![1], active: vec![], kept: None });
    // Not noted as under way: nobody can have got it.
    assert_eq!(named(&disk), []);
    let (disk, queue, mut dispatcher) = reopen(&disk);
    obey(&queue, &mut dispatcher);
    let listed = queue.list(None, 10).await.unwrap();
    assert_eq!(listed[0].recipients[1].standing, Standing::Done);
    // A message that is held is taken out all the same.
    queue.hold(id, 0).await.unwrap();
    assert_eq!(queue.order(id, &[2], What::Remove, 0).await.unwrap().done, [2]);
    assert_eq!((queue.count(), reopen(&disk).1.count()), (0, 0));
    assert!(matches!(queue.order(id, &[2], What::Remove, 0).await, Err(SpoolError::Unknown(_))));
}
