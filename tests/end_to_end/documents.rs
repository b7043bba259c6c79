//! The documents are true, as far as a machine can tell: links lead somewhere, every alarm has a section in the runbook, and
//! what operators are told to type does what they are told.

mod runbook;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use local::template;

/// A line of a document that stands outside of fenced blocks, or within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Prose,
    Code,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
}

/// A file of the repository, by its path there.
fn source(path: &str) -> String {
    read(&root().join(path))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `directory` with this extension, but what is built or fetched.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&name) {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

/// The lines of a document, each with its place.
fn lines(document: &str) -> Vec<(Place, &str)> {
    let mut place = Place::Prose;
    let mut lines = Vec::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            place = if place == Place::Prose { Place::Code } else { Place::Prose };
        } else {
            lines.push((place, line));
        }
    }
    lines
}

fn headings(document: &str) -> impl Iterator<Item = &str> {
    let prose = lines(document).into_iter().filter(|(place, _)| *place == Place::Prose);
    prose.filter(|(_, line)| line.starts_with('#')).map(|(_, line)| line.trim_start_matches('#').trim())
}

/// What a link to a heading ends with, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// The text of a document without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// Where the links of a document lead to.
fn links(document: &str) -> Vec<String> {
    let prose = lines(document).into_iter().filter(|(place, _)| *place == Place::Prose);
    let text: Vec<String> = prose.map(|(_, line)| without_code(line)).collect();
    let text = text.join("\n");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

#[test]
fn every_link_of_every_document_leads_to_a_file_and_a_heading_that_exist() {
    let documents = files(root(), "md");
    assert!(documents.len() > 10, "{documents:?}");
    let mut broken = Vec::new();
    for document in documents {
        for link in links(&read(&document)) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target =
                if path.is_empty() { document.clone() } else { document.with_file_name("").join(path) };
            let is_there = target.exists()
                && (heading.is_empty() || headings(&read(&target)).any(|found| anchor(found) == heading));
            if !is_there {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_alarm_of_the_template_has_a_section_in_the_runbook_and_every_section_an_alarm() {
    let resources = template::read()["Resources"].take();
    let alarms = resources.as_object().expect("resources").iter();
    let alarms: BTreeSet<String> = alarms
        .filter(|(_, resource)| {
            resource["Type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("AWS::CloudWatch::") && kind.ends_with("Alarm"))
        })
        .map(|(name, _)| name.clone())
        .collect();
    let runbook = source("docs/operate.md");
    let part = runbook.split("\n# ").find(|part| part.starts_with("Alarms\n")).expect("a part Alarms");
    let sections: BTreeSet<String> = headings(part).map(str::to_owned).collect();
    assert_eq!(sections, alarms);
}

#[test]
fn what_the_documents_name_of_the_stack_is_in_the_template() {
    let template = template::read();
    for document in files(&root().join("docs"), "md") {
        let text = read(&document);
        for (word, part) in [("resource", "Resources"), ("name", "Resources"), ("output", "Outputs")] {
            for name in text.split(&format!("$({word} ")).skip(1).filter_map(|rest| rest.split(')').next()) {
                let is_there = name.starts_with(['$', '"']) || !template[part][name].is_null();
                assert!(is_there, "{}: {word} {name}", document.display());
            }
        }
    }
}

#[test]
fn every_parameter_of_the_template_is_named_where_it_is_told_how_to_deploy() {
    let parameters = template::read()["Parameters"].take();
    let told = source("docs/deploy.md");
    let words: BTreeSet<&str> =
        told.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let untold: Vec<&String> = parameters
        .as_object()
        .expect("parameters")
        .keys()
        .filter(|name| !words.contains(name.as_str()))
        .collect();
    assert!(untold.is_empty(), "{untold:?}");
}

/// The code of the functions, in one text.
fn code() -> String {
    let rust = ["functions", "shared"].map(|directory| files(&root().join(directory), "rs"));
    // A field whose name is a word of the language is written r#type.
    rust.concat().iter().map(|file| read(file)).collect::<String>().replace("r#", "")
}

/// The queries of a document: its fenced blocks, as far as they are no commands.
fn queries(document: &str) -> String {
    let blocks = document.split("```").skip(1).step_by(2).filter(|block| block.starts_with('\n'));
    blocks.collect()
}

#[test]
fn what_the_queries_look_for_is_what_the_functions_log() {
    let code = code();
    for document in ["docs/queries.md", "docs/operate.md"] {
        let queries = queries(&source(document));
        assert!(queries.contains("filter message"), "{document} has queries");
        let messages = queries.split("message").skip(1).flat_map(|rest| {
            // Up to the end of the clause: one text, or a list of them.
            let clause = rest.split(['|', '#']).next().unwrap_or_default();
            let clause = clause.split(" and ").next().unwrap_or_default();
            clause.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        });
        for message in messages {
            assert!(code.contains(&format!("\"{message}\"")), "{document}: nobody says {message:?}");
        }
        let is_part_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || "._@".contains(letter);
        let words = queries.split(|letter: char| !is_part_of_a_name(letter));
        let fields = words.filter(|word| {
            word.split('.').count() == 2
                && word.split('.').all(|part| part.starts_with(|first: char| first.is_ascii_lowercase()))
        });
        for field in fields {
            assert!(code.contains(field), "{document}: no line has {field}");
        }
    }
}
