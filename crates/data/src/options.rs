//! What a reader may be told; the defaults guess.

/// How sources are read.
#[derive(Clone, Debug)]
pub struct Options {
    /// Look for `name.txt`, `name.caption` and `name.json` beside a picture file of a folder. (Inside archives they are always read: they lie on
    /// the way.)
    pub sidecars: bool,
    /// Tag each picture of a folder with the folder directly below the named one that it lies in: data sets for classification lie so.
    pub folders_are_tags: bool,
    /// The columns of tables.
    pub columns: Columns,
    /// The split of Chinese-CLIP's files (`train`, `valid`, `test`); all if none.
    pub split: Option<String>,
    /// The longest field of a table, line of a list or member of a compressed archive that is kept in memory, in bytes. Default 256 MiB.
    pub max_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { sidecars: true, folders_are_tags: false, columns: Columns::default(), split: None, max_bytes: 256 << 20 }
    }
}

/// The columns of a table that are not found by their names.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// Holds paths of picture files, against the folder of the table if they are relative.
    pub path: Option<String>,
    /// Holds the bytes of picture files, in base64 where the table is text.
    pub bytes: Option<String>,
    /// Hold captions. If empty, columns named `caption`, `text`, `title` and the like, also with a language (`caption_zh`).
    pub captions: Vec<String>,
}
