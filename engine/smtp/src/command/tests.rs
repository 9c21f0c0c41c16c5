use super::*;

fn code(line: &str) -> String {
    parse(line.as_bytes()).map_or_else(|error| error.reply().to_string(), |command| format!("{command:?}"))
}

fn recipient(line: &str) -> String {
    match parse(line.as_bytes()) {
        Ok(Command::Rcpt(request)) => request.to.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.reply().to_string(),
    }
}

#[test]
fn recipients_in_every_form() {
    let table = [
        ("RCPT TO:<b@mx.example>", "b@mx.example"),
        ("rcpt to: <b@mx.example>", "b@mx.example"),
        ("RCPT TO :  b@mx.example", "b@mx.example"),
        ("RCPT TO:<postmaster>", "postmaster"),
        ("RCPT TO:root", "root"),
        ("RCPT TO:<@one.example,@two.example:b@mx.example>", "b@mx.example"),
        ("RCPT TO:<@[IPv6:2001:db8::1]:b@mx.example>", "b@mx.example"),
        ("RCPT TO:<b%far.example@mx.example>", "b%far.example@mx.example"),
        ("RCPT TO:<far.example!b>", "far.example!b"),
        ("RCPT TO:<\"b@far.example\"@mx.example>", "\"b@far.example\"@mx.example"),
        ("RCPT TO:<\"a b>\\\"\"@mx.example>", "\"a b>\\\"\"@mx.example"),
        ("RCPT TO:<b@[192.0.2.1]>", "b@[192.0.2.1]"),
        ("RCPT TO:<b@mx.example.>", "b@mx.example"),
        ("RCPT TO:<b@far.example@mx.example>", "553 5.1.3 <b@far.example@mx.example>... invalid domain name"),
        ("RCPT TO:<>", "553 5.0.0 <>... User address required"),
        ("RCPT TO:<@mx.example>", "553 5.1.3 <@mx.example>... user address required"),
        ("RCPT TO:<b@>", "553 5.1.3 <b@>... hostname required"),
        ("RCPT TO:<b@mx.example", "553 5.1.3 <b@mx.example... invalid address syntax"),
        ("RCPT TO:<b@mx.example>x", "553 5.1.3 <b@mx.example>x... invalid address syntax"),
        ("RCPT TO:<joe,x@mx.example>", "553 5.1.3 <joe,x@mx.example>... invalid address syntax"),
        ("RCPT TO:<\u{e9}@mx.example>", "\u{e9}@mx.example"),
        ("RCPT TO:<\u{e9}@B\u{fc}cher.example>", "\u{e9}@xn--bcher-kva.example"),
        ("RCPT TO:<b@\u{2024}.example>", "553 5.1.3 <b@\u{2024}.example>... invalid domain name"),
        ("RCPT TO:", "501 5.5.2 Syntax error in parameters scanning \"TO\""),
        ("RCPT <b@mx.example>", "501 5.5.2 Syntax error in parameters scanning \"TO\""),
    ];
    for (line, wanted) in table {
        assert_eq!(recipient(line), wanted, "{line}");
    }
}

#[test]
fn parameters_are_read() {
    let line = b"MAIL FROM:<a@c.example> SIZE=12 body=8bitmime RET=hdrs ENVID=a+2Bb AUTH=<>";
    let Ok(Command::Mail(mail)) = parse(line) else { panic!("no MAIL") };
    assert_eq!((mail.size, mail.eight_bit, mail.ret), (Some(12), true, Some(Ret::Headers)));
    assert_eq!((mail.envid.as_deref(), mail.auth.as_deref()), (Some("a+2Bb"), Some("<>")));
    let line = b"RCPT TO:<b@mx.example> NOTIFY=SUCCESS,delay ORCPT=rfc822;b@mx.example";
    let Ok(Command::Rcpt(rcpt)) = parse(line) else { panic!("no RCPT") };
    assert_eq!(rcpt.notify.map(|n| n.to_string()).as_deref(), Some("SUCCESS,DELAY"));
    assert_eq!(rcpt.orcpt.as_deref(), Some("rfc822;b@mx.example"));
}

#[test]
fn parameters_that_are_wrong_are_refused() {
    for parameter in ["SIZE=", "SIZE=-1", "BODY=9BIT", "ENVID=a+2b", "ENVID=a=b"] {
        let said = code(&format!("MAIL FROM:<a@c.example> {parameter}"));
        assert!(said.starts_with("501 5.5.4 "), "{parameter}: {said}");
    }
    for (parameter, reply) in [
        ("SIZE", "501 5.5.2 SIZE requires a value"),
        ("SIZE=1 SIZE=1", "501 5.5.0 Duplicate SIZE parameter"),
        ("RET=ALL", "501 5.5.2 Bad argument \"ALL\" to RET"),
    ] {
        assert_eq!(code(&format!("MAIL FROM:<a@c.example> {parameter}")), reply);
    }
    for parameter in ["NOTIFY=", "NOTIFY=NEVER,DELAY", "ORCPT=b@mx.example", "ORCPT=;b", "ORCPT=rfc822;"] {
        let said = code(&format!("RCPT TO:<b@mx.example> {parameter}"));
        assert!(said.starts_with("501 5.5.4 "), "{parameter}: {said}");
    }
    let twice = "501 5.5.4 Syntax error in parameter SMTPUTF8";
    assert_eq!(code("MAIL FROM:<a@c.example> SMTPUTF8 SMTPUTF8"), twice);
    assert_eq!(code("MAIL FROM:<a@c.example> X=1"), "555 5.5.4 X=1 parameter unrecognized");
    assert_eq!(code("RCPT TO:<a@c.example> SIZE=1"), "555 5.5.4 SIZE=1 parameter unrecognized");
}

#[test]
fn names_that_could_not_stand_in_a_header_are_refused() {
    for name in ["a b", "a(b)", "a;b", "\u{e9}", "a<b>", "\"a\""] {
        assert_eq!(code(&format!("EHLO {name}")), "501 5.0.0 Invalid domain name", "{name}");
    }
    assert_eq!(code("HELO"), "501 5.0.0 HELO requires domain address");
    assert!(parse(b"EHLO [IPv6:2001:db8::1]").is_ok());
}

#[test]
fn a_size_over_every_number_is_over_every_limit() {
    let Ok(Command::Mail(mail)) = parse(b"MAIL FROM:<> SIZE=99999999999999999999") else { panic!("no MAIL") };
    assert_eq!((mail.from, mail.size), (ReversePath::Null, Some(u64::MAX)));
}
