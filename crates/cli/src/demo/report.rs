//! What the stories showed: one row for each, and over several runs the median and the maximum.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::record::Ms;

/// What one story showed, by the plant's record.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) story: &'static str,
    /// From the fault to the new holder's first write; none where the work is not meant to move.
    #[serde(serialize_with = "tenths_or_none")]
    pub(crate) failover_ms: Option<Ms>,
    /// The time with nobody active.
    #[serde(serialize_with = "tenths_or_none")]
    pub(crate) gap_ms: Option<Ms>,
    /// The time with two active.
    #[serde(serialize_with = "tenths")]
    pub(crate) overlap_ms: Ms,
    pub(crate) ok: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<String>,
}

/// Several runs of one story.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) summary: &'static str,
    runs: usize,
    failover_ms_median: Option<Ms>,
    failover_ms_max: Option<Ms>,
    gap_ms_median: Option<Ms>,
    gap_ms_max: Option<Ms>,
    overlap_ms_max: Ms,
    ok: bool,
}

pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut table = bare_table(["story", "failover", "nobody active", "two active", ""]);
    for outcome in outcomes {
        table.add_row([
            outcome.story.to_owned(),
            shown(outcome.failover_ms),
            shown(outcome.gap_ms),
            shown(Some(outcome.overlap_ms)),
            verdict(outcome.ok).to_owned(),
        ]);
    }
    finished(table)
}

pub(crate) fn summary_table(summaries: &[Summary]) -> String {
    let mut table =
        bare_table(["story", "runs", "failover median", "max", "nobody active median", "max", "two active max", ""]);
    for one in summaries {
        table.add_row([
            one.summary.to_owned(),
            one.runs.to_string(),
            shown(one.failover_ms_median),
            shown(one.failover_ms_max),
            shown(one.gap_ms_median),
            shown(one.gap_ms_max),
            shown(Some(one.overlap_ms_max)),
            verdict(one.ok).to_owned(),
        ]);
    }
    finished(table)
}

/// One summary for each story, in the order in which they were first played.
pub(crate) fn summaries(outcomes: &[Outcome]) -> Vec<Summary> {
    let mut names: Vec<&'static str> = Vec::new();
    for outcome in outcomes {
        if !names.contains(&outcome.story) {
            names.push(outcome.story);
        }
    }
    names.into_iter().map(|name| summary(name, outcomes)).collect()
}

fn summary(name: &'static str, outcomes: &[Outcome]) -> Summary {
    let runs: Vec<_> = outcomes.iter().filter(|o| o.story == name).collect();
    let failovers: Vec<_> = runs.iter().filter_map(|o| o.failover_ms).collect();
    let gaps: Vec<_> = runs.iter().filter_map(|o| o.gap_ms).collect();
    let overlaps: Vec<_> = runs.iter().map(|o| o.overlap_ms).collect();
    Summary {
        summary: name,
        runs: runs.len(),
        failover_ms_median: median(&failovers),
        failover_ms_max: maximum(&failovers),
        gap_ms_median: median(&gaps),
        gap_ms_max: maximum(&gaps),
        overlap_ms_max: maximum(&overlaps).unwrap_or(0.0),
        ok: runs.iter().all(|o| o.ok),
    }
}

fn median(values: &[Ms]) -> Option<Ms> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(rounded(sorted[middle])),
        _ => Some(rounded((sorted[middle - 1] + sorted[middle]) / 2.0)),
    }
}

fn maximum(values: &[Ms]) -> Option<Ms> {
    values.iter().copied().max_by(f64::total_cmp).map(rounded)
}

fn rounded(value: Ms) -> Ms {
    (value * 10.0).round() / 10.0
}

fn tenths<S: serde::Serializer>(value: &Ms, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(rounded(*value))
}

fn tenths_or_none<S: serde::Serializer>(value: &Option<Ms>, to: S) -> Result<S::Ok, S::Error> {
    value.map(rounded).serialize(to)
}

fn shown(value: Option<Ms>) -> String {
    value.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0} ms"))
}

fn verdict(ok: bool) -> &'static str {
    if ok { "ok" } else { "FAILED" }
}

fn bare_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn finished(table: Table) -> String {
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(story: &'static str, failover: Option<Ms>) -> Outcome {
        Outcome { story, failover_ms: failover, gap_ms: Some(12.0), overlap_ms: 0.0, ok: true, problems: Vec::new() }
    }

    #[test]
    fn a_story_is_one_json_object() {
        let text = serde_json::to_string(&outcome("crash", Some(2012.345))).unwrap();
        assert_eq!(text, r#"{"story":"crash","failover_ms":2012.3,"gap_ms":12.0,"overlap_ms":0.0,"ok":true}"#);
    }

    #[test]
    fn runs_are_summed_up_by_story() {
        let mut played: Vec<_> = [5.0, 1.0, 9.0, 3.0].map(|ms| outcome("crash", Some(ms))).to_vec();
        played.insert(1, outcome("return", None));
        played[0].ok = false;
        let [crash, back] = &summaries(&played)[..] else { panic!("two stories") };
        assert_eq!((crash.summary, crash.runs, crash.ok), ("crash", 4, false));
        assert_eq!((crash.failover_ms_median, crash.failover_ms_max), (Some(4.0), Some(9.0)));
        assert_eq!((back.runs, back.failover_ms_median, back.ok), (1, None, true));
    }

    #[test]
    fn the_table_says_all_in_words() {
        let mut failed = outcome("crash", Some(2012.3));
        failed.ok = false;
        let text = table(&[failed, outcome("return", None)]);
        assert!(text.contains("2012 ms") && text.contains("FAILED") && text.contains('–'), "{text}");
    }
}
