//! Random work on a disk that forgets, a crash at every operation, and what must be there after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::model::{Chance, Done, Faults, ModelDisk, after_crash};
use super::{envelope, wait_one};
use crate::message::{Outcome, QueueId};
use crate::spool::change::{Change, Notice, Standing};
use crate::spool::error::SpoolError;
use crate::spool::index::lock;
use crate::spool::log::{Log, Op, Options};
use crate::spool::record::{Accepted, Kind, Record};
use crate::spool::scan;

/// Crash points where `MAILSTACK_CRASH_POINTS` says nothing.
const POINTS: usize = 10_000;
/// The same states each time; another seed explores others.
const DEFAULT_SEED: u64 = 1;
const OPTIONS: Options = Options { segment_size: 6 * 1024, reserve: 0, memory: 0, ahead: 4096 };

/// What the world was told, and by which operation of the disk.
#[derive(Clone, Debug)]
enum Told {
    Accepted {
        id: QueueId,
        body: Vec<u8>,
        recipients: u32,
    },
    Done {
        id: QueueId,
        recipients: BTreeSet<u32>,
        notice: Option<(QueueId, Vec<u8>)>,
        durable: bool,
    },
    /// An operator holds a message, or lets it go on.
    Held {
        id: QueueId,
        held: bool,
    },
}

impl Told {
    /// Whether it is durable with its answer.
    fn is_durable(&self) -> bool {
        !matches!(self, Told::Done { durable: false, .. })
    }
}

/// A workload: what was asked before which operation, and what was acknowledged.
struct Run {
    disk: ModelDisk,
    log: Log,
    chance: Chance,
    /// Asked: from here on it may be there.
    asked: Vec<(usize, Told)>,
    /// Acknowledged: from here on it must be.
    told: Vec<(usize, Told)>,
    /// Refused: it must not be there once a later answer was given, unless it was found at a start in between.
    refused: BTreeMap<QueueId, (usize, usize)>,
    /// Acknowledged, and durable with the next sync.
    noted: Vec<Told>,
    /// The disk fails, or did since the last start.
    broken: bool,
    live: BTreeMap<QueueId, BTreeSet<u32>>,
    /// Notices that the twin without them in one record still has to write.
    late: Vec<(QueueId, Vec<u8>)>,
    /// What is left out on purpose.
    leaves_out: Option<Twin>,
    /// Operators are at work too.
    has_operators: bool,
    /// All that was done to the disk.
    history: Vec<Done>,
    /// Where in it space was given back, and where the spool was opened again.
    tidies: Vec<std::ops::Range<usize>>,
    openings: Vec<std::ops::Range<usize>>,
}

type Answer<T> = oneshot::Receiver<Result<T, SpoolError>>;

impl Run {
    fn new(seed: u64) -> Self {
        let disk = ModelDisk::default();
        let (log, _) = Log::open(Arc::new(disk.clone()), OPTIONS).unwrap();
        Self {
            disk,
            log,
            chance: Chance(seed | 1),
            asked: Vec::new(),
            told: Vec::new(),
            refused: BTreeMap::new(),
            leaves_out: None,
            has_operators: false,
            late: Vec::new(),
            noted: Vec::new(),
            broken: false,
            live: BTreeMap::new(),
            history: Vec::new(),
            tidies: Vec::new(),
            openings: Vec::new(),
        }
    }

    fn go(mut self, batches: usize, faults: bool) -> Self {
        for _ in 0..batches {
            match self.chance.below(24) {
                0 | 1 if faults => self.break_disk(),
                2 => self.kill(),
                _ => {}
            }
            self.batch();
            let before = self.disk.operations();
            self.log.tidy();
            self.tidies.push(before..self.disk.operations());
        }
        self.history = self.disk.history();
        self
    }

    fn break_disk(&mut self) {
        self.broken = true;
        self.noted.clear();
        let countdown = Some(self.chance.below(3) as u32);
        let mut faults = Faults { fail_truncate: self.chance.below(2) == 0, ..Faults::default() };
        if self.chance.below(2) == 0 {
            faults.fail_sync = countdown
        } else {
            faults.fail_append = countdown
        }
        self.disk.set(faults);
    }

