//! The results as one page that needs nothing beside it: the topology drawn, and per step what was done, what the MTAs
//! wrote, which rules decided, and what failed.

use std::fmt::Write;

use super::junit::escaped;
use super::{Report, StepReport};
use crate::evidence::Line;

const STYLE: &str =
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
h2{margin-top:2.5rem}pre{background:#f4f4f2;padding:.6rem;overflow-x:auto;font-size:12.5px}
details{border-left:4px solid #3a7d44;padding:.2rem .8rem;margin:.4rem 0}details.bad{border-color:#b3261e}
summary{cursor:pointer}summary .t{color:#777;float:right}.bad summary{font-weight:600}
svg text{font:12px system-ui,sans-serif}h4{margin:.6rem 0 .2rem}";
/// Distances in the drawing, in pixels.
const COLUMN: usize = 210;
const BOX: usize = 190;
const TOP: usize = 20;
const ROW: usize = 46;

/// The whole page.
pub fn document(reports: &[Report]) -> String {
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n<title>mailstack topologies</title>\n<style>{STYLE}</style>\n<h1>Topologies</h1>\n"
    );
    let (passed, failed) =
        reports.iter().map(Report::counts).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    // Writing to a String does not fail.
    let _ = writeln!(text, "<p>{passed} passed, {failed} failed</p>");
    for report in reports {
        let _ = writeln!(
            text,
            "<h2>{} <small>({})</small></h2>\n<p>{}</p>",
            escaped(&report.topology),
            escaped(&report.level),
            escaped(report.description.as_deref().unwrap_or_default())
        );
        draw(&mut text, report);
        report.steps.iter().for_each(|one| step(&mut text, one));
    }
    text.push_str("</html>\n");
    text
}

/// Hosts as boxes above, networks as lines below, joined where a host has an address.
fn draw(text: &mut String, report: &Report) {
    let networks: Vec<&String> = report.networks.keys().collect();
    let below = TOP + 90;
    let (width, height) = (report.hosts.len().max(1) * COLUMN, below + networks.len() * ROW);
    let _ = writeln!(
        text,
        "<svg viewBox=\"0 0 {width} {height}\" width=\"100%\" style=\"max-width:{width}px\" role=\"img\">"
    );
    for (at, name) in networks.iter().enumerate() {
        let y = below + at * ROW;
        let subnet = report.networks.get(*name).map(String::as_str).unwrap_or_default();
        let _ = writeln!(
            text,
            "<line x1=\"0\" y1=\"{y}\" x2=\"{width}\" y2=\"{y}\" stroke=\"#456\" stroke-width=\"3\"/><text x=\"4\" y=\"{}\">{} {}</text>",
            y + 16,
            escaped(name),
            escaped(subnet)
        );
    }
    for (at, host) in report.hosts.iter().enumerate() {
        let x = at * COLUMN + 10;
        for (index, (network, address)) in host.addresses.iter().enumerate() {
            let Some(row) = networks.iter().position(|name| *name == network) else { continue };
            let (line, y) = (x + 30 + index * 18, below + row * ROW);
            let _ = writeln!(
                text,
                "<line x1=\"{line}\" y1=\"{}\" x2=\"{line}\" y2=\"{y}\" stroke=\"#456\"/><text x=\"{}\" y=\"{}\">{}</text>",
                TOP + 52,
                line + 4,
                y.saturating_sub(5 + 13 * (index % 2)),
                escaped(address)
            );
        }
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{TOP}\" width=\"{BOX}\" height=\"52\" rx=\"6\" fill=\"#eef3f7\" stroke=\"#456\"/><text x=\"{}\" y=\"{}\" font-weight=\"600\">{}</text><text x=\"{}\" y=\"{}\">{}</text>",
            x + 8,
            TOP + 20,
            escaped(&host.fqdn),
            x + 8,
            TOP + 40,
            escaped(&host.runs)
        );
    }
    text.push_str("</svg>\n");
}

fn step(text: &mut String, step: &StepReport) {
    let (class, open) = if step.failures.is_empty() { ("good", "") } else { ("bad", " open") };
    let _ = writeln!(
        text,
        "<details class=\"{class}\"{open}><summary>{} <span class=\"t\">{:.2} s</span></summary>",
        escaped(&step.name),
        step.seconds
    );
    let evidence = &step.evidence;
    let dialogue: String = evidence
        .dialogue
        .iter()
        .map(|exchange| format!("> {}\n< {} {}\n", exchange.said, exchange.code, exchange.text))
        .collect();
    for (heading, body) in [
        ("Failed", step.failures.join("\n")),
        ("Done", evidence.action.clone()),
        ("SMTP", dialogue),
        ("Expected", evidence.expected.join("\n\n")),
        ("What the hosts wrote", lines(&evidence.trail)),
        ("The rules that decided", lines(&evidence.rules)),
    ] {
        if !body.is_empty() {
            let _ = writeln!(text, "<h4>{heading}</h4><pre>{}</pre>", escaped(body.trim_end()));
        }
    }
    text.push_str("</details>\n");
}

fn lines(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{}: {}\n", line.host, line.text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Evidence;
    use crate::report::HostReport;

    #[test]
    fn a_page_draws_hosts_and_opens_what_failed() {
        let host = HostReport {
            fqdn: "web01.corp.example".to_owned(),
            runs: "nullclient, builtin".to_owned(),
            addresses: vec![("lan".to_owned(), "192.168.10.11".to_owned())],
        };
        let evidence = Evidence {
            trail: vec![Line { host: "web01".to_owned(), text: "to=<bob@x.example>".to_owned() }],
            ..Evidence::default()
        };
        let bad = StepReport {
            name: "mail arrives".to_owned(),
            failures: vec!["found 0".to_owned()],
            evidence,
            ..StepReport::default()
        };
        let report = Report {
            hosts: vec![host],
            networks: [("lan".to_owned(), "192.168.10.0/24".to_owned())].into(),
            steps: vec![bad],
            ..Report::default()
        };
        let page = document(&[report]);
        for part in
            ["<svg", "192.168.10.11", "<details class=\"bad\" open>", "web01: to=&lt;bob@x.example&gt;"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("src=") && !page.contains("href="), "it needs something beside it");
    }
}
