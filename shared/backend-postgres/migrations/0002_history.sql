-- Jobs that are over. `record` is the whole job; the other columns are for lists and for dashboards.
CREATE TABLE drs.job_history (
    id         uuid NOT NULL PRIMARY KEY,
    kind       text COLLATE "C" NOT NULL,      -- backup, restore, ...
    subject    text COLLATE "C" NOT NULL,      -- `host/vm`, or what else it is about
    host       text COLLATE "C",
    phase      text COLLATE "C" NOT NULL,      -- succeeded, failed, cancelled
    attempt    integer NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,                    -- NULL: no worker ever did
    ended_at   timestamptz NOT NULL,
    record     json NOT NULL
);
CREATE INDEX job_history_by_age ON drs.job_history (created_at, id);
CREATE INDEX job_history_by_phase ON drs.job_history (phase, created_at, id);
CREATE INDEX job_history_by_subject ON drs.job_history (subject, created_at, id);
CREATE INDEX job_history_by_host ON drs.job_history (host, created_at, id);
CREATE INDEX job_history_by_end ON drs.job_history (ended_at);
CREATE INDEX job_history_by_kind ON drs.job_history (kind, ended_at);

-- The recovery points that these jobs made, as far as their records tell. The vault alone says what there
-- is: a point that was removed there stands here still.
CREATE TABLE drs.point (
    id            uuid NOT NULL PRIMARY KEY,   -- of the job
    host          text COLLATE "C" NOT NULL,
    vm            text COLLATE "C" NOT NULL,
    consistent_at timestamptz,
    consistency   text COLLATE "C",            -- crash, file_system, off
    completed_at  timestamptz NOT NULL,
    size_bytes    bigint,
    stored_bytes  bigint
);
CREATE INDEX point_by_vm ON drs.point (host, vm, completed_at);