    /// The process is killed, also in the middle of a batch; the machine goes on. What it finds when it starts
    /// again it will act on, so that must be durable from then on.
    fn kill(&mut self) {
        self.disk.set(Faults::default());
        if self.chance.below(2) == 0 {
            let (op, told, _) = self.accept();
            if let Some(Op::Accept { record, .. }) = op {
                self.asked.push((self.disk.operations(), told));
                self.log.write(&[&record], false).unwrap();
            }
        }
        self.broken = false;
        self.noted.clear();
        let before = self.disk.operations();
        self.log = Log::open(Arc::new(self.disk.clone()), OPTIONS).unwrap().0;
        self.openings.push(before..self.disk.operations());
        self.find();
    }

    fn find(&mut self) {
        let at = self.disk.operations();
        let index = lock(&self.log.index);
        for (id, (_, until)) in &mut self.refused {
            if index.messages.contains_key(id) {
                *until = at.min(*until);
            }
        }
        let asked: Vec<Told> = self.asked.iter().map(|(_, told)| told.clone()).collect();
        for told in asked {
            match told {
                Told::Accepted { id, .. }
                    if index.messages.contains_key(&id) && !self.live.contains_key(&id) =>
                {
                    let entry = &index.messages[&id];
                    let left = (0..entry.recipients)
                        .filter(|&r| *entry.progress.of(r as usize) != Standing::Done)
                        .collect();
                    self.live.insert(id, left);
                    self.told.push((at, told));
                }
                _ => {}
            }
        }
        self.live.retain(|id, left| {
            let Some(entry) = index.messages.get(id) else { return false };
            left.retain(|r| *entry.progress.of(*r as usize) != Standing::Done);
            true
        });
    }

    fn batch(&mut self) {
        let before = self.disk.operations();
        let (mut ops, mut answers) = (Vec::new(), Vec::new());
        let mut touched = BTreeSet::new();
        for _ in 0..=self.chance.below(4) {
            let (op, told, answer) = match self.chance.below(5) {
                0 | 1 => self.accept(),
                _ => match self.pick(&mut touched) {
                    Some(id) if self.has_operators && self.chance.below(2) == 0 => self.hold(id),
                    Some(id) => self.conclude(id),
                    None => self.accept(),
                },
            };
            let Some(op) = op else { continue };
            ops.push(op);
            self.asked.push((before, told.clone()));
            answers.push((told, answer));
        }
        self.log.commit(ops);
        let after = self.disk.operations();
        let mut synced = false;
        for (told, answer) in answers {
            if wait_one(answer).is_err() {
                if let Told::Accepted { id, .. } | Told::Done { notice: Some((id, _)), .. } = told {
                    self.refused.insert(id, (after, usize::MAX));
                }
                continue;
            }
            self.remember(&told);
            synced |= told.is_durable();
            match told.is_durable() {
                true => self.told.push((after, told)),
                // What was not synced may be lost with a head that fails.
                false if self.broken => {}
                false => self.noted.push(told),
            }
        }
        if synced {
            self.told.extend(self.noted.drain(..).map(|told| (after, told)));
        }
        if self.leaves_out == Some(Twin::Seal) {
            self.log.voided = false;
        }
        self.send_late_notices();
    }

    /// The twin that records an outcome first and the notice about it after that.
    fn send_late_notices(&mut self) {
        for (id, octets) in std::mem::take(&mut self.late) {
            let accepted = Accepted::new(envelope(1), octets.len() as u64, Vec::new());
            let record = Record::described(Kind::Accept, id, &accepted, octets).unwrap().with_recipients(1);
            let (reply, answer) = oneshot::channel();
            self.log.commit(vec![Op::Accept {
                record,
                accepted: Box::new(accepted),
                claims: Vec::new(),
                reply,
            }]);
            wait_one(answer).unwrap();
        }
    }

    fn remember(&mut self, told: &Told) {
        match told {
            Told::Accepted { id, recipients, .. } => drop(self.live.insert(*id, (0..*recipients).collect())),
            Told::Held { .. } => {}
            Told::Done { id, recipients, notice, .. } => {
                let left = self.live.get_mut(id).unwrap();
                left.retain(|recipient| !recipients.contains(recipient));
                if left.is_empty() {
                    self.live.remove(id);
                }
                if let Some((notice, _)) = notice {
                    self.live.insert(*notice, BTreeSet::from([0]));
                }
            }
        }
    }

