//! What Prometheus would read, by name.

use std::collections::BTreeMap;

/// Values by their names, with the labels as they are printed.
pub struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// Reads the text; a line that is none of its form is left out.
    pub fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Samples(lines.filter_map(sample).collect())
    }

    /// The value of a sample, such as `sockets` or `connections{listener="api"}`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(&format!("swob_gateway_{name}")).or_else(|| self.0.get(name)).copied()
    }

    /// The value of the label of the one sample of this name.
    pub fn label(&self, name: &str) -> Option<&str> {
        let name = format!("swob_gateway_{name}{{");
        let (known, _) = self.0.range(name.clone()..).next()?;
        known.strip_prefix(&name)?.split('"').nth(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_their_names() {
        let samples = Samples::parse(
            "# HELP swob_gateway_a x 3\nswob_gateway_a 1.5\nswob_gateway_b{c=\"d\",e=\"f\"} 2\n\
             process_threads 7\nswob_gateway_info{version=\"1.2\"} 1\nrubbish\nalso rubbish\n",
        );
        let check = |name: &str, expected| assert_eq!(samples.get(name), expected, "{name}");
        check("a", Some(1.5));
        check("b{c=\"d\",e=\"f\"}", Some(2.0));
        check("process_threads", Some(7.0));
        check("b", None);
        check("rubbish", None);
        check("also", None);
        assert_eq!(samples.label("info"), Some("1.2"));
        assert_eq!(samples.label("a"), None);
        assert_eq!(samples.label("z"), None);
    }
}
