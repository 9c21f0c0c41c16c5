//! The schedule in virtual time, with deliveries that take some: days pass in moments, and nothing is left to chance.

use std::collections::BTreeMap;

use super::*;

const SECOND: u64 = 1000;

/// How a destination answers a job: after how long, and what.
#[derive(Clone, Copy)]
struct Answer {
    takes: u64,
    behaviour: Behaviour,
}

/// A destination, as the simulation plays it: what it answers at this time, with so many jobs open.
type Host = Box<dyn Fn(u64, u32) -> Answer>;

fn answers(takes: u64) -> Host {
    Box::new(move |_, _| Answer { takes, behaviour: Behaviour::Answered })
}

struct World {
    schedule: Schedule,
    now: u64,
    hosts: HashMap<Destination, Host>,
    running: BTreeMap<(u64, u64), (Pick, Behaviour)>,
    started: u64,
    drawn: u64,
    active: HashMap<Destination, u32>,
    /// The most jobs at once, by destination.
    peak: HashMap<Destination, u32>,
    attempts: HashMap<QueueId, u32>,
    /// When a message was delivered, or given up.
    delivered: BTreeMap<QueueId, u64>,
    given_up: BTreeMap<QueueId, u64>,
    tried: Vec<(u64, Destination)>,
}

impl World {
    fn new(settings: Settings, hosts: Vec<(&str, Host)>) -> Self {
        Self {
            schedule: Schedule::new(settings),
            now: 0,
            hosts: hosts.into_iter().map(|(name, host)| (mx(name), host)).collect(),
            running: BTreeMap::new(),
            started: 0,
            drawn: 0,
            active: HashMap::new(),
            peak: HashMap::new(),
            attempts: HashMap::new(),
            delivered: BTreeMap::new(),
            given_up: BTreeMap::new(),
            tried: Vec::new(),
        }
    }

    fn add(&mut self, id: u64, name: &str) {
        let at = Timestamp(self.now);
        self.schedule.add(at, QueueId(id), at, false, to(name));
    }

    /// Chance, the same in each run.
    fn random(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
    }

    fn start(&mut self) {
        while let Some(pick) = self.schedule.next(Timestamp(self.now)) {
            self.started += 1;
            let active = self.active.entry(pick.destination.clone()).or_default();
            *active += 1;
            let peak = self.peak.entry(pick.destination.clone()).or_default();
            *peak = (*peak).max(*active);
            let answer = match pick.expired {
                true => Answer { takes: 0, behaviour: Behaviour::Untried },
                false => self.hosts[&pick.destination](self.now, *active),
            };
            if !pick.expired {
                self.tried.push((self.now, pick.destination.clone()));
            }
            self.running.insert((self.now + answer.takes, self.started), (pick, answer.behaviour));
        }
    }

    fn end(&mut self, pick: &Pick, behaviour: Behaviour) {
        *self.active.get_mut(&pick.destination).unwrap() -= 1;
        let attempts = self.attempts.entry(pick.id).or_default();
        *attempts += 1;
        let attempts = *attempts;
        let random = self.random();
        let next = self.schedule.retry_at(Timestamp(self.now), attempts, random);
        let again = Ending::Again { attempts, next };
        let ending = match behaviour {
            Behaviour::Answered => Ending::Done,
            Behaviour::Untried if pick.expired => Ending::Done,
            _ => again,
        };
        let done = if pick.expired { &mut self.given_up } else { &mut self.delivered };
        if ending == Ending::Done {
            assert_eq!(done.insert(pick.id, self.now), None, "{} twice", pick.id);
        }
        let endings: Vec<(u32, Ending)> = pick.recipients.iter().map(|&index| (index, ending)).collect();
        let random = self.random();
        self.schedule.finish(Timestamp(self.now), pick, &endings, behaviour, random);
    }

    /// Lets time pass up to `until`, or until nothing happens any more.
    fn run(&mut self, until: u64) {
        loop {
            self.start();
            let ends = self.running.first_key_value().map(|((at, _), _)| *at);
            let wakes = self.schedule.wakes_at().map(|at| at.0);
            let Some(next) = ends.into_iter().chain(wakes).min().filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = next.max(self.now);
            while let Some(entry) = self.running.first_entry()
                && entry.key().0 <= self.now
            {
                let (pick, behaviour) = entry.remove();
                self.end(&pick, behaviour);
            }
        }
    }
}

const WIDE: Settings = Settings { per_destination: 20, jobs: 200, ..SETTINGS };