    fn octets(&mut self) -> Vec<u8> {
        let len = 20 + self.chance.below(1500) as usize;
        let first = self.chance.below(256);
        (0..len).map(|at| (first as usize + at / 7) as u8).collect()
    }

    fn accept(&mut self) -> (Option<Op>, Told, Answer<()>) {
        let id = QueueId(self.log.next_id.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        let recipients = 1 + self.chance.below(3) as u32;
        let (mut claims, mut whole) = (Vec::new(), Vec::new());
        let mut body = self.octets();
        if self.chance.below(4) == 0 {
            for octets in [std::mem::take(&mut body), self.octets()] {
                whole.extend_from_slice(&octets);
                let (reply, answer) = oneshot::channel();
                self.log.commit(vec![Op::Chunk { id, octets, reply }]);
                claims.extend(wait_one(answer).ok());
            }
        }
        let told = Told::Accepted {
            id,
            body: if whole.is_empty() { body.clone() } else { whole.clone() },
            recipients,
        };
        let (reply, answer) = oneshot::channel();
        if !whole.is_empty() && claims.len() != 2 {
            return (None, told, answer);
        }
        let chunks = claims.iter().map(|claim: &crate::spool::index::Claim| claim.extent).collect();
        let accepted = Accepted::new(envelope(recipients), whole.len().max(body.len()) as u64, chunks);
        let record =
            Record::described(Kind::Accept, id, &accepted, body).unwrap().with_recipients(recipients);
        (Some(Op::Accept { record, accepted: Box::new(accepted), claims, reply }), told, answer)
    }

    fn pick(&mut self, touched: &mut BTreeSet<QueueId>) -> Option<QueueId> {
        let ids: Vec<QueueId> = self.live.keys().filter(|id| !touched.contains(id)).copied().collect();
        // Some are never touched: they live on in old segments.
        let ids: Vec<QueueId> = ids.into_iter().filter(|id| id.0 % 9 != 0).collect();
        let id = *ids.get(self.chance.below(ids.len().max(1) as u64) as usize)?;
        touched.insert(id);
        Some(id)
    }

    fn hold(&mut self, id: QueueId) -> (Option<Op>, Told, Answer<()>) {
        let held = self.chance.below(2) == 0;
        let change = if held { Change::HeldBy { uid: 1000 } } else { Change::Released };
        let (reply, answer) = oneshot::channel();
        let op = Op::Change { id, changes: vec![change], durable: true, reply };
        (Some(op), Told::Held { id, held }, answer)
    }

    fn conclude(&mut self, id: QueueId) -> (Option<Op>, Told, Answer<()>) {
        let left = self.live[&id].clone();
        let some: BTreeSet<u32> = match self.chance.below(3) {
            0 => left.into_iter().take(1).collect(),
            _ => left,
        };
        let outcome = || Outcome::Delivered { mailbox: "u".to_owned() };
        let changes = some.iter().map(|&recipient| Change::Done { recipient, outcome: outcome() }).collect();
        let (reply, answer) = oneshot::channel();
        if self.chance.below(3) > 0 {
            let durable = self.chance.below(2) == 0;
            let told = Told::Done { id, recipients: some, notice: None, durable };
            return (Some(Op::Change { id, changes, durable, reply }), told, answer);
        }
        let name = QueueId(self.log.next_id.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        let octets = self.octets();
        let told = Told::Done { id, recipients: some, notice: Some((name, octets.clone())), durable: true };
        if self.leaves_out == Some(Twin::Notice) {
            self.late.push((name, octets));
            return (Some(Op::Change { id, changes, durable: true, reply }), told, answer);
        }
        let notice = Box::new(Notice { envelope: envelope(1), octets });
        (Some(Op::Notice { id: name, notice, about: id, changes, reply }), told, answer)
    }

    /// What is wrong after a crash at `point`, or nothing.
    fn crash(&self, point: usize, chance: &mut Chance) -> Result<(), String> {
        let disk = ModelDisk::of(after_crash(&self.history, point, chance));
        let (log, recovery) = Log::open(Arc::new(disk), OPTIONS).map_err(|error| format!("{error:?}"))?;
        if !recovery.unreadable.is_empty() {
            return Err(format!("unreadable: {:?}", recovery.unreadable));
        }
        Expected::at(self, point).check(&log)
    }
}

/// What must and what may be there.
#[derive(Default)]
struct Expected {
    bodies: BTreeMap<QueueId, (Vec<u8>, u32)>,
    accepted: BTreeSet<QueueId>,
    done: BTreeMap<QueueId, BTreeSet<u32>>,
    /// Asked, so it may be done.
    may_be_done: BTreeMap<QueueId, BTreeSet<u32>>,
    /// Refused for good.
    refused: BTreeSet<QueueId>,
    /// What could have done which recipients of a message, and the notice that must then be there.
    causes: Vec<(QueueId, BTreeSet<u32>, Option<QueueId>)>,
    /// Whether a message may be held: as was acknowledged last, or as was asked since.
    holds: BTreeMap<QueueId, BTreeSet<bool>>,
}

impl Expected {
    fn at(run: &Run, point: usize) -> Self {
        let mut expected = Self::default();
        for (_, told) in run.asked.iter().filter(|(at, _)| *at <= point) {
            match told {
                Told::Accepted { id, body, recipients } => {
                    expected.bodies.insert(*id, (body.clone(), *recipients));
                }
                Told::Held { .. } => {}
                Told::Done { id, recipients, notice, .. } => {
                    expected.may_be_done.entry(*id).or_default().extend(recipients);
                    if let Some((notice, body)) = notice {
                        expected.bodies.insert(*notice, (body.clone(), 1));
                    }
                    let name = notice.as_ref().map(|(name, _)| *name);
                    expected.causes.push((*id, recipients.clone(), name));
                }
            }
        }
        for (_, told) in run.told.iter().filter(|(at, _)| *at <= point) {
            match told {
                Told::Accepted { id, .. } => drop(expected.accepted.insert(*id)),
                Told::Held { .. } => {}
                Told::Done { id, recipients, notice, .. } => {
                    expected.done.entry(*id).or_default().extend(recipients);
                    expected.accepted.extend(notice.iter().map(|(notice, _)| *notice));
                }
            }
        }
        expected.note_holds(run, point);
        let answered = run.told.iter().map(|(at, _)| *at).filter(|at| *at <= point).max().unwrap_or(0);
        let is_out = |(at, until): &(usize, usize)| *at < answered && point < *until;
        expected.refused = run.refused.iter().filter(|(_, span)| is_out(span)).map(|(id, _)| *id).collect();
        expected
    }

    fn note_holds(&mut self, run: &Run, point: usize) {
        let held = |told: &Told| match told {
            Told::Held { id, held } => Some((*id, *held)),
            _ => None,
        };
        let last = run.told.iter().filter(|(at, _)| *at <= point);
        let last: BTreeMap<QueueId, (usize, bool)> =
            last.filter_map(|(at, told)| held(told).map(|(id, held)| (id, (*at, held)))).collect();
        for id in self.bodies.keys() {
            self.holds.entry(*id).or_default().insert(last.get(id).is_some_and(|(_, held)| *held));
        }
        for (at, told) in run.asked.iter().filter(|(at, _)| *at <= point) {
            if let Some((id, held)) = held(told)
                && last.get(&id).is_none_or(|(answered, _)| at >= answered)
            {
                self.holds.entry(id).or_default().insert(held);
            }
        }
    }

    fn check(&self, log: &Log) -> Result<(), String> {
        let index = lock(&log.index);
        for id in &self.accepted {
            let may_be_gone =
                self.may_be_done.get(id).is_some_and(|done| done.len() as u32 == self.bodies[id].1);
            if !may_be_gone && !index.messages.contains_key(id) {
                return Err(format!("{id} was acknowledged and is lost"));
            }
        }
        for (id, entry) in &index.messages {
            let Some((body, recipients)) = self.bodies.get(id) else {
                return Err(format!("{id} was never sent"));
            };
            if self.refused.contains(id) {
                return Err(format!("{id} was refused and came back"));
            }
            let done: BTreeSet<u32> =
                (0..*recipients).filter(|&r| *entry.progress.of(r as usize) == Standing::Done).collect();
            let told = self.done.get(id).cloned().unwrap_or_default();
            if told.len() as u32 == *recipients || !done.is_superset(&told) {
                return Err(format!("{id} came back: {told:?} were done, {done:?} are"));
            }
            let is_held = entry.progress.held;
            if !self.holds[id].contains(&is_held) || (is_held && entry.progress.held_by != Some(1000)) {
                return Err(format!("{id} is held: {is_held}, and was acknowledged otherwise"));
            }
            read(&index, *id, body)?;
        }
        drop(index);
        self.check_notices(log)
    }

    /// Whatever is done was done by a record that was asked for, and the notice in that record is there too.
    fn check_notices(&self, log: &Log) -> Result<(), String> {
        let index = lock(&log.index);
        let is_there =
            |notice: &QueueId| index.messages.contains_key(notice) || self.may_be_done.contains_key(notice);
        for id in &self.accepted {
            let progress = index.messages.get(id).map(|entry| entry.progress.clone());
            let done = |r: u32| progress.as_ref().is_none_or(|p| *p.of(r as usize) == Standing::Done);
            for recipient in (0..self.bodies[id].1).filter(|&recipient| done(recipient)) {
                let mut causes =
                    self.causes.iter().filter(|(about, rs, _)| about == id && rs.contains(&recipient));
                if !causes.any(|(_, _, notice)| notice.as_ref().is_none_or(is_there)) {
                    return Err(format!("{recipient} of {id} is done without its notice"));
                }
            }
        }
        Ok(())
    }
}

fn read(index: &crate::spool::index::Index, id: QueueId, body: &[u8]) -> Result<(), String> {
    let entry = &index.messages[&id];
    let file = |segment: u32| index.segments[&segment].file.clone();
    let extents = if entry.chunks.is_empty() { std::slice::from_ref(&entry.base) } else { &entry.chunks };
    let mut octets = Vec::new();
    for extent in extents {
        let read = crate::spool::record::read_body(&*file(extent.segment), extent.place());
        octets.extend(read.map_err(|e| e.to_string())?.ok_or_else(|| format!("{id} is damaged"))?);
    }
    if octets != body || scan::read_accepted(&*file(entry.base.segment), entry.base.offset).unwrap().is_none()
    {
        return Err(format!("{id} is not whole"));
    }
    Ok(())
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs workloads until so many crash points were tried; returns the first that went wrong.
fn crash_everywhere(points: usize, seed: u64, workload: impl Fn(u64) -> Run) -> Result<(), String> {
    let (mut tried, mut round) = (0, 0);
    while tried < points {
        let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(round));
        let run = workload(seed);
        let mut chance = Chance(seed | 1);
        let first = run.told.first().map_or(0, |(at, _)| *at);
        for point in first.min(3)..=run.history.len() {
            for variant in 0..2 {
                tried += 1;
                run.crash(point, &mut chance)
                    .map_err(|e| format!("round {round}, operation {point}, variant {variant}: {e}"))?;
            }
        }
        round += 1;
    }
    Ok(())
}

#[test]
fn nothing_is_lost_whenever_it_crashes() {
    let points = variable("MAILSTACK_CRASH_POINTS").unwrap_or(POINTS as u64) as usize;
    let seed = variable("MAILSTACK_CRASH_SEED").unwrap_or(DEFAULT_SEED);
    println!("MAILSTACK_CRASH_SEED={seed} MAILSTACK_CRASH_POINTS={points}");
    let result = crash_everywhere(points, seed, |seed| Run::new(seed).go(40, true));
    assert_eq!(result, Ok(()), "MAILSTACK_CRASH_SEED={seed}");
}

fn with_operators(seed: u64) -> Run {
    let mut run = Run::new(seed);
    run.has_operators = true;
    run
}

#[test]
fn what_is_held_and_released_stays_so_whenever_it_crashes() {
    let seed = variable("MAILSTACK_CRASH_SEED").unwrap_or(DEFAULT_SEED);
    let result = crash_everywhere(4000, seed, |seed| with_operators(seed).go(40, true));
    assert_eq!(result, Ok(()), "MAILSTACK_CRASH_SEED={seed}");
}

/// The twin that holds without a sync.
#[test]
fn without_the_sync_of_a_hold_it_is_forgotten() {
    lost_by("hold", |seed| {
        let mut run = with_operators(seed).go(60, false);
        run.told.retain(|(_, told)| matches!(told, Told::Held { .. }));
        run.without(Which::Commit);
        run
    });
}

/// A message that was moved for its chunks while its first record stayed, and was concluded, came back.
#[test]
fn what_was_moved_from_two_segments_stays_concluded() {
    let seed = 8810_u64.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(9));
    assert_eq!(crash_everywhere(1, seed, |seed| Run::new(seed).go(40, true)), Ok(()));
}

/// What is left out of an order of records, and the mail that it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twin {
    /// What says that the end of a segment whose write or sync failed does not count.
    Seal,
    /// The notice in the record of the outcome that it tells of.
    Notice,
}

