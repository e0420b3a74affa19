ALTER TABLE job ADD COLUMN ended_at INTEGER;     -- succeeded, failed, cancelled
ALTER TABLE job ADD COLUMN recorded INTEGER NOT NULL DEFAULT 0;
CREATE INDEX job_ended ON job (recorded, ended_at, id) WHERE ended_at IS NOT NULL;

CREATE TABLE term (
    one    INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    record TEXT NOT NULL
) STRICT;

CREATE TABLE schedule (
    name   TEXT NOT NULL PRIMARY KEY,
    host   TEXT REFERENCES host (name),           -- of its VM, or the host itself
    pair   TEXT REFERENCES pair (name),
    record TEXT NOT NULL,
    fire   TEXT                                   -- the latest
) STRICT, WITHOUT ROWID;
CREATE INDEX schedule_by_host ON schedule (host) WHERE host IS NOT NULL;
CREATE INDEX schedule_by_pair ON schedule (pair) WHERE pair IS NOT NULL;
