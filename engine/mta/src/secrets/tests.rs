use std::os::unix::fs::PermissionsExt;

use super::*;

const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[test]
fn a_secret_that_others_may_read_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path());
    let path = dir.path().join("key");
    std::fs::write(&path, "secret").unwrap();
    let own_group = std::fs::metadata(&path).unwrap().gid();
    let reader = Reader { root: &root, given: None, uids: vec![geteuid().as_raw()], gids: vec![own_group] };
    for (mode, good) in [
        (0o600, true),
        (0o400, true),
        (0o640, true),
        (0o660, false),
        (0o650, false),
        (0o644, false),
        (0o604, false),
        (0o602, false),
        (0o601, false),
    ] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let read = reader.secret(Path::new("/key"));
        assert_eq!(read.is_ok(), good, "{mode:o}");
        if let Err(error) = read {
            assert!(matches!(error, SecretError::Exposed { .. }) && !error.to_string().contains("secret"));
        }
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    for (uids, gids) in [(vec![], vec![own_group]), (vec![geteuid().as_raw()], vec![own_group + 1])] {
        let reader = Reader { root: &root, given: None, uids, gids };
        assert!(matches!(reader.secret(Path::new("/key")), Err(SecretError::Exposed { .. })));
    }
}

#[test]
fn systemd_gives_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path());
    let name = credential_name(Path::new("/etc/mailstack/credentials/mailhost"));
    assert_eq!(name, "etc-mailstack-credentials-mailhost");
    std::fs::write(dir.path().join(&name), "given").unwrap();
    let given = Some(dir.path().to_owned());
    let reader = Reader { root: &root, given, uids: Vec::new(), gids: Vec::new() };
    assert_eq!(reader.secret(Path::new("/etc/mailstack/credentials/mailhost")).unwrap(), b"given");
    assert!(matches!(reader.secret(Path::new("/etc/other")), Err(SecretError::Read { .. })));
}

#[test]
fn users_are_read_or_refused_by_line() {
    let read = |text: &str| users(Path::new("users"), text.as_bytes());
    let good = read(&format!("# staff\n\nalice:{VERIFIER}\nbob@corp.example:{VERIFIER}\n")).unwrap();
    assert_eq!(good.keys().collect::<Vec<_>>(), ["alice", "bob@corp.example"]);
    for text in ["alice", "alice:secret", &format!(":{VERIFIER}"), &format!("a:{VERIFIER}\na:{VERIFIER}")] {
        let error = read(&format!("#\n{text}\n")).unwrap_err().to_string();
        assert!(error.starts_with("users:2: ") || error.starts_with("users:3: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn credentials_are_two_texts() {
    assert!(credentials(b"user = \"me\"\npassword = \"x\"\n").is_some());
    for text in
        ["", "user = \"me\"\n", "user = \"me\"\npassword = \"\"\n", "user = 1\npassword = \"x\"\n", "me:x"]
    {
        assert!(credentials(text.as_bytes()).is_none(), "{text}");
    }
    assert!(!format!("{:?}", credentials(b"user = \"me\"\npassword = \"geheim\"\n")).contains("geheim"));
}

#[test]
fn a_line_is_made_as_it_is_read() {
    let line = user_line("alice@corp.example", "pen cil").unwrap();
    let read = users(Path::new("users"), line.as_bytes()).unwrap();
    assert!(read["alice@corp.example"].is_of("pen cil") && !read["alice@corp.example"].is_of("pencil"));
    assert_ne!(
        user_line("alice", "pencil"),
        user_line("alice", "pencil"),
        "the salt is another one each time"
    );
    for (name, password, wanted) in [
        ("", "x", BadUser::Name),
        ("a:b", "x", BadUser::Name),
        ("a b", "x", BadUser::Name),
        ("a", "", BadUser::Password),
        ("a", "\u{e9}", BadUser::Password),
        ("a", "x\n", BadUser::Password),
    ] {
        assert_eq!(user_line(name, password), Err(wanted), "{name:?} {password:?}");
    }
}
