//! Reading everything, and reporting what is wrong.
use std::collections::BTreeMap;

use hua_kernels::MappedFile;

use super::{Finding, Reader, Report};
use crate::mapped::Mapped;
use crate::segments::row_bytes;
use crate::{Error, Result};

/// Findings of a kind at most; that there are more is told.
const MOST: usize = 20;

impl Reader {
    pub(super) fn check_all(&self) -> Result<Report> {
        let catalogue = self.lock();
        let mut report = Report::default();
        let name = catalogue.path.display().to_string();
        let mut find = |what: String| report.findings.push(Finding { file: name.clone(), what });
        // The file itself: pages, indices, the order of rows.
        let sound: Vec<String> = catalogue.all("PRAGMA integrity_check", [], |row| row.get(0))?;
        sound.into_iter().filter(|line| line != "ok").take(MOST).for_each(&mut find);
        // What belongs to items that are not there.
        for (what, sql) in [
            ("captions", "SELECT item FROM captions WHERE item NOT IN (SELECT id FROM items) LIMIT 21"),
            ("tags", "SELECT item FROM tags WHERE item NOT IN (SELECT id FROM items) LIMIT 21"),
            ("vectors", "SELECT item FROM vectors WHERE item NOT IN (SELECT id FROM items) LIMIT 21"),
            ("words", "SELECT id FROM (SELECT rowid AS id FROM words) WHERE id NOT IN (SELECT id FROM items) LIMIT 21"),
            ("no words", "SELECT id FROM items WHERE id NOT IN (SELECT rowid FROM words) LIMIT 21"),
        ] {
            let items: Vec<i64> = catalogue.all(sql, [], |row| row.get(0))?;
            let verb = if what == "no words" { "is there with" } else { "is not there, but has" };
            items.iter().take(MOST).for_each(|item| find(format!("item {item} {verb} {what}")));
            if items.len() > MOST {
                find(format!("... and more items like that: {verb} {what}"));
            }
        }
        let items: Option<i64> = catalogue.first("SELECT count(*) FROM items", [], |row| row.get(0))?;
        report.items = items.unwrap_or(0) as u64;
        drop(catalogue);
        for mapped in &self.mapped {
            self.check_space(mapped, &mut report)?;
        }
        Ok(report)
    }

    fn check_space(&self, mapped: &Mapped, report: &mut Report) -> Result<()> {
        let catalogue = self.lock();
        let (space, file) = (mapped.space.id.0, catalogue.path.display().to_string());
        report.rows += mapped.rows();
        let mut findings = vec![];
        let mut find = |file: &str, what: String| findings.push(Finding { file: file.into(), what });
        // Batches: together all rows of each segment, with the bytes that were written.
        let sql = "SELECT segment, first, rows, stored, codes, scales FROM batches WHERE space = ?1 ORDER BY segment, first";
        let mut batches: BTreeMap<i64, Vec<[i64; 5]>> = BTreeMap::new();
        for (segment, batch) in
            catalogue.all(sql, [space], |row| Ok((row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?])))?
        {
            batches.entry(segment).or_default().push(batch);
        }
        for (segment, paths) in mapped.each() {
            let map = |i: usize| MappedFile::open(&paths[i]).map_err(Error::io(&paths[i]));
            let maps = [map(0)?, map(1)?, map(2)?];
            let mut end = 0;
            for [first, rows, sums @ ..] in batches.remove(&segment.number).unwrap_or_default() {
                let range = u64::try_from(first)
                    .ok()
                    .zip(u64::try_from(rows).ok())
                    .and_then(|(first, rows)| Some((first, first.checked_add(rows)?)));
                let bytes =
                    range.filter(|range| range.0 == end && range.1 <= segment.rows).and_then(|range| bytes_of(mapped, &maps, range));
                let Some((range, bytes)) = range.zip(bytes) else {
                    find(&file, format!("segment {}: rows {first}.. of a batch do not follow the {end} before", segment.number));
                    continue;
                };
                end = range.1;
                for ((bytes, sum), path) in bytes.into_iter().zip(sums).zip(paths) {
                    if i64::from(crc32fast::hash(bytes)) != sum {
                        find(&path.display().to_string(), format!("rows {}..{} are not those that were written", range.0, range.1));
                    }
                }
            }
            if end != segment.rows {
                find(&file, format!("segment {}: batches have {end} rows, {} wanted", segment.number, segment.rows));
            }
        }
        for segment in batches.into_keys() {
            find(&file, format!("segment {segment} has batches and is not there"));
        }
        // Rows: each is alive and one item's, or dead and none's.
        let mut next = 0;
        let (mut alive, mut wrong) = (0, 0);
        loop {
            const AHEAD: i64 = 1 << 16;
            let sql = "SELECT row FROM vectors WHERE space = ?1 AND row >= ?2 ORDER BY row LIMIT ?3";
            let rows: Vec<i64> = catalogue.all(sql, [space, next, AHEAD], |row| row.get(0))?;
            for &row in &rows {
                let what = match mapped.scan_row(row) {
                    None => "is in no segment",
                    Some(at) if mapped.is_dead(at) => "is dead",
                    Some(_) => {
                        alive += 1;
                        continue;
                    }
                };
                wrong += 1;
                if wrong <= MOST {
                    find(&file, format!("row {row} of space {space} {what}, but an item has it"));
                }
            }
            match rows.last() {
                Some(last) if rows.len() as i64 == AHEAD => next = last + 1,
                _ => break,
            }
        }
        let wanted = mapped.rows() - mapped.dead_rows();
        if alive != wanted {
            find(&file, format!("space {space}: {alive} rows have an item, {wanted} should"));
        }
        report.findings.append(&mut findings);
        Ok(())
    }
}

/// The bytes of some rows in each file of a segment; `None` if there are not so many. `rows` is first and end.
fn bytes_of<'a>(mapped: &Mapped, maps: &'a [MappedFile; 3], rows: (u64, u64)) -> Option<[&'a [u8]; 3]> {
    let bytes = row_bytes(&mapped.space);
    let part = |i: usize| maps[i].as_ref().get(rows.0 as usize * bytes[i]..rows.1 as usize * bytes[i]);
    Some([part(0)?, part(1)?, part(2)?])
}