/// Each sync that the spool does, and the mail that would be lost without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Before an answer.
    Commit,
    /// Of a new segment's header, before records follow.
    Header,
    /// Of a full segment, before the next exists.
    Roll,
    /// Of what was copied, before its source is removed.
    Copy,
    /// Of what a killed process left in memory, before it is acted on.
    Recovery,
    /// Of the directory, after a segment was created.
    Creation,
    /// Of the directory, after one was removed, before what had to outlive it is.
    Removal,
}

impl Run {
    /// The same work on a disk that takes one kind of sync for done without doing it.
    fn without(&mut self, which: Which) {
        for at in 0..self.history.len() {
            if self.kind_of(at) == Some(which) {
                self.history[at] = Done::Nothing;
            }
        }
    }

    fn kind_of(&self, at: usize) -> Option<Which> {
        let before = at.checked_sub(1).map(|at| &self.history[at]);
        let within = |ranges: &[std::ops::Range<usize>]| ranges.iter().any(|range| range.contains(&at));
        match (&self.history[at], before, self.history.get(at + 1)) {
            (Done::Sync(_), Some(Done::Append(_, 0, _)), _) => Some(Which::Header),
            (Done::Sync(_), _, _) if within(&self.openings) => Some(Which::Recovery),
            (Done::Sync(_), _, Some(Done::Create(..))) => Some(Which::Roll),
            (Done::Sync(_), _, _) if within(&self.tidies) => Some(Which::Copy),
            (Done::Sync(_), _, _) => Some(Which::Commit),
            (Done::SyncDirectory, Some(Done::Sync(_)), _) => Some(Which::Creation),
            (Done::SyncDirectory, Some(Done::Unlink(_)), _) => Some(Which::Removal),
            _ => None,
        }
    }
}

