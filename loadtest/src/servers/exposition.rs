//! Prometheus's text form (version 0.0.4), as far as figures need it: `name{label="value"} number`.

use std::collections::BTreeMap;

/// The samples of an answer, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Exposition {
    samples: Vec<Sample>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Exposition {
    /// The samples whose names `wanted` wants; lines that are no samples are left out.
    pub(crate) fn parse(text: &str, wanted: impl Fn(&str) -> bool) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| sample(line, &wanted));
        Self {
            samples: samples.collect(),
        }
    }

    /// The samples of that name.
    pub(crate) fn of<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.name == name)
    }

    /// The sum over all label values; none when there is no such metric.
    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        let values = self.of(name).map(|sample| sample.value);
        values.reduce(|sum, value| sum + value)
    }

    /// The largest over all label values.
    pub(crate) fn max(&self, name: &str) -> Option<f64> {
        self.of(name).map(|sample| sample.value).reduce(f64::max)
    }
}

fn sample(line: &str, wanted: impl Fn(&str) -> bool) -> Option<Sample> {
    let name_end = line.find(|at: char| at == '{' || at.is_whitespace())?;
    let (name, rest) = line.split_at(name_end);
    if !wanted(name) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// `a="x",b="y"} rest`; a value may hold escaped quotes and braces.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (at, each) in quoted.char_indices() {
            match each {
                _ if escaped => {
                    value.push(if each == 'n' { '\n' } else { each });
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    end = Some(at);
                    break;
                }
                _ => value.push(each),
            }
        }
        labels.insert(name.to_owned(), value);
        rest = &quoted[end? + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_and_without_labels_are_read_and_comments_are_not() {
        let text = "# HELP up Whether.\n# TYPE up gauge\nup 1\n\
            requests_total{path=\"/v1/users/{id}\",status=\"200\"} 12\n\
            requests_total{path=\"a \\\"b\\\"\",status=\"404\"} 3 1700000000\nrubbish\n";
        let said = Exposition::parse(text, |name| name != "up");
        assert_eq!(said.sum("up"), None, "nobody wanted it");
        assert_eq!(said.sum("requests_total"), Some(15.0));
        assert_eq!(said.max("requests_total"), Some(12.0));
        assert_eq!(said.sum("absent"), None);
        let paths: Vec<_> = said
            .of("requests_total")
            .map(|sample| &*sample.labels["path"])
            .collect();
        assert_eq!(paths, ["/v1/users/{id}", "a \"b\""]);
    }
}
