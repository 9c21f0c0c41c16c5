//! What each command says to good and bad use: `tests/cmd/*.md`.

#[test]
fn transcripts() {
    trycmd::TestCases::new()
        .env("TZ", "UTC")
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .case("tests/cmd/*.md");
}
