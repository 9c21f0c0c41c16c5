use super::*;

mod simulation;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const SETTINGS: Settings = Settings {
    first_retry: 5 * MINUTE,
    longest_retry: HOUR,
    lifetime: 120 * HOUR,
    per_destination: 8,
    jobs: 100,
};

fn mx(name: &str) -> Destination {
    Destination::Mx(name.parse().unwrap())
}

fn to(name: &str) -> Vec<Entering> {
    vec![Entering { index: 0, destination: mx(name), attempts: 0, next: Timestamp(0) }]
}

fn schedule(settings: Settings, messages: &[(u64, &str)]) -> Schedule {
    let mut schedule = Schedule::new(settings);
    for (id, name) in messages {
        schedule.add(Timestamp(0), QueueId(*id), Timestamp(0), false, to(name));
    }
    schedule
}

/// Runs until nothing is left or `until`; `serve` says how each attempt ends. Returns what was tried when.
fn simulate(
    schedule: &mut Schedule,
    until: u64,
    mut serve: impl FnMut(u64, &Pick) -> Option<Behaviour>,
) -> Vec<(u64, Pick)> {
    let (mut now, mut seen) = (0, Vec::new());
    let mut attempts: HashMap<QueueId, u32> = HashMap::new();
    loop {
        while let Some(pick) = schedule.next(Timestamp(now)) {
            let count = attempts.entry(pick.id).or_default();
            *count += 1;
            let again = schedule.retry_at(Timestamp(now), *count, 0);
            let (ending, behaviour) = match serve(now, &pick) {
                None => (Ending::Done, Behaviour::Answered),
                Some(behaviour) => (Ending::Again { attempts: *count, next: again }, behaviour),
            };
            let endings: Vec<(u32, Ending)> = pick.recipients.iter().map(|&index| (index, ending)).collect();
            schedule.finish(Timestamp(now), &pick, &endings, behaviour, 0);
            seen.push((now, pick));
        }
        match schedule.wakes_at() {
            Some(Timestamp(at)) if at <= until => now = at.max(now),
            _ => return seen,
        }
    }
}

#[test]
fn waits_double_up_to_the_longest_and_end_with_the_lifetime() {
    let mut one = schedule(SETTINGS, &[(1, "a.example")]);
    let seen = simulate(&mut one, 200 * HOUR, |_, pick| (!pick.expired).then_some(Behaviour::Answered));
    let minutes: Vec<u64> = seen.iter().take(7).map(|(at, _)| at / MINUTE).collect();
    assert_eq!(minutes, [0, 5, 15, 35, 75, 135, 195]);
    let (at, last) = seen.last().unwrap();
    assert!(last.expired);
    assert_eq!(*at, SETTINGS.lifetime);
    assert_eq!(seen.iter().filter(|(_, pick)| pick.expired).count(), 1);
    assert_eq!(one.count(), 0);
    assert_eq!(one.wakes_at(), None);
}

#[test]
fn jitter_shortens_a_wait_by_a_fifth_at_most() {
    let schedule = schedule(SETTINGS, &[]);
    for random in (0..2000).map(|n| n * 7919) {
        let Timestamp(at) = schedule.retry_at(Timestamp(0), 1, random);
        assert!((4 * MINUTE..=5 * MINUTE).contains(&at), "{at}");
    }
}

#[test]
fn destinations_take_turns() {
    let messages: Vec<(u64, &str)> =
        (0..50).map(|id| (id, "big.example")).chain([(90, "small.example"), (91, "other.example")]).collect();
    let mut schedule = schedule(SETTINGS, &messages);
    let first: Vec<u64> = (0..4).map(|_| schedule.next(Timestamp(0)).unwrap().id.0).collect();
    assert_eq!(first, [0, 90, 91, 1]);
}

#[test]
fn no_more_jobs_than_a_destination_and_the_whole_may_have() {
    let messages: Vec<(u64, &str)> = (0..50).map(|id| (id, "a.example")).collect();
    let mut one = schedule(SETTINGS, &messages);
    let first: Vec<Pick> = std::iter::from_fn(|| one.next(Timestamp(0))).collect();
    assert_eq!(first.len() as u32, FIRST_WINDOW);
    for pick in &first {
        one.finish(Timestamp(1), pick, &[(0, Ending::Done)], Behaviour::Answered, 0);
    }
    assert_eq!(std::iter::from_fn(|| one.next(Timestamp(1))).count() as u32, SETTINGS.per_destination);

    let mut few =
        schedule(Settings { jobs: 2, ..SETTINGS }, &[(1, "a.example"), (2, "b.example"), (3, "c.example")]);
    assert_eq!(std::iter::from_fn(|| few.next(Timestamp(0))).count(), 2);
    // Of eight, one destination never has more than it leaves to others, four for one.
    let mut shared = schedule(Settings { jobs: 8, ..SETTINGS }, &messages);
    assert_eq!(std::iter::from_fn(|| shared.next(Timestamp(0))).count(), 2);
}

