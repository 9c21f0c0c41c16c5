//! The declarations of `profiles/recipes`: what they promise holds, and a change of what they say is noticed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::host::Host;

fn recipes() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/recipes");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn each_recipe_keeps_its_promises_and_is_named_in_the_readme() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let host = Host::new();
    for file in recipes() {
        let checked = host.mailstack(&["check", file.to_str().unwrap()]).with(0);
        assert!(!checked.err.contains("warning"), "{}: {}", file.display(), checked.err);
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("(`{name}`)")), "{name} is not in README.md");
        assert!(fs::read_to_string(&file).unwrap().contains("[[expect]]"), "{name} promises nothing");
    }
}

#[test]
fn a_recipe_that_relays_for_strangers_breaks_its_promise() {
    let host = Host::new();
    let relay = recipes().into_iter().find(|file| file.ends_with("relay.toml")).unwrap();
    let text = fs::read_to_string(relay).unwrap();
    let open = text.replace("\"192.168.0.0/16\"", "\"192.168.0.0/16\", \"203.0.113.0/24\"");
    assert_ne!(open, text);
    let file = host.put("relay.toml", &open);
    let refused = host.mailstack(&["check", file.to_str().unwrap()]).with(1);
    assert!(refused.err.contains("is refused with 550"), "{}", refused.err);
}
