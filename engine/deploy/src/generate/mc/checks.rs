//! What `sendmail.mc` checks of clients, and what it tells them.

use mailstack_policy::access::{AccessKey, Subject, Tag};
use mailstack_runtime::{Checks, Dnsbl, Privacy};

use super::{Mc, quote};
use crate::model::{Mta, Relay};

/// Greeting, HELP and `PrivacyOptions`.
pub(super) fn disclosure(mc: &mut Mc, mta: &Mta) {
    mc.block("No name and version in greeting and HELP; what clients and users are not told.");
    match mta.greeting.as_str() {
        "" => mc.fixed("confSMTP_LOGIN_MSG", "$j $b"),
        text => mc.line(&format!("define(`confSMTP_LOGIN_MSG', `$j {}')dnl", inner(text))),
    }
    mc.fixed("HELP_FILE", "/etc/mail/mailstack.help");
    mc.line(&format!("define(`confPRIVACY_FLAGS', `{}')dnl", privacy(mta)));
}

fn privacy(mta: &Mta) -> String {
    let goaway = Privacy::GOAWAY.iter().all(|flag| mta.privacy.contains(flag));
    let single = mta.privacy.iter().filter(|flag| !goaway || !Privacy::GOAWAY.contains(flag)).map(name);
    let flags: Vec<&str> = goaway.then_some("goaway").into_iter().chain(single).collect();
    if flags.is_empty() { "public".to_owned() } else { flags.join(",") }
}

fn name(flag: &Privacy) -> &'static str {
    match flag {
        Privacy::Needmailhelo => "needmailhelo",
        Privacy::Needexpnhelo => "needexpnhelo",
        Privacy::Needvrfyhelo => "needvrfyhelo",
        Privacy::Noexpn => "noexpn",
        Privacy::Novrfy => "novrfy",
        Privacy::Noverb => "noverb",
        Privacy::Noetrn => "noetrn",
        Privacy::Noreceipts => "noreceipts",
        Privacy::Restrictmailq => "restrictmailq",
        Privacy::Restrictqrun => "restrictqrun",
        Privacy::Nobodyreturn => "nobodyreturn",
        Privacy::Authwarnings => "authwarnings",
    }
}

/// The value as `quote` makes it, to stand within other quotes.
fn inner(text: &str) -> String {
    quote(text).trim_matches(['`', '\'']).to_owned()
}

/// Options, before the features.
pub(super) fn defines(mc: &mut Mc, checks: &Checks) {
    if checks.connection_rate > 0 {
        mc.block("New connections a second; more of them wait.");
        mc.define_number("confCONNECTION_RATE_THROTTLE", checks.connection_rate.into());
    }
    if checks.bad_recipients > 0 {
        mc.block("Refused recipients behind which each further one waits a second.");
        mc.define_number("confBAD_RCPT_THROTTLE", checks.bad_recipients.into());
    }
}

/// The features that need access.
pub(super) fn features(mc: &mut Mc, relay: &Relay) {
    let checks = &relay.checks;
    let about_recipients = |key: &AccessKey| match key.tag {
        Some(Tag::To) => true,
        Some(Tag::Connect | Tag::From) => false,
        None => !matches!(key.subject, Subject::Network(_)),
    };
    if relay.access.keys().any(about_recipients) {
        mc.block("Recipients are looked up in access too.");
        mc.feature("blocklist_recipients");
    }
    if checks.greet_pause > 0 {
        mc.block("Who talks before the greeting is refused.");
        mc.feature_with("greet_pause", &(u64::from(checks.greet_pause) * 1000).to_string());
    }
    if checks.connection_rate_per_client > 0 {
        mc.block("New connections of one client a minute.");
        mc.line("FEATURE(`ratecontrol', , `terminate')dnl");
    }
    mc.line("FEATURE(`conncontrol', , `terminate')dnl");
    if !checks.dnsbl.is_empty() {
        mc.block("Lists of clients whose mail is refused. One that does not answer refuses nobody.");
        checks.dnsbl.iter().for_each(|list| mc.line(&list_feature(list)));
    }
    if checks.reverse_dns {
        mc.block("A client's address has a name that has the address.");
        mc.feature("require_rdns");
    }
}

fn list_feature(list: &Dnsbl) -> String {
    let zone = quote(list.zone.as_str());
    let text = list.text.as_deref().map_or("`'".to_owned(), |text| format!("`\"550 {}\"'", inner(text)));
    let answers: String = list.answers.iter().map(|answer| format!(", `{answer}.'")).collect();
    match (list.answers.is_empty(), &list.text) {
        (true, None) => format!("FEATURE(`dnsbl', {zone})dnl"),
        (true, Some(_)) => format!("FEATURE(`dnsbl', {zone}, {text})dnl"),
        (false, _) => format!("FEATURE(`enhdnsbl', {zone}, {text}, `'{answers})dnl"),
    }
}

/// The rules of `FEATURE(block_bad_helo)`, at MAIL: where the library puts them they see none but those who are
/// refused for relaying anyway, unless all checks are delayed.
pub(super) fn rulesets(mc: &mut Mc, checks: &Checks) {
    if !checks.helo {
        return;
    }
    mc.block("No client may call itself by a name of this host, or by one without a dot.");
    mc.line("LOCAL_RULESETS");
    for line in [
        "SLocal_check_mail",
        "R$*\t\t\t$: $>A <$&{client_addr}> <?> <+ Connect> <$&{client_addr}>",
        "R<RELAY> <$*>\t\t$@ OK",
        "R<OK> <$*>\t\t$@ OK",
        "R<$*> <$*>\t\t$: <$2> [$&s]",
        "R<> $*\t\t\t$@ OK",
        "R<0> $*\t\t\t$@ OK",
        "R<127.0.0.1> $*\t\t$@ OK",
        "R<IPv6:0:0:0:0:0:0:0:1> $*\t$@ OK",
        "R<IPv6:::1> $*\t\t$@ OK",
        "R<$*> $=w\t\t$#error $@ 5.7.1 $: \"550 bogus HELO name used: \" $&s",
        "R<$*> [$=w]\t\t$#error $@ 5.7.1 $: \"550 bogus HELO name used: \" $&s",
        "R<$*> [$+.$+]\t\t$@ OK",
        "R<$*> [IPv6:$+]\t\t$@ OK",
        "R<$*> [$*]\t\t$#error $@ 5.7.1 $: \"550 bogus HELO name used: \" $&s",
    ] {
        mc.line(line);
    }
}
