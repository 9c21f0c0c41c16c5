//! TLS and authentication towards other hosts: what is verified fails closed.

use mailstack_mta::delivery::remote::Remote;
use mailstack_mta::host::Root;
use mailstack_mta::secrets::Secrets;
use mailstack_mta::tls::Acceptor;
use mailstack_policy::rules::NextHop;
use mailstack_runtime::{Config, MailHostTls, TlsPolicy};
use mailstack_smtp::sasl::{Mechanism, Mechanisms};

use super::remote::{hop, remote, send, to};
use super::sink::{Plan, Sink, TlsPlan};
use crate::certificates::{Authority, Leaf};

fn acceptor(leaf: &Leaf) -> Option<Acceptor> {
    Some(Acceptor::new(leaf.certificate.as_bytes(), leaf.key.as_bytes()).unwrap())
}

/// A deliverer that trusts the authority, speaks to the hop by this policy, and shows `credentials` to it.
fn deliverer(authority: &Authority, hop: NextHop, policy: TlsPolicy, credentials: Option<&str>) -> Remote {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), &authority.pem).unwrap();
    let place = credentials.map(|text| {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.path().join("credentials");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        "/credentials".into()
    });
    let mut config: Config = super::queue::config(([127, 0, 0, 1], hop.port).into(), false);
    config.tls.ca_file = "/ca.pem".into();
    config.tls.mail_hosts = vec![MailHostTls { hop, policy: Some(policy), credentials: place }];
    let mut remote = remote();
    remote.heed(&config);
    remote.trust(&Secrets::read(&Root::new(dir.path()), &config, "nobody-of-this-name").unwrap());
    remote
}

/// One message to a sink of this plan; the verdict and the sink.
async fn deliver(authority: &Authority, plan: TlsPlan, policy: TlsPolicy) -> (String, Sink) {
    let sink = Sink::start(Plan { tls: plan, ..Plan::default() }).await;
    let remote = deliverer(authority, hop(sink.address), policy, None);
    let verdicts = send(&remote, &to(&[&sink]), &["x@x.example"]).await;
    (verdicts[0].clone(), sink)
}

