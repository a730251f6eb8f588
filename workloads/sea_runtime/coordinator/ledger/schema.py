"""Tables of the ledger, as migrations. The life of a group: see `ledger.groups`.

The file's layout is its `PRAGMA user_version`: how many of `MIGRATIONS` it has seen. A released
migration never changes; a new layout is one more script at the end.
"""

MIGRATIONS: tuple[str, ...] = (
    """
CREATE TABLE documents (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE stages (
    name TEXT PRIMARY KEY,
    phase TEXT NOT NULL,
    cursor INTEGER NOT NULL DEFAULT 0,
    planned INTEGER NOT NULL DEFAULT 0,
    started REAL,
    finished REAL
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    stage TEXT NOT NULL,
    kind TEXT NOT NULL,
    row_key TEXT NOT NULL,
    domain TEXT NOT NULL,
    database TEXT,
    task TEXT,
    samples INTEGER NOT NULL,
    state TEXT NOT NULL,
    step INTEGER,
    counted_in INTEGER,
    mean_reward REAL,
    error TEXT,
    started REAL,
    finished REAL
) STRICT;
CREATE INDEX groups_by_state ON groups (stage, state, number);
CREATE INDEX groups_by_step ON groups (stage, step);

CREATE TABLE episodes (
    group_number INTEGER NOT NULL REFERENCES groups (number),
    sample INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    unjudged INTEGER NOT NULL DEFAULT 0,
    lease_id TEXT UNIQUE,
    pod TEXT,
    incarnation TEXT,
    leased REAL,
    finished REAL,
    reward REAL,
    error TEXT,
    stop TEXT,
    turns INTEGER,
    generated_tokens INTEGER,
    mean_version REAL,
    report TEXT,
    PRIMARY KEY (group_number, sample)
) STRICT, WITHOUT ROWID;
CREATE INDEX episodes_by_state ON episodes (state, group_number, sample);

CREATE TABLE trajectories (
    group_number INTEGER NOT NULL,
    sample INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (group_number, sample)
) STRICT;

CREATE TABLE batches (
    stage TEXT NOT NULL,
    step INTEGER NOT NULL,
    dropped_groups INTEGER NOT NULL,
    mean_reward REAL NOT NULL,
    staleness REAL NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (stage, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    stage TEXT NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    version INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    manifest_key TEXT NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (stage, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE progress (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    stage TEXT NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    total_steps INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    time REAL NOT NULL,
    UNIQUE (stage, step, attempt)
) STRICT;

CREATE TABLE weights (
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    body TEXT NOT NULL,
    anchor TEXT,
    time REAL NOT NULL,
    PRIMARY KEY (stream, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE adoptions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    pod TEXT NOT NULL,
    version INTEGER NOT NULL,
    transport TEXT NOT NULL,
    transfer_s REAL NOT NULL,
    apply_s REAL NOT NULL,
    pause_s REAL NOT NULL,
    time REAL NOT NULL
) STRICT;

CREATE TABLE evaluations (
    stage TEXT NOT NULL,
    domain TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (stage, domain)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    pod TEXT NOT NULL,
    message TEXT NOT NULL,
    time REAL NOT NULL
) STRICT;
""",
    "DROP TABLE events;",
    """
CREATE TABLE transcripts (
    group_number INTEGER NOT NULL,
    sample INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (group_number, sample)
) STRICT;
""",
    """
ALTER TABLE trajectories RENAME TO before;
CREATE TABLE trajectories (
    group_number INTEGER NOT NULL,
    sample INTEGER NOT NULL,
    body BLOB,
    file TEXT,
    PRIMARY KEY (group_number, sample)
) STRICT;
INSERT INTO trajectories SELECT group_number, sample, body, NULL FROM before;
DROP TABLE before;
""",
    "ALTER TABLE batches ADD COLUMN expired_groups INTEGER NOT NULL DEFAULT 0;",
    """
CREATE TABLE version_layouts (
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (stream, version, digest)
) STRICT, WITHOUT ROWID;
INSERT INTO version_layouts
    SELECT DISTINCT kept.stream, kept.version, json_extract(shard.value, '$.layout') FROM
    (SELECT stream, version, body FROM weights WHERE body != ''
    UNION ALL SELECT stream, version, anchor FROM weights WHERE anchor IS NOT NULL) AS kept,
    json_each(kept.body, '$.shards') AS shard
    WHERE json_extract(shard.value, '$.layout') != '';
""",
    # What a batch counts: those of the step, or those that none has counted yet. What a worker
    # holds: asked at each of its leases, of thousands that are out.
    """
CREATE INDEX groups_by_counted ON groups (stage, counted_in);
CREATE INDEX episodes_by_owner ON episodes (pod, incarnation) WHERE state = 'Leased';
""",
)
