//! Rows as a table for people and for the shell: cells have no blanks, but for the last column of a wide table; `-` stands for nothing.

use std::fmt::Display;

use super::rows::{ClashRow, ClientRow, EndpointRow, FrontendRow, ServiceRow};
use super::select::ListRows;

/// The widest column: names of service ports are shorter. A wider cell pushes what follows it to the right, and does not pad other rows.
pub const MAX_WIDTH: usize = 200;

/// How many values of a list a cell shows.
const MAX_VALUES: usize = 10;

/// How much of each row a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableWidth {
    /// What is asked for most often.
    Narrow,
    /// Everything.
    Wide,
}

/// The columns of a row.
type Cells = Vec<String>;

/// Lines with aligned columns, the names of the columns first.
pub fn columns(names: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = names.iter().map(|name| name.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count()).min(MAX_WIDTH);
        }
    }
    let mut text = String::new();
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&names).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

impl ListRows {
    /// The rows as a table.
    pub fn table(&self, width: TableWidth) -> String {
        match self {
            Self::Services(rows) => table(rows, width),
            Self::Endpoints(rows) => table(rows, width),
            Self::Frontends(rows) => table(rows, width),
            Self::Clashes(rows) => table(rows, width),
        }
    }
}

impl ClientRow {
    /// The rows as a table.
    pub fn table(rows: &[Self], width: TableWidth) -> String {
        table(rows, width)
    }
}

/// A row of a table. The first columns are those of a narrow one.
trait TableRow {
    const NARROW: &'static [&'static str];
    const WIDE: &'static [&'static str];

    fn cells(&self) -> Cells;
}

fn table<R: TableRow>(rows: &[R], width: TableWidth) -> String {
    let names = match width {
        TableWidth::Narrow => R::NARROW,
        TableWidth::Wide => &[R::NARROW, R::WIDE].concat(),
    };
    let rows: Vec<Cells> = rows.iter().map(|row| row.cells().into_iter().take(names.len()).collect()).collect();
    columns(names, &rows)
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The first values of a list, and how many more there are.
fn joined(values: &[impl Display]) -> String {
    first_values(values, ",", "+").unwrap_or_else(|| "-".to_owned())
}

/// The first values of a list with a separator, and the number of the others after a mark; `None` of an empty list.
fn first_values(values: &[impl Display], separator: &str, mark: &str) -> Option<String> {
    let mut shown: Vec<String> = values.iter().take(MAX_VALUES).map(ToString::to_string).collect();
    let more = values.len() - shown.len();
    if more > 0 {
        shown.push(format!("{mark}{more}"));
    }
    (!shown.is_empty()).then(|| shown.join(separator))
}

impl TableRow for ServiceRow {
    const NARROW: &'static [&'static str] = &["SERVICE", "CLUSTER-IPS", "PORTS", "ENDPOINTS"];
    const WIDE: &'static [&'static str] =
        &["EXTERNAL-IPS", "LB-IPS", "INTERNAL", "EXTERNAL", "AFFINITY", "HEALTH-PORT", "CREATED", "PROBLEMS"];

    fn cells(&self) -> Cells {
        vec![
            self.service.clone(),
            joined(&self.cluster_ips),
            joined(&self.ports),
            format!("{}/{}", self.endpoints_used, self.endpoints),
            joined(&self.external_ips),
            joined(&self.load_balancer_ips),
            self.internal_policy.clone(),
            self.external_policy.clone(),
            or_dash(self.affinity_seconds),
            or_dash(self.health_check_node_port),
            or_dash(self.created),
            first_values(&self.problems, "; ", "more: ").unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

impl TableRow for EndpointRow {
    const NARROW: &'static [&'static str] = &["SERVICE", "POLICY", "ENDPOINT", "NODE", "USED", "REASON"];
    const WIDE: &'static [&'static str] = &["ZONE-HINTS", "NODE-HINTS", "WHY"];

    fn cells(&self) -> Cells {
        vec![
            self.service.clone(),
            self.policy.clone(),
            self.endpoint.clone(),
            or_dash(self.node.as_deref()),
            if self.used { "yes" } else { "no" }.to_owned(),
            self.reason.clone(),
            joined(&self.zone_hints),
            joined(&self.node_hints),
            self.why.clone(),
        ]
    }
}

impl TableRow for FrontendRow {
    const NARROW: &'static [&'static str] = &["SERVICE", "FRONTEND", "KIND", "OUTCOME", "ENDPOINTS", "LOCAL"];
    const WIDE: &'static [&'static str] = &["AFFINITY", "SOURCES", "LOST"];

    fn cells(&self) -> Cells {
        vec![
            self.service.clone(),
            self.frontend.clone(),
            self.kind.clone(),
            self.outcome.clone(),
            self.endpoints.to_string(),
            or_dash(self.local_endpoints),
            or_dash(self.affinity_seconds),
            self.sources.as_ref().map_or_else(|| "all".to_owned(), |sources| joined(sources)),
            joined(&self.lost),
        ]
    }
}

impl TableRow for ClashRow {
    const NARROW: &'static [&'static str] = &["LOSER", "FRONTEND", "WINNER", "RULE"];
    const WIDE: &'static [&'static str] = &["WHY"];

    fn cells(&self) -> Cells {
        vec![self.loser.clone(), self.frontend.clone(), self.winner.clone(), self.rule.clone(), self.why.clone()]
    }
}

impl TableRow for ClientRow {
    const NARROW: &'static [&'static str] = &["SERVICE", "FRONTEND", "CLIENT", "ENDPOINT", "SECONDS"];
    const WIDE: &'static [&'static str] = &[];

    fn cells(&self) -> Cells {
        vec![
            self.service.clone(),
            self.frontend.clone(),
            self.client.to_string(),
            or_dash(self.endpoint.as_deref()),
            or_dash(self.seconds_left),
        ]
    }
}
