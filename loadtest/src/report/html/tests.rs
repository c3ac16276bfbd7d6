//! The page is one file, nothing that a server said becomes markup, and everything is on it.

use super::super::examples;
use super::*;

/// With this variable, the pages of all examples are written there, to be looked at in a browser.
const FOLDER: &str = "LOADTEST_EXAMPLE_PAGES";

/// The values of an attribute or of `url()` in the page.
fn values<'a>(page: &'a str, before: &str, after: char) -> Vec<&'a str> {
    let parts = page.split(before).skip(1);
    parts
        .map(|part| part.split(after).next().unwrap_or_default())
        .collect()
}

#[test]
fn a_page_refers_to_nothing_outside_of_it() {
    for (name, report) in examples::all() {
        let page = render(&report);
        if let Some(folder) = std::env::var_os(FOLDER) {
            let path = std::path::Path::new(&folder).join(format!("{name}.html"));
            std::fs::write(path, &page).expect("the folder exists");
        }
        let mut outside = values(&page, " href=\"", '"');
        outside.retain(|value| !value.starts_with('#') && *value != "data:,");
        outside.extend(values(&page, " src=\"", '"'));
        outside.extend(values(&page, "url(", ')'));
        outside.extend(values(&page, "@import", ';'));
        assert!(outside.is_empty(), "{name}: {outside:?}");
    }
    for asset in [STYLE, SCRIPT] {
        assert!(!asset.contains("://") && !asset.contains("fetch("));
    }
}

#[test]
fn what_a_server_said_never_becomes_markup() {
    let mut report = examples::failing();
    let planted = || examples::PLANTED.to_owned();
    report.scenario = planted();
    report.scenario_text = planted();
    report.command_line.push(planted());
    report.targets = vec![planted()];
    report.machine.processor = planted();
    report.settings[0].value = planted();
    report.verdict.reasons.push(planted());
    report.runs[1].void = Some(planted());
    report.runs[0].operations[1].name = planted();
    report.runs[0].servers[0].service = planted();
    report.runs[0].servers[0].error = Some(planted());
    report.runs[0].servers[0].figures[0].unit = planted();
    report.runs[0].servers[0].series[0].unit = planted();
    report.search = examples::search().search;
    report.search[0].missed = vec![planted()];
    report.objectives[0].name = format!("p{}", planted());
    let page = render(&report);
    assert!(!page.contains("<img"), "{:?}", values(&page, "<img", '>'));
    assert_eq!(page.matches("</script>").count(), 2, "the page's own two");
    assert!(
        page.matches("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;")
            .count()
            >= 14
    );
}

#[test]
fn every_violation_and_every_failure_is_shown_with_its_number_and_example() {
    let report = examples::failing();
    let page = render(&report);
    let examples = |run: &super::super::Run| [run.violations.clone(), run.failures.clone()];
    let all: Vec<_> = report.runs.iter().flat_map(examples).flatten().collect();
    assert!(all.len() >= 5);
    for example in all {
        let count = super::super::units::count(example.count);
        for shown in [
            example.kind.as_str(),
            count.as_str(),
            example.example.as_str(),
        ] {
            assert!(
                page.contains(&Text(shown).to_string()),
                "{shown} is not on the page"
            );
        }
    }
}

#[test]
fn the_verdict_is_the_first_thing_that_is_said() {
    let first = |report: &Report| values(&render(report), "<strong>", '<')[0].to_owned();
    assert_eq!(first(&examples::passing()), "Passed:");
    assert_eq!(first(&examples::failing()), "Missed:");
    assert_eq!(first(&examples::empty()), "Nothing measured:");
}

#[test]
fn figures_for_the_script_are_json_that_ends_no_script() {
    let page = render(&examples::failing());
    let data = values(&page, "id=\"figures\">", '<')[0];
    let figures: serde_json::Value = serde_json::from_str(data).expect("JSON without a bracket");
    assert_eq!(figures["runs"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        figures["runs"][0]["timeline"].as_array().map(Vec::len),
        Some(60)
    );
}

#[test]
fn every_element_that_is_opened_is_closed() {
    for (name, report) in examples::all() {
        let page = render(&report);
        for tag in [
            "section", "table", "tr", "td", "th", "div", "dl", "figure", "ul", "p", "svg",
        ] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            let closed = page.matches(&format!("</{tag}>")).count();
            assert_eq!(opened, closed, "{name}: <{tag}>");
        }
    }
}
