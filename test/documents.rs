//! Holds README and the pages of doc/ together: each link between them leads somewhere.

use std::fs;
use std::path::{Path, PathBuf};

fn pages() -> Vec<PathBuf> {
    let listed = fs::read_dir("doc").unwrap().map(|entry| entry.unwrap().path());
    let of_markdown = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    listed.filter(of_markdown).chain(["README.md".into()]).collect()
}

/// What stands in the brackets of `](…)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// A heading as the address of its section: lower case, hyphens for blanks, no other marks.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let mark = |letter: char| match letter {
        ' ' => Some('-'),
        letter if letter.is_alphanumeric() || "-_".contains(letter) => Some(letter),
        _ => None,
    };
    kept.chars().filter_map(mark).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut lost = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap_or(Path::new("")).join(file),
            };
            let found = target.exists()
                && (section.is_empty()
                    || fs::read_to_string(&target).is_ok_and(|text| {
                        text.lines().any(|line| line.starts_with('#') && anchor(line) == section)
                    }));
            if !found {
                lost.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(lost.is_empty(), "links that lead nowhere:\n{}", lost.join("\n"));
}

#[test]
fn every_page_is_linked_from_the_readme() {
    let readme = fs::read_to_string("README.md").unwrap();
    for page in pages().iter().filter(|page| page.starts_with("doc")) {
        let page = page.display().to_string();
        assert!(links(&readme).any(|link| link.starts_with(&page)), "README does not name {page}");
    }
}
