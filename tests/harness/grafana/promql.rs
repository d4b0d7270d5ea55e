//! A Prometheus query, parsed as far as the checks need: the selected series, and the functions applied to them.
//!
//! Only Prometheus checks the syntax.

/// A query, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pub selectors: Vec<Selector>,
    /// Labels that series are grouped or matched by.
    pub grouped: Vec<String>,
    /// Variables of Grafana.
    pub variables: Vec<String>,
}

/// Where a query takes series from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    pub metric: String,
    /// Labels that are looked at.
    pub labels: Vec<String>,
    /// The innermost enclosing function.
    pub function: String,
    /// True for a range selector.
    pub range: bool,
    /// Text of the selector, without the range.
    pub text: String,
}

/// Keywords followed by a list of labels.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words of the language that are not functions.
const WORDS: [&str; 7] = ["and", "or", "unless", "offset", "bool", "inf", "nan"];

impl Query {
    pub fn parse(text: &str) -> Self {
        let mut parser = Parser { text, at: 0, query: Self::default(), functions: Vec::new() };
        while parser.step() {}
        parser.query.variables = variables(text);
        parser.query
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    query: Query,
    /// The function of each parenthesis that is open.
    functions: Vec<String>,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes characters while `belongs` accepts.
    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !belongs(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Takes all text up to and including `end`. Strings with brackets do not occur here.
    fn take_to(&mut self, end: char) -> &'a str {
        let rest = self.rest();
        let length = rest.find(end).unwrap_or(rest.len());
        self.at = (self.at + length + end.len_utf8()).min(self.text.len());
        &rest[..length]
    }

    fn step(&mut self) -> bool {
        self.take(char::is_whitespace);
        let Some(next) = self.rest().chars().next() else { return false };
        if next.is_ascii_alphabetic() || next == '_' || next == ':' {
            let word = self.take(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
            self.word(word);
        } else if next.is_ascii_digit() || next == '.' {
            self.take(|c| c.is_ascii_alphanumeric() || c == '.');
        } else {
            self.at += next.len_utf8();
            match next {
                '(' => self.functions.push(String::new()),
                ')' => drop(self.functions.pop()),
                '"' => drop(self.take_to('"')),
                '[' => drop(self.take_to(']')),
                _ => {}
            }
        }
        true
    }

    fn word(&mut self, word: &str) {
        let start = self.at - word.len();
        self.take(char::is_whitespace);
        let called = self.rest().starts_with('(');
        if GROUPING.contains(&word) {
            if called {
                self.grouping();
            }
        } else if called && !WORDS.contains(&word) {
            self.at += 1;
            self.functions.push(word.to_owned());
        } else if !WORDS.contains(&word) && !self.aggregates(word) {
            self.selector(word, start);
        }
    }

    /// An aggregation whose grouping comes before its argument: `sum by (…) (…)`.
    fn aggregates(&mut self, word: &str) -> bool {
        let Some(grouping) =
            GROUPING.iter().find(|grouping| self.rest().starts_with(&format!("{grouping} ")))
        else {
            return false;
        };
        if !["sum", "max", "min", "count", "avg"].contains(&word) {
            return false;
        }
        self.at += grouping.len();
        self.take(char::is_whitespace);
        self.grouping();
        self.take(char::is_whitespace);
        if self.rest().starts_with('(') {
            self.at += 1;
            self.functions.push(word.to_owned());
        }
        true
    }

    /// Takes a list of labels, from its parenthesis on.
    fn grouping(&mut self) {
        self.at += 1;
        let labels = self.take_to(')');
        self.query.grouped.extend(names(labels));
    }

    fn selector(&mut self, metric: &str, start: usize) {
        let mut selector = Selector { metric: metric.to_owned(), ..Selector::default() };
        if self.rest().starts_with('{') {
            self.at += 1;
            let matchers = self.take_to('}');
            selector.labels = matchers
                .split(',')
                .filter_map(|matcher| matcher.split(['=', '!']).next())
                .flat_map(names)
                .collect();
        }
        selector.text = self.text[start..self.at].trim_end().to_owned();
        if self.rest().starts_with('[') {
            self.take_to(']');
            selector.range = true;
        }
        selector.function = self.functions.last().cloned().unwrap_or_default();
        self.query.selectors.push(selector);
    }
}

fn names(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn variables(text: &str) -> Vec<String> {
    let name = |rest: &str| -> String {
        rest.trim_start_matches('{').chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    text.split('$').skip(1).map(name).collect()
}

#[test]
fn a_query_is_parsed() {
    let query = Query::parse(
        "histogram_quantile(0.99, sum by (le, endpoint) (rate(a_bucket{job=~\"$job\", x!=\"by (y)\"}[$__rate_interval])))\n\
         / on (endpoint) group_left (region) (max(b) > 0) or vector(0) unless time() - c{} < 5m",
    );
    let selector = |metric: &str, labels: &[&str], function: &str, range, text: &str| Selector {
        metric: metric.to_owned(),
        labels: labels.iter().map(ToString::to_string).collect(),
        function: function.to_owned(),
        range,
        text: text.to_owned(),
    };
    assert_eq!(
        query.selectors,
        [
            selector("a_bucket", &["job", "x"], "rate", true, "a_bucket{job=~\"$job\", x!=\"by (y)\"}"),
            selector("b", &[], "max", false, "b"),
            selector("c", &[], "", false, "c{}"),
        ]
    );
    assert_eq!(query.grouped, ["le", "endpoint", "endpoint", "region"]);
    assert_eq!(query.variables, ["job", "__rate_interval"]);
}
