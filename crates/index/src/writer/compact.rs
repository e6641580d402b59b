//! Compaction: segments with many dead rows are written anew without them.
//!
//! Decided here: the living rows of such a segment are appended, as they are, to the last segment or a new one, and the catalogue moves
//! their items there in one commit; only then do the old files go. Readers of an older snapshot keep their maps of them.
use hua_kernels::MappedFile;
use rusqlite::params;

use super::{Compaction, Writer};
use crate::segments::{Segment, files, list, row_bytes};
use crate::{Error, Result, SpaceId, disk};

impl Writer {
    /// The work of [`Writer::compact`], with nothing uncommitted before it.
    pub(super) fn compact_segments(&mut self, all: bool) -> Result<Compaction> {
        let mut done = Compaction::default();
        let mut old = vec![];
        for id in self.segments.keys().copied().collect::<Vec<_>>() {
            let segments = &self.segments[&id];
            let space = segments.space.clone();
            let many = |s: &Segment| s.dead > 0 && (all || s.dead * 3 >= s.rows);
            let chosen: Vec<Segment> = list(&self.catalogue, &space)?.into_iter().filter(many).collect();
            if chosen.is_empty() {
                continue;
            }
            // Nothing is appended to a segment that goes.
            let segments = self.segments.get_mut(&id).expect("one of the keys");
            if segments.current().is_some_and(|number| chosen.iter().any(|s| s.number == number)) {
                segments.end_segment(&self.catalogue)?;
            }
            for segment in chosen {
                old.extend(files(&self.segments[&id].folder, segment.number, space.spec.dtype));
                self.move_rows(id, segment)?;
                done.segments += 1;
                done.rows += segment.dead;
                done.bytes += segment.dead * row_bytes(&space).iter().sum::<usize>() as u64;
            }
        }
        if old.is_empty() {
            return Ok(done);
        }
        self.commit()?;
        old.iter().try_for_each(|path| disk::remove(path))?;
        Ok(done)
    }

    fn move_rows(&mut self, id: SpaceId, segment: Segment) -> Result<()> {
        let catalogue = &self.catalogue;
        let segments = self.segments.get_mut(&id).ok_or(Error::NoSpace { space: id })?;
        let (rows, bytes) = (segments.rows_each as i64, row_bytes(&segments.space));
        let (from, to) = (segment.number * rows, segment.number * rows + rows);
        let sql = "SELECT row, item FROM vectors WHERE space = ?1 AND row >= ?2 AND row < ?3 ORDER BY row";
        let living: Vec<(i64, i64)> = catalogue.all(sql, [id.0, from, to], |row| Ok((row.get(0)?, row.get(1)?)))?;
        catalogue.execute("DELETE FROM vectors WHERE space = ?1 AND row >= ?2 AND row < ?3", [id.0, from, to])?;
        if !living.is_empty() {
            let paths = files(&segments.folder, segment.number, segments.space.spec.dtype);
            let map = |i: usize| MappedFile::open(&paths[i]).map_err(Error::io(&paths[i]));
            let maps = [map(0)?, map(1)?, map(2)?];
            for (row, item) in living {
                let at = (row - from) as usize;
                let part = |i: usize| -> Result<&[u8]> {
                    let (file, wanted) = (maps[i].as_ref(), (at + 1) * bytes[i]);
                    let short = || Error::Segment { path: paths[i].clone(), found: file.len() as u64, wanted: wanted as u64 };
                    file.get(at * bytes[i]..wanted).ok_or_else(short)
                };
                let row = segments.append(catalogue, [part(0)?, part(1)?, part(2)?])?;
                catalogue.execute("INSERT INTO vectors (space, row, item) VALUES (?1, ?2, ?3)", [id.0, row, item])?;
            }
        }
        for table in ["dead", "batches"] {
            catalogue.execute(&format!("DELETE FROM {table} WHERE space = ?1 AND segment = ?2"), [id.0, segment.number])?;
        }
        catalogue.execute("DELETE FROM segments WHERE space = ?1 AND number = ?2", params![id.0, segment.number])?;
        segments.forget(segment.number);
        Ok(())
    }
}