#[test]
fn a_dead_destination_is_probed_and_delays_nobody() {
    let messages: Vec<(u64, &str)> =
        (0..1000).map(|id| (id, if id % 2 == 0 { "dead.example" } else { "live.example" })).collect();
    let mut schedule = schedule(SETTINGS, &messages);
    let dead = mx("dead.example");
    let seen = simulate(&mut schedule, 10 * HOUR, |_, pick| {
        (pick.destination == dead).then_some(Behaviour::Unreachable)
    });
    let live = seen.iter().filter(|(at, pick)| *at == 0 && pick.destination != dead).count();
    assert_eq!(live, 500);
    // One at a time, at doubling intervals: 0, 5, 15, 35, 75, then hourly.
    assert_eq!(seen.len() - live, 13);
}

#[test]
fn all_next_hops_down_for_five_days_and_everything_is_given_up_once() {
    let messages: Vec<(u64, &str)> = (0..200).map(|id| (id, "dead.example")).collect();
    let mut schedule = schedule(SETTINGS, &messages);
    let seen =
        simulate(&mut schedule, 200 * HOUR, |_, pick| (!pick.expired).then_some(Behaviour::Unreachable));
    let mut expired: Vec<u64> =
        seen.iter().filter(|(_, pick)| pick.expired).map(|(_, pick)| pick.id.0).collect();
    expired.sort_unstable();
    assert_eq!(expired, (0..200).collect::<Vec<u64>>());
    assert_eq!((schedule.count(), schedule.jobs(), schedule.wakes_at()), (0, 0, None));
}

#[test]
fn a_host_that_comes_back_gets_everything() {
    let messages: Vec<(u64, &str)> = (0..300).map(|id| (id, "back.example")).collect();
    let mut schedule = schedule(SETTINGS, &messages);
    let seen =
        simulate(&mut schedule, 60 * HOUR, |now, _| (now < 50 * HOUR).then_some(Behaviour::Unreachable));
    assert_eq!(schedule.count(), 0);
    assert!(seen.iter().all(|(at, _)| *at <= 52 * HOUR));
}

#[test]
fn what_is_old_is_tried_once_after_a_long_sleep() {
    let mut schedule = Schedule::new(SETTINGS);
    let now = Timestamp(500 * HOUR);
    schedule.add(now, QueueId(1), Timestamp(0), false, to("a.example"));
    let pick = schedule.next(now).unwrap();
    assert!(!pick.expired);
    let again = Ending::Again { attempts: 1, next: Timestamp(501 * HOUR) };
    schedule.finish(now, &pick, &[(0, again)], Behaviour::Answered, 0);
    assert!(schedule.next(now).unwrap().expired);
}

#[test]
fn two_flushes_try_once() {
    let mut schedule = schedule(SETTINGS, &[(1, "a.example")]);
    let now = Timestamp(0);
    let pick = schedule.next(now).unwrap();
    let again = Ending::Again { attempts: 1, next: Timestamp(5 * MINUTE) };
    schedule.finish(now, &pick, &[(0, again)], Behaviour::Unreachable, 0);
    assert_eq!(schedule.next(Timestamp(1)), None);
    schedule.flush(Timestamp(1));
    schedule.flush(Timestamp(1));
    assert!(schedule.next(Timestamp(1)).is_some());
    schedule.flush(Timestamp(2));
    assert_eq!(schedule.next(Timestamp(2)), None);
}

#[test]
fn recipients_of_one_destination_go_together_and_what_is_held_stays() {
    let mut schedule = Schedule::new(SETTINGS);
    let names = ["a.example", "b.example", "a.example"];
    let entering = |(index, name): (usize, &&str)| Entering { index: index as u32, ..to(name)[0].clone() };
    let who: Vec<Entering> = names.iter().enumerate().map(entering).collect();
    schedule.add(Timestamp(0), QueueId(1), Timestamp(0), false, who.clone());
    schedule.add(Timestamp(0), QueueId(2), Timestamp(0), true, who);
    let picks: Vec<Vec<u32>> =
        std::iter::from_fn(|| schedule.next(Timestamp(0))).map(|pick| pick.recipients).collect();
    assert_eq!(picks, [vec![0, 2], vec![1]]);
}

