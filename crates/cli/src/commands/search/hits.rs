//! Hits as a table for other programs: a row a hit, as CSV or parquet. Columns that `hua index export` has too mean the same.

use hua::data::{Column, write_table};

use super::show::{Answer, Hit};
use crate::output::Draft;
use crate::sheet::Asked;

const COLUMNS: [&str; 10] = ["query", "rank", "path", "score", "level", "word_rank", "item", "taken", "caption", "tags"];

/// Writes all hits of all queries, in order; which kind of table the name says.
pub fn write(mut draft: Draft, parquet: bool, asked: &[Asked], answers: &[Answer]) -> anyhow::Result<()> {
    let hits = || asked.iter().zip(answers).flat_map(|(asked, answer)| (1..).zip(&answer.hits).map(move |(rank, hit)| (asked, rank, hit)));
    let float = |of: fn(&Hit) -> Option<f32>| Column::Float(hits().map(|(_, _, hit)| of(hit).map(shortest)).collect());
    let text = |of: fn(&Hit) -> Option<String>| Column::Text(hits().map(|(_, _, hit)| of(hit)).collect());
    let int = |of: fn(&Hit) -> Option<i64>| Column::Int(hits().map(|(_, _, hit)| of(hit)).collect());
    let columns = [
        Column::Text(hits().map(|(asked, ..)| Some(asked.name().to_owned())).collect()),
        Column::Int(hits().map(|(_, rank, _)| Some(rank)).collect()),
        text(|hit| Some(hit.path.clone())),
        float(|hit| hit.score),
        float(|hit| hit.level),
        int(|hit| hit.word_rank.map(|rank| rank as i64)),
        int(|hit| Some(hit.more.as_ref()?.item)),
        text(|hit| hit.more.as_ref()?.taken.clone()),
        text(|hit| Some(hit.more.as_ref()?.captions.first()?.text.clone())),
        text(tags),
    ];
    if parquet {
        let columns: Vec<(&str, Column)> = COLUMNS.into_iter().zip(columns).collect();
        write_table(draft.part(), &columns)?;
    } else {
        let mut table = csv::Writer::from_writer(draft.file());
        table.write_record(COLUMNS)?;
        for row in 0..columns[0].len() {
            table.write_record(columns.iter().map(|column| cell(column, row)))?;
        }
        table.flush()?;
    }
    draft.finish()
}

/// The number whose digits are those of the f32: 0.7 is no 0.699999988.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| x.into())
}

/// Each tag once, as JSON, since a cell is one text.
fn tags(hit: &Hit) -> Option<String> {
    let mut tags: Vec<&str> = hit.more.as_ref()?.tags.iter().map(|tag| tag.tag.as_str()).collect();
    tags.sort_unstable();
    tags.dedup();
    (!tags.is_empty()).then(|| serde_json::json!(tags).to_string())
}

fn cell(column: &Column, row: usize) -> String {
    match column {
        Column::Float(cells) => cells[row].map(|x| x.to_string()),
        Column::Int(cells) => cells[row].map(|x| x.to_string()),
        Column::Text(cells) => cells[row].clone(),
    }
    .unwrap_or_default()
}