#[test]
fn dead_and_slow_destinations_delay_nobody() {
    let slow: Vec<String> = (0..40).map(|n| format!("slow{n}.example")).collect();
    let mut hosts: Vec<(&str, Host)> = slow.iter().map(|name| (name.as_str(), answers(5 * MINUTE))).collect();
    let timeout = || Box::new(|_, _| Answer { takes: 2 * MINUTE, behaviour: Behaviour::Unreachable });
    hosts.extend([("dead.example", timeout() as Host), ("fast.example", answers(SECOND))]);
    let mut world = World::new(WIDE, hosts);
    let mut id = 0;
    for name in slow.iter().map(String::as_str).cycle().take(8000).chain(["dead.example"; 1000]) {
        id += 1;
        world.add(id, name);
    }
    let first_fast = id + 1;
    let mut came = Vec::new();
    for second in 0..1800 {
        world.run(second * SECOND);
        id += 1;
        came.push((QueueId(id), world.now));
        world.add(id, "fast.example");
    }
    world.run(1900 * SECOND);
    let waits = came.iter().map(|(id, at)| world.delivered[id] - at);
    // One second is the delivery's own.
    assert_eq!(waits.max(), Some(SECOND), "from {first_fast}");
    assert!(world.peak[&mx("dead.example")] <= FIRST_WINDOW);
}

#[test]
fn concurrency_grows_with_success_shrinks_with_refusals_and_is_bounded() {
    // It takes six at once; what is more it asks to come later.
    let host: Host = Box::new(|_, active| Answer {
        takes: SECOND,
        behaviour: if active <= 6 { Behaviour::Answered } else { Behaviour::Reluctant },
    });
    let mut world = World::new(WIDE, vec![("six.example", host), ("any.example", answers(SECOND))]);
    for id in 0..2000 {
        world.add(id, if id % 2 == 0 { "six.example" } else { "any.example" });
    }
    world.run(20 * HOUR);
    assert_eq!((world.delivered.len(), world.schedule.count()), (2000, 0));
    assert_eq!(world.peak[&mx("any.example")], WIDE.per_destination);
    let tried = |name: &str| world.tried.iter().filter(|(_, to)| *to == mx(name)).count();
    let refused = tried("six.example") - 1000;
    assert!(refused > 0 && refused < 500, "{refused} attempts too many");
    assert_eq!(tried("any.example"), 1000);
}

#[test]
fn everything_is_down_for_five_days_and_comes_back() {
    let names: Vec<String> = (0..50).map(|n| format!("host{n}.example")).collect();
    let back = 120 * HOUR;
    let host = || -> Host {
        Box::new(move |now, _| Answer {
            takes: if now < back { 30 * SECOND } else { SECOND },
            behaviour: if now < back { Behaviour::Unreachable } else { Behaviour::Answered },
        })
    };
    let mut world = World::new(WIDE, names.iter().map(|name| (name.as_str(), host())).collect());
    let (mut id, mut arrived) = (0, BTreeMap::new());
    // Ten messages an hour to each, for six days.
    for hour in 0..144 {
        world.run(hour * HOUR);
        for name in names.iter().map(String::as_str).cycle().take(500) {
            id += 1;
            arrived.insert(QueueId(id), world.now);
            world.add(id, name);
        }
    }
    world.run(400 * HOUR);
    assert_eq!((world.schedule.count(), world.schedule.jobs(), world.schedule.wakes_at()), (0, 0, None));
    assert_eq!(world.delivered.len() + world.given_up.len(), arrived.len());
    // What was as old as a message may get is given up, once; all that came later arrives within the longest wait.
    for (id, at) in &world.given_up {
        assert!(arrived[id] <= HOUR && *at >= arrived[id] + SETTINGS.lifetime, "{id}");
    }
    let late = world.delivered.iter().filter(|(id, _)| arrived[id] < back).map(|(_, at)| *at).max();
    assert!(late <= Some(back + HOUR + 5 * MINUTE), "{late:?}");
    // A dead host is knocked at about once an hour, whatever waits for it.
    let knocks = world.tried.iter().filter(|(at, to)| *at < back && *to == mx("host0.example")).count();
    assert!((115..300).contains(&knocks), "{knocks}");
    // They do not all come at the same moment.
    let last: std::collections::BTreeSet<u64> = world
        .tried
        .iter()
        .filter(|(at, _)| (back - 2 * HOUR..back).contains(at))
        .map(|(at, _)| *at)
        .collect();
    assert!(last.len() > 50, "{}", last.len());
}

#[test]
fn a_destination_that_answers_some_keeps_its_place() {
    // It takes every third message now, the others later.
    let count = std::cell::Cell::new(0);
    let host: Host = Box::new(move |_, _| {
        count.set(count.get() + 1);
        let behaviour = if count.get() % 3 == 0 { Behaviour::Answered } else { Behaviour::Reluctant };
        Answer { takes: SECOND, behaviour }
    });
    let mut world = World::new(WIDE, vec![("grey.example", host)]);
    (0..300).for_each(|id| world.add(id, "grey.example"));
    world.run(48 * HOUR);
    assert_eq!((world.delivered.len(), world.given_up.len()), (300, 0));
}