#[test]
fn what_cannot_be_returned_lets_others_pass() {
    let mut two = schedule(SETTINGS, &[(1, "a.example")]);
    let again = Ending::Again { attempts: 1, next: Timestamp(HOUR) };
    let pick = two.next(Timestamp(0)).unwrap();
    two.finish(Timestamp(0), &pick, &[(0, again)], Behaviour::Answered, 0);
    let old = Timestamp(SETTINGS.lifetime);
    let pick = two.next(old).unwrap();
    assert!(pick.expired);
    two.finish(old, &pick, &[], Behaviour::Untried, 0);
    two.add(old, QueueId(2), old, false, to("b.example"));
    assert_eq!(two.next(old).unwrap().id, QueueId(2));
    assert_eq!(two.next(old), None);
    assert!(two.next(plus(old, SETTINGS.first_retry)).unwrap().expired);
}

#[test]
fn what_grew_old_while_nobody_served_it_is_tried_once_more() {
    let mut schedule = Schedule::new(SETTINGS);
    let now = Timestamp(SETTINGS.lifetime + HOUR);
    let who = vec![Entering { attempts: 3, next: Timestamp(HOUR), ..to("a.example").remove(0) }];
    schedule.add(now, QueueId(1), Timestamp(0), false, who);
    let pick = schedule.next(now).unwrap();
    assert!(!pick.expired);
    let again = Ending::Again { attempts: 4, next: plus(now, HOUR) };
    schedule.finish(now, &pick, &[(0, again)], Behaviour::Answered, 0);
    assert!(schedule.next(now).unwrap().expired);
}

#[test]
fn a_flush_during_an_attempt_is_heeded_once_it_fails() {
    for behaviour in [Behaviour::Answered, Behaviour::Unreachable] {
        let mut one = schedule(SETTINGS, &[(1, "a.example")]);
        let again = Ending::Again { attempts: 1, next: Timestamp(HOUR) };
        let pick = one.next(Timestamp(0)).unwrap();
        one.flush(Timestamp(1));
        assert_eq!(one.next(Timestamp(1)), None);
        one.finish(Timestamp(2), &pick, &[(0, again)], behaviour, 0);
        let pick = one.next(Timestamp(2)).unwrap();
        one.finish(Timestamp(3), &pick, &[(0, again)], behaviour, 0);
        assert_eq!(one.next(Timestamp(3)), None, "once");
    }
}

#[test]
fn a_clock_that_was_set_back_keeps_nothing_waiting() {
    let mut schedule = Schedule::new(SETTINGS);
    let who = vec![Entering { attempts: 1, next: Timestamp(1_000_000 * HOUR), ..to("a.example").remove(0) }];
    schedule.add(Timestamp(HOUR), QueueId(1), Timestamp(0), false, who);
    assert!(schedule.next(plus(Timestamp(HOUR), SETTINGS.longest_retry)).is_some());
}

fn done(pick: &Pick) -> Vec<(u32, Ending)> {
    pick.recipients.iter().map(|&index| (index, Ending::Done)).collect()
}

/// Two recipients at one destination, one at another.
fn three() -> Schedule {
    let mut schedule = Schedule::new(SETTINGS);
    let who = ["a.example", "a.example", "b.example"].into_iter().zip(0..);
    let who = who.map(|(name, index)| Entering { index, ..to(name).remove(0) }).collect();
    schedule.add(Timestamp(0), QueueId(1), Timestamp(0), false, who);
    schedule
}

#[test]
fn an_operator_takes_what_is_not_being_tried_and_nothing_twice() {
    let mut one = three();
    let now = Timestamp(0);
    let tried = one.next(now).unwrap();
    assert_eq!(tried.recipients, [0, 1]);
    let claim = one.claim(QueueId(1), &[0, 2]).unwrap();
    assert_eq!(claim.active, [0]);
    let pick = claim.pick.unwrap();
    assert_eq!((pick.recipients.as_slice(), pick.destination.clone()), (&[2][..], mx("b.example")));
    assert_eq!(one.next(now), None, "it is claimed");
    assert_eq!(one.claim(QueueId(1), &[2]).unwrap(), Claim { pick: None, active: vec![2] });
    assert!(!one.finish(now, &pick, &done(&pick), Behaviour::Untried, 0));
    assert_eq!(one.claim(QueueId(1), &[2]).unwrap(), Claim { pick: None, active: vec![] });
    assert!(one.finish(now, &tried, &done(&tried), Behaviour::Answered, 0));
    assert_eq!((one.count(), one.jobs(), one.wakes_at()), (0, 0, None));
    assert_eq!(one.claim(QueueId(1), &[0]), None);
}

