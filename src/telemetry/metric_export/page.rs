//! The metrics page, read again: Prometheus' text format 0.0.4 as Gatekeeper writes it.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

/// Metrics of one name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Family<'p> {
    pub(super) name: &'p str,
    pub(super) help: &'p str,
    pub(super) kind: &'p str,
    pub(super) samples: Vec<Sample<'p>>,
}

/// One line.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'p> {
    /// The name's end behind that of the family: `_bucket`, `_sum`, `_count`, or nothing.
    pub(super) suffix: &'p str,
    pub(super) labels: Vec<(&'p str, String)>,
    pub(super) value: f64,
}

/// Reads the families of `page`. A line that is not understood is left out.
pub(super) fn read_page(page: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap_or((help, ""));
            family(&mut families, name).help = help;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or((kind, ""));
            family(&mut families, name).kind = kind;
        } else if let Some(family) = families.last_mut()
            && let Some(sample) = line.strip_prefix(family.name).and_then(read_sample)
        {
            family.samples.push(sample);
        }
    }
    families
}

/// The last family, which begins with the first line of the name.
fn family<'f, 'p>(families: &'f mut Vec<Family<'p>>, name: &'p str) -> &'f mut Family<'p> {
    if families.last().is_none_or(|last| last.name != name) {
        families.push(Family { name, ..Family::default() });
    }
    families.last_mut().expect("a family was added if there was none")
}

/// Reads a line behind the family's name.
fn read_sample(rest: &str) -> Option<Sample<'_>> {
    let end = rest.find(['{', ' '])?;
    let (suffix, rest) = rest.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.trim().parse().ok()?;
    Some(Sample { suffix, labels, value })
}

/// Reads labels up to the closing brace; returns the text behind.
fn read_labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, behind) = rest.split_once("=\"")?;
        let (value, behind) = read_value(behind)?;
        labels.push((name, value));
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
}

/// Reads a value up to the closing quotation mark; returns the text behind.
fn read_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            plain => value.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Metrics, catalog::CATALOG};

    #[test]
    fn lines_are_read_with_their_labels() {
        let page = "# HELP a_total Some \"help\".\n# TYPE a_total counter\na_total{x=\"1\",y=\"a,b}\\\"\\\\\\n\"} 7\na_total 8\n\n\
                    # TYPE b histogram\nb_bucket{le=\"0.5\"} 1\nb_sum 0.25\nnonsense\n";
        let families = read_page(page);
        let [a, b] = families.as_slice() else { panic!("{families:?}") };
        assert_eq!((a.name, a.help, a.kind), ("a_total", "Some \"help\".", "counter"));
        let labels = vec![("x", "1".to_owned()), ("y", "a,b}\"\\\n".to_owned())];
        assert_eq!(a.samples[0], Sample { suffix: "", labels, value: 7.0 });
        assert_eq!(a.samples[1], Sample { suffix: "", labels: Vec::new(), value: 8.0 });
        assert_eq!((b.samples[0].suffix, b.samples[1].suffix, b.samples.len()), ("_bucket", "_sum", 2));
    }

    #[test]
    fn every_line_of_the_own_page_is_read() {
        let metrics = Metrics::new();
        metrics.program().record_load(std::time::SystemTime::now());
        let page = metrics.render();
        let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        let families = read_page(&page);
        assert_eq!(families.iter().map(|family| family.samples.len()).sum::<usize>(), lines, "{page}");
        let is_known = |family: &&Family<'_>| CATALOG.iter().any(|metric| metric.name == family.name);
        assert!(families.iter().filter(is_known).count() > 5, "{families:?}");
    }
}
