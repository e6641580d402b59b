-- Format 1 of the catalogue. SCHEMA.md says what everything means.
CREATE TABLE library (
    key TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

CREATE TABLE spaces (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    preprocessing TEXT NOT NULL,
    dtype TEXT NOT NULL CHECK (dtype IN ('f16', 'f32')),
    width INTEGER NOT NULL CHECK (width > 0),
    state TEXT NOT NULL CHECK (state IN ('filling', 'live')),
    segment_rows INTEGER NOT NULL,
    next_segment INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE segments (
    space INTEGER NOT NULL,
    number INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    dead INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (space, number)
) WITHOUT ROWID;

CREATE TABLE batches (
    space INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    first INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    codes INTEGER NOT NULL,
    scales INTEGER NOT NULL,
    PRIMARY KEY (space, segment, first)
) WITHOUT ROWID;

CREATE TABLE dead (
    space INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    bits BLOB NOT NULL,
    PRIMARY KEY (space, segment)
);

CREATE TABLE vectors (
    space INTEGER NOT NULL,
    row INTEGER NOT NULL,
    item INTEGER NOT NULL,
    PRIMARY KEY (space, row)
) WITHOUT ROWID;
CREATE UNIQUE INDEX vectors_item ON vectors (item, space);

CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    modified INTEGER,
    hash BLOB,
    width INTEGER,
    height INTEGER,
    format TEXT,
    taken TEXT,
    camera TEXT,
    latitude REAL,
    longitude REAL,
    meta TEXT,
    added INTEGER NOT NULL
);
CREATE INDEX items_folder ON items (folder);
CREATE INDEX items_hash ON items (hash) WHERE hash IS NOT NULL;
CREATE INDEX items_taken ON items (taken) WHERE taken IS NOT NULL;
CREATE INDEX items_camera ON items (camera) WHERE camera IS NOT NULL;
CREATE INDEX items_position ON items (latitude, longitude) WHERE latitude IS NOT NULL;

CREATE TABLE captions (
    item INTEGER NOT NULL,
    number INTEGER NOT NULL,
    language TEXT,
    text TEXT NOT NULL,
    PRIMARY KEY (item, number)
) WITHOUT ROWID;

CREATE TABLE tags (
    item INTEGER NOT NULL,
    source TEXT NOT NULL,
    tag TEXT NOT NULL,
    score REAL,
    PRIMARY KEY (item, source, tag)
) WITHOUT ROWID;
CREATE INDEX tags_tag ON tags (tag, item);
CREATE INDEX tags_source ON tags (source, item);

CREATE TABLE errors (
    path TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    modified INTEGER,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE VIRTUAL TABLE words USING fts5 (
    path, captions, content = '', contentless_delete = 1, tokenize = 'ascii'
);