fn lost_without(which: Which) {
    lost_by(&format!("{which:?}"), |seed| {
        let mut run = Run::new(seed).go(60, false);
        run.without(which);
        run
    });
}

/// Shows that a crash of this work loses something, and says what.
fn lost_by(which: &str, workload: impl Fn(u64) -> Run) {
    let result = crash_everywhere(20_000, 1, workload);
    let said = result.expect_err("nothing was lost without it");
    println!("{which}: {said}");
}

#[test]
fn with_all_syncs_the_same_work_loses_nothing() {
    assert_eq!(crash_everywhere(2000, 1, |seed| Run::new(seed).go(60, false)), Ok(()));
}

#[test]
fn without_the_sync_of_a_commit_mail_is_lost() {
    lost_without(Which::Commit);
}

#[test]
fn without_the_sync_of_a_header_mail_is_lost() {
    lost_without(Which::Header);
}

#[test]
fn without_the_sync_of_a_full_segment_mail_is_lost() {
    lost_without(Which::Roll);
}

#[test]
fn without_the_sync_of_a_copy_mail_is_lost() {
    lost_without(Which::Copy);
}

#[test]
fn without_the_sync_at_recovery_mail_is_lost() {
    lost_without(Which::Recovery);
}

fn leaving_out(twin: Twin, seed: u64) -> Run {
    let mut run = Run::new(seed);
    run.leaves_out = Some(twin);
    run
}

#[test]
fn without_the_seal_of_a_failed_segment_what_was_refused_comes_back() {
    lost_by("seal", |seed| leaving_out(Twin::Seal, seed).go(60, true));
}

#[test]
fn without_the_notice_in_the_record_of_the_outcome_nobody_is_told() {
    lost_by("notice", |seed| leaving_out(Twin::Notice, seed).go(60, false));
}

#[test]
fn without_the_sync_of_a_creation_mail_is_lost() {
    lost_without(Which::Creation);
}

#[test]
fn without_the_sync_of_a_removal_mail_comes_back() {
    lost_without(Which::Removal);
}