#[test]
fn what_is_held_is_claimed_too_and_what_is_given_back_is_tried_again() {
    let mut one = three();
    let now = Timestamp(0);
    one.hold(QueueId(1));
    assert_eq!(one.next(now), None);
    let pick = one.claim(QueueId(1), &[0, 1, 2]).unwrap().pick.unwrap();
    assert_eq!(pick.recipients, [0, 1, 2]);
    one.finish(now, &pick, &[], Behaviour::Untried, 0);
    assert_eq!(one.next(Timestamp(HOUR)), None, "held");
    one.release(Timestamp(HOUR), QueueId(1));
    assert_eq!(one.next(Timestamp(HOUR)).map(|pick| pick.recipients), Some(vec![0, 1]));
    assert_eq!(one.next(Timestamp(HOUR)).map(|pick| pick.recipients), Some(vec![2]));
}

#[test]
fn what_was_held_beyond_its_lifetime_is_tried_once_before_it_expires() {
    let mut one = schedule(SETTINGS, &[(1, "a.example")]);
    let pick = one.next(Timestamp(0)).unwrap();
    one.hold(QueueId(1));
    let again = Ending::Again { attempts: 1, next: Timestamp(HOUR) };
    one.finish(Timestamp(0), &pick, &[(0, again)], Behaviour::Answered, 0);
    let late = Timestamp(SETTINGS.lifetime + HOUR);
    assert_eq!(one.next(late), None);
    one.release(late, QueueId(1));
    let pick = one.next(late).unwrap();
    assert!(!pick.expired);
    one.finish(late, &pick, &[(0, again)], Behaviour::Answered, 0);
    assert!(one.next(late).unwrap().expired);
}

#[test]
fn a_release_lets_go_on_what_was_kept_until_the_next_start() {
    let mut one = schedule(SETTINGS, &[(1, "a.example")]);
    let pick = one.next(Timestamp(0)).unwrap();
    one.finish(Timestamp(0), &pick, &[(0, Ending::Held)], Behaviour::Answered, 0);
    assert_eq!(one.next(Timestamp(HOUR)), None);
    one.release(Timestamp(HOUR), QueueId(1));
    assert_eq!(one.next(Timestamp(HOUR)).map(|pick| pick.id), Some(QueueId(1)));
}

#[test]
fn a_part_is_flushed_and_the_rest_keeps_its_time() {
    let mut one = three();
    let now = Timestamp(0);
    let later = Ending::Again { attempts: 1, next: Timestamp(HOUR) };
    for _ in 0..2 {
        let pick = one.next(now).unwrap();
        let endings: Vec<_> = pick.recipients.iter().map(|&index| (index, later)).collect();
        one.finish(now, &pick, &endings, Behaviour::Unreachable, 0);
    }
    let soon = Timestamp(MINUTE);
    assert_eq!(one.next(soon), None);
    assert!(one.flush_some(soon, QueueId(1), &[1]));
    let pick = one.next(soon).unwrap();
    assert_eq!(pick.recipients, [1]);
    assert!(!one.finish(soon, &pick, &done(&pick), Behaviour::Answered, 0));
    assert_eq!(one.next(soon), None);
    let mut rest = Vec::new();
    while let Some(pick) = one.next(Timestamp(HOUR)) {
        rest.extend(pick.recipients);
    }
    rest.sort_unstable();
    assert_eq!(rest, [0, 2]);
    one.hold(QueueId(1));
    assert!(!one.flush_some(soon, QueueId(1), &[0]) && !one.flush_some(soon, QueueId(2), &[0]));
}

#[test]
fn what_is_requeued_goes_where_the_rules_say_by_now() {
    let mut one = schedule(SETTINGS, &[(1, "dead.example")]);
    let pick = one.next(Timestamp(0)).unwrap();
    let later = Ending::Again { attempts: 1, next: Timestamp(HOUR) };
    one.finish(Timestamp(0), &pick, &[(0, later)], Behaviour::Unreachable, 0);
    one.requeue(Timestamp(MINUTE), QueueId(1), vec![(0, mx("alive.example"))]);
    let pick = one.next(Timestamp(MINUTE)).unwrap();
    assert_eq!((pick.destination.clone(), pick.recipients.as_slice()), (mx("alive.example"), &[0][..]));
    // What is being tried is left.
    one.requeue(Timestamp(MINUTE), QueueId(1), vec![(0, mx("other.example"))]);
    assert_eq!(one.next(Timestamp(MINUTE)), None);
    assert!(one.finish(Timestamp(MINUTE), &pick, &done(&pick), Behaviour::Answered, 0));
    assert_eq!((one.count(), one.jobs(), one.wakes_at()), (0, 0, None));
}
