//! Items in the catalogue: how they are written and read.
use rusqlite::types::Value;
use rusqlite::{Row, params};

use crate::catalogue::{Catalogue, now};
use crate::words::cut;
use crate::{Caption, Error, Facts, Item, ItemError, ItemId, Known, NewItem, Result, Tag};

/// Archives and tables, which have items in them: what stands before the separator, and that.
const CONTAINERS: [(char, &[&str]); 2] =
    [('!', &[".tar", ".zip"]), ('#', &[".csv", ".json", ".jsonl", ".lmdb", ".mdb", ".ndjson", ".parquet", ".tsv"])];

/// The folder and the name of a path: the last `/` divides them, or the `!` behind an archive, or the `#` behind a table.
pub fn split_path(path: &str) -> (&str, &str) {
    let slash = path.rfind('/');
    let name_at = slash.map_or(0, |at| at + 1);
    for (separator, kinds) in CONTAINERS {
        for (at, _) in path[name_at..].match_indices(separator).map(|(at, s)| (name_at + at, s)) {
            let before = path[name_at..at].to_ascii_lowercase();
            if kinds.iter().any(|kind| before.ends_with(kind)) {
                return (&path[..at], &path[at + 1..]);
            }
        }
    }
    slash.map_or(("", path), |at| (&path[..at], &path[at + 1..]))
}

/// Writes a new item.
pub(crate) fn insert(catalogue: &Catalogue, item: &NewItem) -> Result<ItemId> {
    let (folder, name) = split_path(&item.path);
    let f = &item.facts;
    catalogue.execute(
        "INSERT INTO items (path, folder, name, bytes, modified, hash, width, height, format, taken, camera, latitude, longitude, meta, added)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        params![
            item.path,
            folder,
            name,
            item.bytes as i64,
            item.modified,
            item.hash.as_ref().map(|h| h.as_slice()),
            f.width,
            f.height,
            f.format,
            f.taken,
            f.camera,
            f.latitude,
            f.longitude,
            item.meta.as_ref().map(|m| m.to_string()),
            now()
        ],
    )?;
    let id = ItemId(catalogue.db.last_insert_rowid());
    write_captions(catalogue, id, &item.captions)?;
    write_tags(catalogue, id, None, &item.tags)?;
    write_words(catalogue, id, &item.path, item.captions.iter().map(|c| c.text.as_str()))?;
    Ok(id)
}

/// Writes an item anew.
pub(crate) fn update(catalogue: &Catalogue, id: ItemId, item: &NewItem) -> Result<()> {
    let f = &item.facts;
    catalogue.execute(
        "UPDATE items SET bytes = ?2, modified = ?3, hash = ?4, width = ?5, height = ?6, format = ?7, taken = ?8, camera = ?9, latitude = ?10,
         longitude = ?11, meta = ?12 WHERE id = ?1",
        params![
            id.0,
            item.bytes as i64,
            item.modified,
            item.hash.as_ref().map(|h| h.as_slice()),
            f.width,
            f.height,
            f.format,
            f.taken,
            f.camera,
            f.latitude,
            f.longitude,
            item.meta.as_ref().map(|m| m.to_string())
        ],
    )?;
    catalogue.execute("DELETE FROM captions WHERE item = ?1", [id.0])?;
    write_captions(catalogue, id, &item.captions)?;
    let mut sources: Vec<&str> = item.tags.iter().map(|tag| tag.source.as_str()).chain([Tag::DATA]).collect();
    sources.sort_unstable();
    sources.dedup();
    for source in sources {
        catalogue.execute("DELETE FROM tags WHERE item = ?1 AND source = ?2", params![id.0, source])?;
    }
    write_tags(catalogue, id, None, &item.tags)?;
    catalogue.execute("DELETE FROM words WHERE rowid = ?1", [id.0])?;
    write_words(catalogue, id, &item.path, item.captions.iter().map(|c| c.text.as_str()))
}

/// Gives an item another path.
pub(crate) fn rename(catalogue: &Catalogue, id: ItemId, path: &str, modified: Option<i64>) -> Result<()> {
    let (folder, name) = split_path(path);
    catalogue.execute(
        "UPDATE items SET path = ?2, folder = ?3, name = ?4, modified = ?5 WHERE id = ?1",
        params![id.0, path, folder, name, modified],
    )?;
    let captions = captions(catalogue, id)?;
    catalogue.execute("DELETE FROM words WHERE rowid = ?1", [id.0])?;
    write_words(catalogue, id, path, captions.iter().map(|c| c.text.as_str()))
}

/// Removes an item and what belongs to it, but for its vectors.
pub(crate) fn remove(catalogue: &Catalogue, id: ItemId) -> Result<()> {
    for sql in [
        "DELETE FROM captions WHERE item = ?1",
        "DELETE FROM tags WHERE item = ?1",
        "DELETE FROM words WHERE rowid = ?1",
        "DELETE FROM items WHERE id = ?1",
    ] {
        catalogue.execute(sql, [id.0])?;
    }
    Ok(())
}

