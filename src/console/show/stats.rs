//! `SHOW STATS` and related tables.
//!
//! Statistics are counted per endpoint: the name in a row is `@endpoint`, as PAUSE accepts it. The time of a
//! transaction is the sum of its statements' times; the client's time between statements is not included.

use super::ShowContext;
use crate::console::{
    averages::Averages,
    response::CommandResponse,
    stats_values::StatsValues,
    table::{Row, Value},
};

/// `SHOW STATS`: totals, then averages.
pub(super) fn show_stats(shown: ShowContext<'_>) -> CommandResponse {
    stats_table(shown, |counts, averages| {
        counts.in_column_order().into_iter().chain(averages.in_column_order()).collect()
    })
}

/// `SHOW STATS_TOTALS`
pub(super) fn show_totals(shown: ShowContext<'_>) -> CommandResponse {
    stats_table(shown, |counts, _| counts.in_column_order().to_vec())
}

/// `SHOW STATS_AVERAGES`
pub(super) fn show_averages(shown: ShowContext<'_>) -> CommandResponse {
    stats_table(shown, |_, averages| averages.in_column_order().to_vec())
}

/// `SHOW TOTALS`: the sum of all endpoints, one value per row.
pub(super) fn show_sums(shown: ShowContext<'_>) -> CommandResponse {
    const NAMES: [&str; 14] = [
        "total_xact_count",
        "total_query_count",
        "total_client_bytes",
        "total_server_bytes",
        "total_xact_time",
        "total_query_time",
        "total_wait_time",
        "avg_xact_count",
        "avg_query_count",
        "avg_client_bytes",
        "avg_server_bytes",
        "avg_xact_time",
        "avg_query_time",
        "avg_wait_time",
    ];
    let all = StatsValues::by_endpoint(&shown.context.observers.metrics);
    let counts = all.values().fold(StatsValues::default(), |sum, counts| sum.plus(counts));
    let averages = shown.context.averages.load().all();
    let figures = counts.in_column_order().into_iter().chain(averages.in_column_order());
    let rows: Vec<Row> =
        NAMES.into_iter().zip(figures).map(|(name, figure)| vec![name.into(), figure.into()]).collect();
    CommandResponse::rows(rows)
}

fn stats_table(
    shown: ShowContext<'_>,
    figures: impl Fn(&StatsValues, &StatsValues) -> Vec<u64>,
) -> CommandResponse {
    let averages: std::sync::Arc<Averages> = shown.context.averages.load();
    let rows: Vec<Row> = StatsValues::by_endpoint(&shown.context.observers.metrics)
        .into_iter()
        .map(|(endpoint, counts)| {
            let mut row: Row = vec![format!("@{endpoint}").into()];
            row.extend(figures(&counts, &averages.of(&endpoint)).into_iter().map(Value::from));
            row
        })
        .collect();
    CommandResponse::rows(rows)
}
