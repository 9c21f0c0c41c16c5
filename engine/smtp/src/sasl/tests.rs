use super::*;

const SECRET: [u8; 32] = [7; 32];

fn verifier() -> Verifier {
    Verifier::derive("pencil", b"0123456789abcdef", std::num::NonZeroU32::new(4096).unwrap())
}

fn find(user: &str) -> Option<Verifier> {
    (user == "alice").then(verifier)
}

/// Plays both sides; the server's last word, and whether the client believes a yes.
fn play(mechanism: Mechanism, user: &str, password: &str) -> (String, bool) {
    let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
    let mut client = Client::new(mechanism, credentials, "clientnonce".to_owned());
    let mut server = Exchange::new(mechanism, "servernonce".to_owned(), SECRET);
    let mut response = client.initial().unwrap_or_else(|| client.respond(server.first_challenge()).unwrap());
    loop {
        match server.step(&response, &find) {
            Progress::Challenge(challenge) => response = client.respond(&challenge).unwrap(),
            Progress::Check { user, password } => {
                let yes = find(&user).is_some_and(|verifier| verifier.is_of(&password));
                return (format!("{user} {yes}"), client.accepted().is_ok());
            }
            Progress::Success { user } => return (format!("{user} true"), client.accepted().is_ok()),
            Progress::Failure { user } => {
                return (format!("{} false", user.unwrap()), client.accepted().is_ok());
            }
            Progress::Malformed => return ("malformed".to_owned(), client.accepted().is_ok()),
        }
    }
}

#[test]
fn both_sides_agree() {
    for mechanism in Mechanism::ALL {
        let scram = mechanism == Mechanism::ScramSha256;
        assert_eq!(play(mechanism, "alice", "pencil"), ("alice true".to_owned(), true), "{mechanism:?}");
        // After SCRAM a client believes nobody who has not shown that he knows the password.
        assert_eq!(play(mechanism, "alice", "pencils"), ("alice false".to_owned(), !scram), "{mechanism:?}");
        assert_eq!(play(mechanism, "bob", "pencil"), ("bob false".to_owned(), !scram), "{mechanism:?}");
    }
}

/// RFC 7677 3.
#[test]
fn the_example_of_the_standard() {
    let salt = decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = Verifier::derive("pencil", &salt, std::num::NonZeroU32::new(4096).unwrap());
    let mut server =
        Exchange::new(Mechanism::ScramSha256, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(), SECRET);
    let find = |user: &str| (user == "user").then(|| verifier.clone());
    let first = server.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", &find);
    let said = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(first, Progress::Challenge(said.into()));
    let proof = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let signature = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(server.step(proof, &find), Progress::Challenge(signature.to_vec()));
    assert_eq!(server.step(b"", &find), Progress::Success { user: "user".to_owned() });
}

#[test]
fn a_verifier_is_read_as_it_is_written() {
    let text = verifier().to_string();
    assert_eq!(text.parse(), Ok(verifier()));
    assert!(!format!("{:?}", verifier()).contains('$'));
    let faults = [
        "",
        "pencil",
        "{PLAIN}pencil",
        &text.replace("4096", "4095"),
        &text.replace("4096", "99999999"),
        &text.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
        &text[..text.len() - 4],
        &format!("{text}$x"),
    ];
    for fault in faults {
        assert_eq!(fault.parse::<Verifier>(), Err(BadVerifier), "{fault}");
    }
}

#[test]
fn responses_that_are_none() {
    let table: [(Mechanism, &[u8], Option<&str>); 12] = [
        (Mechanism::Plain, b"alice\0pencil", None),
        (Mechanism::Plain, b"\0\0pencil", None),
        (Mechanism::Plain, b"\0alice\0", Some("alice")),
        (Mechanism::Plain, b"root\0alice\0pencil", Some("alice")),
        (Mechanism::Plain, b"\0alice\0pen\0cil", None),
        (Mechanism::Plain, b"\xff\0alice\0pencil", None),
        (Mechanism::Login, b"", None),
        (Mechanism::ScramSha256, b"", None),
        (Mechanism::ScramSha256, b"n,,n=alice", None),
        (Mechanism::ScramSha256, b"n,a=root,n=alice,r=x", None),
        (Mechanism::ScramSha256, b"p=tls-unique,,n=alice,r=x", None),
        (Mechanism::ScramSha256, b"n,,n=al=2Xice,r=x", None),
    ];
    for (mechanism, response, failed) in table {
        let mut server = Exchange::new(mechanism, "nonce".to_owned(), SECRET);
        let wanted = match failed {
            Some(user) => Progress::Failure { user: Some(user.to_owned()) },
            None => Progress::Malformed,
        };
        assert_eq!(server.step(response, &find), wanted, "{mechanism:?} {response:?}");
        assert_eq!(server.step(response, &find), Progress::Malformed, "an exchange ends at its first fault");
    }
}

#[test]
fn what_a_client_does_not_believe() {
    let credentials = Credentials { user: "alice".to_owned(), password: "pencil".to_owned() };
    let client = || {
        let mut client = Client::new(Mechanism::ScramSha256, credentials.clone(), "abc".to_owned());
        client.initial();
        client
    };
    let table: [(&[u8], ClientError); 6] = [
        (b"r=abcd,s=AAAA,i=1", ClientError::Iterations),
        (b"r=abcd,s=AAAA,i=2000000000", ClientError::Iterations),
        (b"r=abc,s=AAAA,i=4096", ClientError::Malformed),
        (b"r=xyzabc,s=AAAA,i=4096", ClientError::Malformed),
        (b"r=abcd,s=,i=4096", ClientError::Malformed),
        (b"e=other-error", ClientError::Malformed),
    ];
    for (challenge, wanted) in table {
        assert_eq!(client().respond(challenge), Err(wanted), "{challenge:?}");
    }
    let mut fooled = client();
    fooled.respond(b"r=abcd,s=AAAA,i=4096").unwrap();
    assert_eq!(fooled.accepted(), Err(ClientError::NoProof), "235 without a signature");
    assert_eq!(fooled.respond(b"v=AAAA"), Err(ClientError::NoProof));
}
