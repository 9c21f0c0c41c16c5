//! The results as JUnit XML: a suite per topology, a case per step.

use std::fmt::Write;

use super::Report;

/// The whole document.
pub fn document(reports: &[Report]) -> String {
    let mut text =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"mailstack-vmtests\">\n");
    for report in reports {
        suite(&mut text, report);
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(text: &mut String, report: &Report) {
    let name = escaped(&format!("{} ({})", report.topology, report.level));
    let (passed, failed) = report.counts();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\" time=\"{:.3}\">",
        passed + failed,
        report.seconds
    );
    for step in &report.steps {
        let case = escaped(&step.name);
        let _ =
            write!(text, "    <testcase classname=\"{name}\" name=\"{case}\" time=\"{:.3}\"", step.seconds);
        if let Some(first) = step.failures.first() {
            let message = escaped(first.lines().next().unwrap_or_default());
            let all = escaped(&step.failures.join("\n"));
            let _ =
                writeln!(text, ">\n      <failure message=\"{message}\">{all}</failure>\n    </testcase>");
        } else {
            text.push_str("/>\n");
        }
    }
    text.push_str("  </testsuite>\n");
}

/// Text for XML and HTML: what is markup stands for itself, and what XML 1.0 cannot hold (2.2) is replaced.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(character),
            '\r' => {}
            character if character < ' ' || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                out.push('\u{fffd}')
            }
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::StepReport;

    #[test]
    fn a_failure_is_counted_and_no_text_is_markup() {
        let step = |name: &str, failures: &[&str]| StepReport {
            name: name.to_owned(),
            failures: failures.iter().map(|&text| text.to_owned()).collect(),
            ..StepReport::default()
        };
        let report = Report {
            topology: "a & b".to_owned(),
            level: "netns".to_owned(),
            steps: vec![step("one", &[]), step("two <2>", &["expected \"x\"\u{1b}\nmore"])],
            ..Report::default()
        };
        let text = document(&[report]);
        assert!(text.contains("<testsuite name=\"a &amp; b (netns)\" tests=\"2\" failures=\"1\""), "{text}");
        assert!(text.contains("name=\"two &lt;2&gt;\""), "{text}");
        assert!(text.contains("<failure message=\"expected &quot;x&quot;\u{fffd}\">"), "{text}");
        assert_eq!(text.matches("<testcase").count(), 2);
    }
}
