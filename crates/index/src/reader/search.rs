//! Search by vector: filter, scan, rank.
//!
//! Decided here: the scan of int8 rows gives more candidates than are wanted, and the stored rows rank them. How far scan and stored row
//! differ is seen at the candidates themselves; if the last of the wanted is not clear of the last candidate by several times that, four
//! times as many are asked for. So crowded neighbourhoods, where int8 cannot tell who is nearer, are answered as well as empty ones.
use hua_kernels::Cores;
use hua_kernels::scan::ScanQuery;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::{Hit, Reader, lost};
use crate::catalogue::Catalogue;
use crate::mapped::{Mapped, NONE};
use crate::writer::unit;
use crate::{Error, Filter, ItemId, Result};

/// Candidates at most, unless more are wanted.
const MOST: usize = 1 << 14;
/// Times the usual difference of scan and stored row that make a candidate clear: of a million rows none is farther off by chance.
const CLEAR: f64 = 5.0;

impl Reader {
    pub(super) fn search_space(
        &self,
        cores: &Cores,
        mapped: &Mapped,
        queries: &[&[f32]],
        filter: &Filter,
        k: usize,
    ) -> Result<Vec<Vec<Hit>>> {
        let wanted = mapped.space.spec.width;
        let queries: Vec<_> = queries
            .iter()
            .map(|query| match unit(query) {
                _ if query.len() != wanted => Err(Error::Width { found: query.len(), wanted }),
                None => Err(Error::NotFinite { of: "a query".into() }),
                Some(query) => Ok(query),
            })
            .collect::<Result<_>>()?;
        let picked = if filter.is_all() { None } else { Some(self.picked(mapped, filter)?) };
        let rows = picked.as_ref().map_or((mapped.rows() - mapped.dead_rows()) as usize, Vec::len);
        let k = k.min(rows);
        if k == 0 {
            return Ok(vec![vec![]; queries.len()]);
        }
        let scanned: Vec<ScanQuery> = queries.iter().map(|query| ScanQuery::new(query)).collect();
        let mut answers: Vec<Option<Vec<Hit>>> = vec![None; queries.len()];
        let mut candidates = (8 * k + 64).min(rows);
        loop {
            let open: Vec<usize> = (0..queries.len()).filter(|&i| answers[i].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let asked: Vec<ScanQuery> = open.iter().map(|&i| scanned[i].clone()).collect();
            let best = mapped.scan(cores, &asked, picked.as_deref(), candidates)?;
            let last = candidates >= rows || candidates >= MOST.max(8 * k + 64);
            for (i, best) in open.into_iter().zip(best) {
                let (ranked, clear) = rank(cores, mapped, &queries[i], best, k)?;
                if clear || last {
                    answers[i] = Some(self.hits(mapped, ranked, k)?);
                }
            }
            candidates = (4 * candidates).min(rows);
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// The rows of a filter, by the scan's numbers, in rising order.
    fn picked(&self, mapped: &Mapped, filter: &Filter) -> Result<Vec<u32>> {
        let catalogue = self.lock();
        let (select, values) = filter.select(&catalogue)?;
        // The items first, then the row of each, in that order whatever SQLite thinks of it.
        let look_up = |limit: i64| {
            let (space, most) = (values.len() + 1, values.len() + 2);
            let sql = format!(
                "SELECT vectors.row FROM ({select}) AS picked CROSS JOIN vectors ON vectors.item = picked.id AND vectors.space = ?{space} LIMIT ?{most}"
            );
            let values = values.iter().cloned().chain([mapped.space.id.0.into(), limit.into()]);
            filter.run(&catalogue, || integers(&catalogue, &sql, values))
        };
        let finish = |rows: Vec<i64>| {
            let number = |row| mapped.scan_row(row).ok_or_else(|| catalogue.damaged(lost(row, mapped)));
            let mut rows: Vec<u32> = rows.into_iter().map(number).collect::<Result<_>>()?;
            rows.sort_unstable();
            Ok(rows)
        };
        let mut known = mapped.rows_of_items(&catalogue, 0)?;
        if known.is_none() {
            let most = mapped.worth_knowing();
            let rows = look_up(most as i64)?;
            known = mapped.rows_of_items(&catalogue, rows.len())?;
            if rows.len() < most {
                return finish(rows);
            }
        }
        let Some(known) = known else { return finish(look_up(i64::MAX)?) };
        let items = filter.run(&catalogue, || integers(&catalogue, &select, values.iter().cloned()))?;
        let row = |item: i64| known.get(usize::try_from(item).ok()?).copied().filter(|&row| row != NONE);
        let mut rows: Vec<u32> = items.into_iter().filter_map(row).collect();
        rows.sort_unstable();
        Ok(rows)
    }

    /// The first `k` of ranked rows, and with them their items: those of the same score by item.
    fn hits(&self, mapped: &Mapped, ranked: Vec<(f32, u32)>, k: usize) -> Result<Vec<Hit>> {
        let catalogue = self.lock();
        let floor = ranked[k.min(ranked.len()) - 1].0;
        let mut hits = vec![];
        for (score, row) in ranked.into_iter().take_while(|(score, _)| *score >= floor) {
            let row = mapped.catalogue_row(row);
            let sql = "SELECT item FROM vectors WHERE space = ?1 AND row = ?2";
            let item = catalogue.first(sql, [mapped.space.id.0, row], |row| row.get(0))?;
            let item = item.map(ItemId).ok_or_else(|| catalogue.damaged(format!("row {row} is alive and of no item")))?;
            hits.push(Hit { item, score });
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        hits.truncate(k);
        Ok(hits)
    }
}

fn integers(catalogue: &Catalogue, sql: &str, values: impl IntoIterator<Item = Value>) -> rusqlite::Result<Vec<i64>> {
    catalogue.db.prepare(sql)?.query_map(params_from_iter(values), |row| row.get(0))?.collect()
}

/// Candidates by their products with stored rows, the greatest first; and whether the first `k` are surely the nearest of all.
fn rank(cores: &Cores, mapped: &Mapped, query: &[f32], candidates: Vec<(f32, u32)>, k: usize) -> Result<(Vec<(f32, u32)>, bool)> {
    let last = candidates.last().map_or(f32::NEG_INFINITY, |c| c.0);
    let (mut squares, mut buffer) = (0.0, vec![]);
    let mut ranked = Vec::with_capacity(candidates.len());
    for (scanned, row) in candidates {
        let score = mapped.product(cores.isa(), query, row, &mut buffer)?;
        squares += f64::from(score - scanned).powi(2);
        ranked.push((score, row));
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let usual = (squares / ranked.len().max(1) as f64).sqrt();
    let clear = ranked.get(k - 1).is_some_and(|wanted| f64::from(wanted.0) > f64::from(last) + CLEAR * usual);
    Ok((ranked, clear))
}
