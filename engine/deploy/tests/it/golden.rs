//! Every generated file of every example, as a snapshot to read.

use std::fmt::Write;

use mailstack_deploy::generate;
use mailstack_deploy::model::Model;

use crate::hosts::examples;

#[test]
fn every_file_of_every_example() {
    for example in examples("hosts") {
        let mut text = String::new();
        for (path, entry) in generate::files(&example.model()) {
            let _ = writeln!(text, "=== {path} {:o} {:?}", entry.mode, entry.kind);
            text.push_str(&String::from_utf8(entry.bytes).unwrap());
        }
        insta::assert_snapshot!(format!("files-{}", example.name), text);
    }
}

#[test]
fn the_canonical_form_of_every_example() {
    for example in examples("hosts") {
        insta::assert_snapshot!(format!("canonical-{}", example.name), example.model().canonical());
    }
}

#[test]
fn all_faults_of_every_invalid_example_are_told_at_once() {
    for example in examples("hosts-invalid") {
        let faults = Model::resolve(&example.written()).expect_err(&example.name);
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(format!("faults-{}", example.name), told.join("\n"));
    }
}

#[test]
fn a_comment_and_another_spelling_are_the_same_declaration() {
    let canonical = |text: &str| {
        let written = mailstack_schema::read(text).unwrap();
        Model::resolve(&written).unwrap().canonical()
    };
    let short = "schema = 1\nrole = \"msp\"\nmail_host = \"Mail.Corp.Example:25\"\n";
    let long = "# why\nrole = 'msp'\nschema = 1\nplatform = \"debian\"\nmail_host = [\"mail.corp.example\"]\n\
                [limits]\nmessage_size = \"25600KiB\"\n[queue]\nlifetime = \"120h\"\n";
    assert_eq!(canonical(short), canonical(long));
}

/// Quoting replaces what it cannot carry; the model lets nothing through that it would replace.
#[test]
fn no_value_is_replaced_by_quoting() {
    for example in examples("hosts") {
        for (path, entry) in generate::files(&example.model()) {
            let text = String::from_utf8(entry.bytes).unwrap();
            // Conditions of a header and patterns of rules, which hold no value.
            let mut values =
                text.lines().filter(|line| !line.starts_with("define(`_REC_BY_'") && !line.starts_with('R'));
            assert!(
                !path.ends_with(".mc") || values.all(|line| !line.contains('?')),
                "{} {path}",
                example.name
            );
        }
    }
}

#[test]
fn the_starters_are_valid() {
    use mailstack_schema::{host::Role, profiles};
    for role in Role::ALL {
        let written = mailstack_schema::read(profiles::starter(role)).unwrap();
        assert!(Model::resolve(&written).is_ok(), "{role}");
    }
}

#[test]
fn the_mta_reads_its_configuration_back() {
    for example in examples("hosts") {
        let model = example.model();
        let files = generate::files(&model);
        let text = std::str::from_utf8(&files[mailstack_runtime::CONFIG_PATH].bytes).unwrap();
        let config: mailstack_runtime::Config = toml::from_str(text).unwrap();
        assert_eq!(config, model.runtime_config(), "{}", example.name);
    }
}
