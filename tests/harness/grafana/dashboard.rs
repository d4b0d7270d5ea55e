//! A Grafana dashboard, with the parts that the checks need.

use std::fs;

use serde_json::Value;

use super::file;

/// One dashboard. Row headings do not count as panels.
#[derive(Debug, Clone)]
pub struct Dashboard {
    pub json: Value,
    pub uid: String,
    pub title: String,
    pub panels: Vec<Panel>,
    pub variables: Vec<Variable>,
    /// Queries of the annotations.
    pub annotations: Vec<String>,
}

/// A panel.
#[derive(Debug, Clone)]
pub struct Panel {
    pub json: Value,
    pub title: String,
    pub kind: String,
    pub targets: Vec<Target>,
}

/// A query of a panel.
#[derive(Debug, Clone)]
pub struct Target {
    pub expr: String,
    pub legend: String,
    pub instant: bool,
}

/// A variable at the top of a dashboard.
#[derive(Debug, Clone)]
pub struct Variable {
    pub name: String,
    /// `label_values(…)`; `None` where the choice is among data sources.
    pub query: Option<String>,
}

impl Dashboard {
    /// All that are shipped.
    pub fn all() -> Vec<Self> {
        let mut paths: Vec<_> = fs::read_dir(file("dashboards"))
            .expect("there are dashboards")
            .map(|entry| entry.expect("entries are readable").path())
            .collect();
        paths.sort();
        let read = |path| fs::read_to_string(path).expect("dashboards are readable");
        paths.iter().map(|path| Self::parse(serde_json::from_str(&read(path)).expect("JSON"))).collect()
    }

    pub fn parse(json: Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let panels =
            list(&json["panels"]).into_iter().filter(|panel| panel["type"] != "row").map(Panel::parse);
        let variables = list(&json["templating"]["list"]).into_iter().map(|variable| Variable {
            name: string(&variable["name"]),
            query: variable["query"]["query"].as_str().map(str::to_owned),
        });
        Self {
            uid: string(&json["uid"]),
            title: string(&json["title"]),
            panels: panels.collect(),
            variables: variables.collect(),
            annotations: list(&json["annotations"]["list"]).iter().map(|it| string(&it["expr"])).collect(),
            json,
        }
    }

    /// Every query of the panels, with its position.
    pub fn targets(&self) -> impl Iterator<Item = (String, &Panel, &Target)> {
        self.panels.iter().flat_map(move |panel| {
            let place = format!("{} / {}", self.uid, panel.title);
            panel.targets.iter().map(move |target| (place.clone(), panel, target))
        })
    }
}

impl Panel {
    fn parse(json: Value) -> Self {
        let targets = json["targets"].as_array().cloned().unwrap_or_default();
        let target = |target: &Value| Target {
            expr: string(&target["expr"]),
            legend: string(&target["legendFormat"]),
            instant: target["instant"] == true,
        };
        Self {
            title: string(&json["title"]),
            kind: string(&json["type"]),
            targets: targets.iter().map(target).collect(),
            json,
        }
    }

    /// Position: left, top, width, height.
    pub fn place(&self) -> [u64; 4] {
        ["x", "y", "w", "h"].map(|side| self.json["gridPos"][side].as_u64().unwrap_or(u64::MAX))
    }
}

impl Target {
    /// The labels named in the legend.
    pub fn legend_labels(&self) -> impl Iterator<Item = &str> {
        self.legend
            .split("{{")
            .skip(1)
            .filter_map(|rest| rest.split_once("}}"))
            .map(|(label, _)| label.trim())
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
