//! The built-in MTA's decisions against real Sendmail's, on the generated `.cf` of every configuration.
//!
//! One `sendmail -bt` per `.cf` takes all questions: `/try` for the rewriting of envelope and header, `/parse` for
//! mailer, host and user; `-bv` says what aliases expand to. Where the two differ on purpose a rule in [`differences`]
//! says so; one that nothing uses fails. Beyond the corpus addresses are made at random:
//! `MAILSTACK_DIFFERENTIAL_SEED=N` repeats or changes them, `MAILSTACK_DIFFERENTIAL_COUNT=N` makes more.

mod corpus;
mod differences;
mod policy;
mod sendmail;

use std::collections::{BTreeMap, BTreeSet};

use mailstack_deploy::model::Model;
use mailstack_runtime::Role;
use mailstack_schema::host::{Host, Role as WrittenRole};
use mailstack_schema::{profiles, read};

use differences::{Case, DIFFERENCES};
use policy::Policy;
use sendmail::{Question, Sendmail};

use crate::hosts::{Example, examples};
use crate::real_sendmail::Root;

/// Every configuration of the repository: the examples of this crate, those of the schema, and the starters.
fn configurations() -> Vec<Example> {
    let schemas = examples("../../../schema/tests/valid");
    // One of the schema's contradicts itself, which only the model sees.
    let is_valid =
        |example: &Example| read::<Host>(&example.text).is_ok_and(|written| Model::resolve(&written).is_ok());
    let hosts = schemas.into_iter().filter(is_valid);
    let starters = WrittenRole::ALL
        .into_iter()
        .map(|role| Example { name: format!("starter-{role}"), text: profiles::starter(role).to_owned() });
    examples("hosts").into_iter().chain(hosts).chain(starters).collect()
}

/// Whether two answers are the same: the case of domains aside, and of a refusal by its code.
fn alike(one: &str, other: &str) -> bool {
    fn lower(text: &str) -> String {
        match text.rsplit_once('@') {
            Some((local, domain)) => match local.split_once(" for ") {
                Some((host, local)) => {
                    format!("{} for {local}@{}", host.to_ascii_lowercase(), domain.to_ascii_lowercase())
                }
                None => format!("{local}@{}", domain.to_ascii_lowercase()),
            },
            None => text.to_owned(),
        }
    }
    // -bv shows a user without quotes.
    let each = |text: &str| text.split(", ").map(lower).map(|text| text.replace('"', "")).collect::<Vec<_>>();
    each(one) == each(other)
}

/// What is asked of one `.cf`.
fn questions(addresses: &[String], role: Role, has_mail_host: bool) -> Vec<Question> {
    let mailers: &[&'static str] = match role {
        Role::Nullclient | Role::Msp => &["relay"],
        Role::Loopback | Role::Gateway if has_mail_host => &["relay", "local"],
        Role::Loopback | Role::Gateway => &["esmtp", "local"],
    };
    let of_mailer = |address: &String, mailer| {
        ["HS", "ES", "HR"].map(|flags| Question::Try { flags, mailer, address: address.clone() })
    };
    let rewriting = addresses
        .iter()
        .flat_map(|address| mailers.iter().flat_map(move |mailer| of_mailer(address, mailer)));
    // What the submission program does with a recipient only -bv says: /parse stops before the relay.
    let routed = addresses.iter().filter(|_| matches!(role, Role::Loopback | Role::Gateway));
    rewriting.chain(routed.map(|address| Question::Parse { address: address.clone() })).collect()
}

/// The file that a program's mail (client roles) or a client's (MTA roles) is judged by.
fn cf(role: Role) -> &'static str {
    match role {
        Role::Nullclient | Role::Msp => "submit.cf",
        Role::Loopback | Role::Gateway => "sendmail.cf",
    }
}

/// Configurations of client roles that share the addresses among each other.
const SHARES: usize = 6;

#[derive(Default)]
struct Found {
    unexplained: Vec<String>,
    used: BTreeMap<&'static str, usize>,
    compared: usize,
}

impl Found {
    fn compare(&mut self, case: &Case) {
        self.compared += 1;
        if alike(&case.policy, &case.sendmail) {
            return;
        }
        match DIFFERENCES.iter().find(|difference| (difference.applies)(case)) {
            Some(difference) => *self.used.entry(difference.rule).or_default() += 1,
            None => self.unexplained.push(case.to_string()),
        }
    }
}

fn judge(model: &Model, example: &Example, turn: usize, random: &[String], found: &mut Found) -> bool {
    let Some(root) = Root::of(example) else { return false };
    let policy = Policy::of(model);
    let hostname = policy.hostname.as_str();
    let sendmail = Sendmail { root: &root, cf: cf(model.role()), hostname: policy.hostname.as_str() };
    let mut addresses = corpus::addresses(policy.hostname.as_str());
    assert!(addresses.len() >= 300, "{}", addresses.len());
    addresses.extend(random.iter().cloned());
    addresses.retain(|address| address.parse::<mailstack_policy::Address>().is_ok());
    sendmail.name_hosts(&addresses);
    let questions = questions(&addresses, model.role(), policy.has_mail_host());
    let answers = sendmail.ask(&questions);
    assert_eq!(answers.len(), questions.len(), "{}", example.name);
    for (question, sendmail) in questions.iter().zip(answers) {
        let policy = policy.answer(question);
        found.compare(&Case {
            configuration: &example.name,
            role: model.role(),
            hostname,
            question,
            policy,
            sendmail,
        });
    }
    let verified = match model.role() {
        Role::Loopback | Role::Gateway => policy.aliased(&addresses),
        // A process for each: every configuration takes its share, and all together take all.
        Role::Nullclient | Role::Msp => {
            addresses.iter().skip(turn % SHARES).step_by(SHARES).cloned().collect()
        }
    };
    let verdicts = sendmail.verify(&verified);
    assert_eq!(verdicts.len(), verified.len(), "{}", example.name);
    for (address, sendmail) in verified.into_iter().zip(verdicts) {
        let question = Question::Verify { address };
        let policy = policy.answer(&question);
        found.compare(&Case {
            configuration: &example.name,
            role: model.role(),
            hostname,
            question: &question,
            policy,
            sendmail,
        });
    }
    true
}

#[test]
fn decisions_are_those_of_real_sendmail() {
    let number =
        |name: &str, default| std::env::var(name).ok().map_or(default, |text| text.parse::<u64>().unwrap());
    let seed = number("MAILSTACK_DIFFERENTIAL_SEED", 1);
    let count = number("MAILSTACK_DIFFERENTIAL_COUNT", 60);
    let random = corpus::random(seed, count);
    let only = std::env::var("MAILSTACK_DIFFERENTIAL_ONLY").ok();
    let mut found = Found::default();
    let mut judged = 0;
    for example in configurations() {
        if only.as_ref().is_some_and(|only| *only != example.name) {
            continue;
        }
        if !judge(&example.model(), &example, judged, &random, &mut found) {
            return;
        }
        judged += 1;
    }
    eprintln!(
        "{} answers of {judged} configurations, seed {seed}, differing by rule: {:?}",
        found.compared, found.used
    );
    let count = found.unexplained.len();
    found.unexplained.truncate(100);
    assert!(count == 0, "seed {seed}: {count} differ:\n{}", found.unexplained.join("\n"));
    if only.is_none() {
        assert!(judged >= 20, "{judged}");
        let unused: BTreeSet<_> =
            DIFFERENCES.iter().map(|one| one.rule).filter(|rule| !found.used.contains_key(rule)).collect();
        assert!(unused.is_empty(), "differences that there are not any more: {unused:?}");
    }
}