/// What a peer, or who sits in front of it, does; what comes of it with verified TLS: the status and a word of the
/// reason; and whether a message gets through with TLS that is only taken where it works, and over which.
type Case = (&'static str, TlsPlan, &'static str, &'static str, bool, bool);

const TAKEN: &str = "taken: 250 2.0.0 taken";

fn cases(authority: &Authority) -> Vec<Case> {
    let stranger = Authority::new();
    let good = authority.sign(&["127.0.0.1"]);
    let with = |leaf: &Leaf| TlsPlan { acceptor: acceptor(leaf), ..TlsPlan::default() };
    vec![
        ("good", with(&good), TAKEN, "", true, true),
        (
            "expired",
            with(&authority.sign_until(&["127.0.0.1"], 2001)),
            "deferred 4.7.5",
            "xpired",
            true,
            true,
        ),
        (
            "another name",
            with(&authority.sign(&["other.example"])),
            "deferred 4.7.5",
            "not valid for name",
            true,
            true,
        ),
        (
            "self-made",
            with(&stranger.sign(&["127.0.0.1"])),
            "deferred 4.7.5",
            "invalid peer certificate",
            true,
            true,
        ),
    ]
}

/// The same of what is said about STARTTLS.
fn dialogues(authority: &Authority) -> Vec<Case> {
    let good = authority.sign(&["127.0.0.1"]);
    let with = |leaf: &Leaf| TlsPlan { acceptor: acceptor(leaf), ..TlsPlan::default() };
    vec![
        ("not offered", TlsPlan::default(), "deferred 4.7.4", "does not offer", true, false),
        (
            "stripped",
            TlsPlan { stripped: true, ..with(&good) },
            "deferred 4.7.4",
            "does not offer",
            true,
            false,
        ),
        (
            "refused",
            TlsPlan { reply: Some("454 4.7.0 not now\r\n"), ..with(&good) },
            "deferred 4.7.0",
            "reply to STARTTLS",
            false,
            false,
        ),
        ("cut", TlsPlan { closes: true, ..with(&good) }, "deferred 4.7.5", "TLS", true, false),
        (
            "injected",
            TlsPlan { reply: Some("220 go\r\n250 AUTH PLAIN\r\n"), ..with(&good) },
            "deferred 4.5.0",
            "unexpected data",
            false,
            false,
        ),
        (
            "no yes",
            TlsPlan { reply: Some("250 fine\r\n"), ..with(&good) },
            "deferred 4.5.0",
            "reply code 250",
            false,
            false,
        ),
    ]
}

#[tokio::test]
async fn verified_fails_closed_and_opportunistic_goes_on() {
    let (authority, taken) = (Authority::new(), TAKEN);
    for (name, plan, verdict, reason, gets_through, secured) in
        cases(&authority).into_iter().chain(dialogues(&authority))
    {
        let (verified, sink) = deliver(&authority, plan.clone(), TlsPolicy::Verified).await;
        assert!(verified.starts_with(verdict) && verified.contains(reason), "{name}: {verified}");
        let clear = sink.seen.lock().unwrap().clear.clone();
        assert!(!clear.contains("MAIL"), "{name}: mail in clear: {clear}");
        if verdict != taken {
            assert_eq!(sink.taken().len(), 0, "{name}");
        }
        let (opportunistic, sink) = deliver(&authority, plan.clone(), TlsPolicy::Opportunistic).await;
        if gets_through {
            assert_eq!(
                (opportunistic.as_str(), sink.seen.lock().unwrap().secured),
                (taken, usize::from(secured)),
                "{name}"
            );
        }
        let (_, sink) = deliver(&authority, plan, TlsPolicy::None).await;
        assert!(!sink.seen.lock().unwrap().clear.contains("STARTTLS"), "{name}");
        assert_eq!(sink.taken().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn credentials_go_over_verified_tls_or_nowhere() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = authority.sign(&["127.0.0.1"]);
    let all: Mechanisms = Mechanism::ALL.into_iter().collect();
    let right = "user = \"me\"\npassword = \"secret\"\n";
    let wrong = "user = \"me\"\npassword = \"geheim\"\n";
    let only = |mechanism| [mechanism].into_iter().collect::<Mechanisms>();
    let taken = "taken: 250 2.0.0 taken";
    let table = [
        ("all", acceptor(&good), all, right, taken),
        ("plain", acceptor(&good), only(Mechanism::Plain), right, taken),
        ("login", acceptor(&good), only(Mechanism::Login), right, taken),
        ("scram", acceptor(&good), only(Mechanism::ScramSha256), right, taken),
        ("wrong scram", acceptor(&good), only(Mechanism::ScramSha256), wrong, "deferred 4.7.8"),
        ("wrong plain", acceptor(&good), only(Mechanism::Plain), wrong, "deferred 4.7.8"),
        ("no auth", acceptor(&good), Mechanisms::default(), right, "deferred 4.7.0"),
        ("no tls", None, all, right, "deferred 4.7.4"),
        ("stranger", acceptor(&stranger.sign(&["127.0.0.1"])), all, right, "deferred 4.7.5"),
    ];
    for (name, acceptor, auth, credentials, wanted) in table {
        let tls = TlsPlan { acceptor, auth, ..TlsPlan::default() };
        let sink = Sink::start(Plan { tls, ..Plan::default() }).await;
        let remote = deliverer(&authority, hop(sink.address), TlsPolicy::Verified, Some(credentials));
        let verdicts = send(&remote, &to(&[&sink]), &["x@x.example"]).await;
        assert!(verdicts[0].starts_with(wanted), "{name}: {verdicts:?}");
        let seen = sink.seen.lock().unwrap();
        assert_eq!(seen.authenticated, usize::from(wanted == taken), "{name}");
        assert_eq!(seen.taken.len(), seen.authenticated, "{name}");
        assert!(!seen.clear.contains("AUTH"), "{name}: {}", seen.clear);
    }
}
