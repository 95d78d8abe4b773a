//! What the administrator sees of the examination, or a program reads.

use std::io::{self, Write};

use serde_json::json;

use super::recipe::Lines;
use crate::finding::{Finding, Mark};

/// For whom it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With marks such as ✓.
    Marks,
    /// With marks in ASCII, for a terminal without UTF-8.
    Ascii,
    /// One JSON object, for machines.
    Json,
}

/// Prints findings as they come, and keeps them for the JSON and the sum.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    form: Form,
    /// Whether a line may be written over.
    live: bool,
    findings: Vec<serde_json::Value>,
    /// The first failure of the output: what comes after it is not printed.
    broken: Option<io::Error>,
}

impl<'a> Screen<'a> {
    /// An empty one; `live` where it is a terminal.
    pub fn new(out: &'a mut dyn Write, form: Form, live: bool) -> Self {
        Screen { out, form, live, findings: vec![], broken: None }
    }

    /// A line of its own, for people.
    pub fn line(&mut self, text: &str) {
        if self.form != Form::Json {
            self.print(&format!("{}{text}\n", self.clear()));
        }
    }

    /// What is being waited for; on a terminal it is written over, elsewhere it is told once.
    pub fn wait(&mut self, text: &str, first: bool) {
        if self.form == Form::Json || !(self.live || first) {
            return;
        }
        let dots = if self.form == Form::Marks { "…" } else { "..." };
        let end = if self.live { "" } else { "\n" };
        self.print(&format!("{}  {dots} {text}{end}", self.clear()));
    }

    /// Tells a finding of one check, with the lines that mend it.
    pub fn tell(&mut self, check: &'static str, finding: &Finding, lines: &[Lines]) {
        let lines_json: serde_json::Map<_, _> =
            lines.iter().map(|lines| (lines.place.to_owned(), json!(lines.lines))).collect();
        self.findings.push(json!({
            "check": check, "mark": finding.mark.name(), "what": finding.what,
            "remedy": finding.remedy, "lines": lines_json,
        }));
        if self.form != Form::Json {
            let text = format!("{}{}", self.clear(), paragraph(self.form, check, finding, lines));
            self.print(&text);
        }
    }

    /// Ends it: the sum, or the object of the JSON form.
    ///
    /// # Errors
    /// The first failure of the output.
    pub fn finish(mut self, url: &str) -> io::Result<usize> {
        let marked =
            |mark: Mark| self.findings.iter().filter(|told| told["mark"] == mark.name()).count();
        let (problems, warnings) = (marked(Mark::Problem), marked(Mark::Warning));
        if self.form == Form::Json {
            let findings = std::mem::take(&mut self.findings);
            let all = json!({
                "url": url, "well": problems == 0, "problems": problems, "warnings": warnings,
                "findings": findings,
            });
            self.print(&format!("{all:#}\n"));
        } else {
            let text = match (problems, warnings) {
                (0, 0) => "All is well.".to_owned(),
                (0, some) => {
                    format!("All that phones and dashboards need is well; warnings: {some}.")
                }
                (some, _) => format!("Problems: {some}, warnings: {warnings}."),
            };
            self.line(&format!("\n{text}"));
        }
        self.broken.map_or(Ok(problems), Err)
    }

    fn clear(&self) -> &'static str {
        if self.live { "\r\x1b[K" } else { "" }
    }

    fn print(&mut self, text: &str) {
        if self.broken.is_none() {
            let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
            self.broken = written.err();
        }
    }
}

/// The width of the longest check's name.
const NAME: usize = 11;

fn paragraph(form: Form, check: &str, finding: &Finding, lines: &[Lines]) -> String {
    let mark = match (form, finding.mark) {
        (Form::Marks, Mark::Good) => "✓",
        (Form::Marks, Mark::Problem) => "✗",
        (_, Mark::Good) => "+",
        (_, Mark::Problem) => "X",
        (_, Mark::Warning) => "!",
        (_, Mark::Note | Mark::Change) => "-",
    };
    // Whatever a stranger says must not begin a line of its own.
    let one = |text: &str| text.replace(char::is_control, " ");
    let mut text = format!("  {mark} {check:<NAME$}  {}\n", one(&finding.what));
    let indent = " ".repeat(NAME + 6);
    if !finding.remedy.is_empty() {
        text += &format!("{indent}remedy: {}\n", one(&finding.remedy));
    }
    for Lines { place, lines } in lines {
        text += &format!("{indent}{place}:\n");
        for line in lines {
            text += &format!("{indent}  {}\n", line.replace('\t', "    "));
        }
    }
    if form == Form::Ascii { text.replace('…', "...") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(form: Form, live: bool) -> (String, usize) {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, form, live);
        screen.wait("waiting", true);
        screen.wait("waiting on", false);
        screen.tell("name", &Finding::good("it is\nthere"), &[]);
        let lines = [Lines::settings(&["[http]", "a = b"])];
        screen.tell("root", &Finding::problem("bad", "mend it"), &lines);
        screen.tell("quiet", &Finding::warning("odd", ""), &[]);
        let problems = screen.finish("https://h:443").unwrap();
        (String::from_utf8(out).unwrap(), problems)
    }

    #[test]
    fn people_read_marks_remedies_and_lines() {
        let (text, problems) = told(Form::Marks, false);
        assert_eq!(problems, 1);
        assert_eq!(
            text,
            "  … waiting\n  ✓ name         it is there\n  ✗ root         bad\n                 \
             remedy: mend it\n                 gateway.ini:\n                   [http]\n                   \
             a = b\n  ! quiet        odd\n\nProblems: 1, warnings: 1.\n"
        );
        let (text, _) = told(Form::Ascii, true);
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("\r\x1b[K  ... waiting on\r\x1b[K  + name"), "{text}");
    }

    #[test]
    fn machines_read_one_object() {
        let (text, _) = told(Form::Json, true);
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&all["well"], &all["problems"]), (&json!(false), &json!(1)));
        assert_eq!(all["findings"][1]["lines"]["gateway.ini"][1], "a = b");
        assert_eq!(all["findings"][1]["mark"], "problem");
    }
}