fn write_captions(catalogue: &Catalogue, id: ItemId, captions: &[Caption]) -> Result<()> {
    for (number, caption) in captions.iter().enumerate() {
        let values = params![id.0, number as i64, caption.language, caption.text];
        catalogue.execute("INSERT INTO captions VALUES (?1, ?2, ?3, ?4)", values)?;
    }
    Ok(())
}

/// Writes tags, of the source that they name or of `source`; of two that are the same, the last.
pub(crate) fn write_tags(catalogue: &Catalogue, id: ItemId, source: Option<&str>, tags: &[Tag]) -> Result<()> {
    for tag in tags {
        let values = params![id.0, source.unwrap_or(&tag.source), tag.tag, tag.score];
        catalogue.execute("INSERT OR REPLACE INTO tags (item, source, tag, score) VALUES (?1, ?2, ?3, ?4)", values)?;
    }
    Ok(())
}

fn write_words<'a>(catalogue: &Catalogue, id: ItemId, path: &str, captions: impl Iterator<Item = &'a str>) -> Result<()> {
    let captions: Vec<String> = captions.map(cut).collect();
    let values = params![id.0, cut(path), captions.join(" ")];
    catalogue.execute("INSERT INTO words (rowid, path, captions) VALUES (?1, ?2, ?3)", values).map(drop)
}

/// What is known of the file at a path.
pub(crate) fn known(catalogue: &Catalogue, path: &str) -> Result<Option<Known>> {
    catalogue.first("SELECT id, bytes, modified, hash FROM items WHERE path = ?1", [path], |row| {
        Ok(Known { id: ItemId(row.get(0)?), bytes: row.get::<_, i64>(1)? as u64, modified: row.get(2)?, hash: hash(row, 3)? })
    })
}

/// A hash; one of another length, which is not ours, is none.
fn hash(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<[u8; 32]>> {
    Ok(row.get_ref(at)?.as_blob_or_null()?.and_then(|bytes| bytes.try_into().ok()))
}

/// An item, if it is there.
pub(crate) fn item(catalogue: &Catalogue, id: ItemId) -> Result<Option<Item>> {
    let sql = "SELECT path, bytes, modified, hash, width, height, format, taken, camera, latitude, longitude, meta, added FROM items WHERE id = ?1";
    let item = catalogue.first(sql, [id.0], |row| {
        Ok(Item {
            id,
            path: row.get(0)?,
            bytes: row.get::<_, i64>(1)? as u64,
            modified: row.get(2)?,
            hash: hash(row, 3)?,
            facts: Facts {
                width: row.get(4)?,
                height: row.get(5)?,
                format: row.get(6)?,
                taken: row.get(7)?,
                camera: row.get(8)?,
                latitude: row.get(9)?,
                longitude: row.get(10)?,
            },
            captions: vec![],
            tags: vec![],
            meta: row.get_ref(11)?.as_str_or_null()?.and_then(|meta| serde_json::from_str(meta).ok()),
            added: row.get(12)?,
        })
    })?;
    let Some(mut item) = item else { return Ok(None) };
    item.captions = captions(catalogue, id)?;
    item.tags = catalogue.all("SELECT source, tag, score FROM tags WHERE item = ?1 ORDER BY source, tag", [id.0], |row| {
        Ok(Tag { source: row.get(0)?, tag: row.get(1)?, score: row.get(2)? })
    })?;
    Ok(Some(item))
}

fn captions(catalogue: &Catalogue, id: ItemId) -> Result<Vec<Caption>> {
    catalogue.all("SELECT language, text FROM captions WHERE item = ?1 ORDER BY number", [id.0], |row| {
        Ok(Caption { language: row.get(0)?, text: row.get(1)? })
    })
}

/// Errors, by path: all, or the one of a path.
pub(crate) fn errors(catalogue: &Catalogue, path: Option<&str>) -> Result<Vec<ItemError>> {
    let which = if path.is_some() { "WHERE path = ?1" } else { "ORDER BY path" };
    let values: Vec<Value> = path.map(|path| path.to_owned().into()).into_iter().collect();
    catalogue.all(&format!("SELECT path, bytes, modified, reason, at FROM errors {which}"), rusqlite::params_from_iter(values), |row| {
        let bytes: i64 = row.get(1)?;
        Ok(ItemError { path: row.get(0)?, bytes: bytes as u64, modified: row.get(2)?, reason: row.get(3)?, at: row.get(4)? })
    })
}

/// Up to `limit` items without a vector in a space, by id, behind `after`.
pub(crate) fn missing(catalogue: &Catalogue, space: i64, after: Option<ItemId>, limit: usize) -> Result<Vec<ItemId>> {
    let sql = "SELECT id FROM items WHERE id > ?1 AND NOT EXISTS (SELECT 1 FROM vectors WHERE item = items.id AND space = ?2) ORDER BY id LIMIT ?3";
    catalogue.all(sql, params![after.map_or(i64::MIN, |id| id.0), space, limit as i64], |row| Ok(ItemId(row.get(0)?)))
}

/// The error for an item that is not there.
pub(crate) fn expect(catalogue: &Catalogue, item: ItemId) -> Result<()> {
    let there = catalogue.first("SELECT 1 FROM items WHERE id = ?1", [item.0], |_| Ok(()))?;
    there.ok_or(Error::NoItem { item })
}
