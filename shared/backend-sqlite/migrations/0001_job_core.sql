-- Times are integer nanoseconds since 1970-01-01 UTC. `record`, `body` and `progress` are JSON, as
-- serde writes the types of drs-model; the other columns repeat what is searched by.

CREATE TABLE job (
    id           TEXT NOT NULL PRIMARY KEY,
    class        INTEGER NOT NULL,          -- 0 critical, 1 normal, 2 bulk
    created_at   INTEGER NOT NULL,
    subject      TEXT NOT NULL,
    host         TEXT,
    phase        TEXT NOT NULL,
    due          INTEGER,                   -- queued, retry_wait: not to be claimed before
    published_at INTEGER NOT NULL,          -- the smallest integer: never, it is owed a message
    lease_worker TEXT,                      -- claimed, running, cancelling
    lease_until  INTEGER,
    parked_on    TEXT,                      -- parked: the resource
    record       TEXT NOT NULL
) STRICT;
CREATE INDEX job_by_age ON job (created_at, id);
CREATE INDEX job_by_phase ON job (phase, created_at, id);
CREATE INDEX job_by_subject ON job (subject, created_at, id);
CREATE INDEX job_by_host ON job (host, created_at, id);
CREATE INDEX job_owed ON job (published_at, due) WHERE due IS NOT NULL;
CREATE INDEX job_leased ON job (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX job_by_worker ON job (lease_worker) WHERE lease_worker IS NOT NULL;
CREATE INDEX job_parked ON job (parked_on, class, created_at, id) WHERE parked_on IS NOT NULL;

CREATE TABLE held (
    resource TEXT NOT NULL,
    job      TEXT NOT NULL,
    PRIMARY KEY (resource, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_by_job ON held (job);

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('fence', 0);

CREATE TABLE message (
    tag         INTEGER PRIMARY KEY AUTOINCREMENT,
    job         TEXT NOT NULL UNIQUE,
    class       INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,           -- of the job
    taken_until INTEGER NOT NULL,           -- 0: waits
    body        TEXT NOT NULL
) STRICT;
CREATE INDEX message_next ON message (class, created_at, tag, taken_until);

CREATE TABLE host (
    name   TEXT NOT NULL PRIMARY KEY,
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pair (
    name        TEXT NOT NULL PRIMARY KEY,
    source_host TEXT NOT NULL REFERENCES host (name),
    target_host TEXT NOT NULL REFERENCES host (name),
    record      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pair_by_source ON pair (source_host);
CREATE INDEX pair_by_target ON pair (target_host);

CREATE TABLE job_line (
    job     TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    level   TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    text    TEXT NOT NULL,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_progress (
    job      TEXT NOT NULL PRIMARY KEY,
    progress TEXT NOT NULL
) STRICT, WITHOUT ROWID;
