-- `record` and `fire` are JSON as serde writes the types of drs-model; the other columns repeat what is
-- searched by. They are `json`, which gives back what was written, where `jsonb` refuses some texts.
-- Names sort by their bytes, as everywhere in DR Switch.

-- Who may use a schema that is there already need not have the right to make one.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'drs') THEN
        CREATE SCHEMA drs;
    END IF;
END
$$;

CREATE TABLE drs.drs_schema (
    version    bigint NOT NULL PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE drs.host (
    name   text COLLATE "C" NOT NULL PRIMARY KEY,
    record json NOT NULL
);

CREATE TABLE drs.site (
    name   text COLLATE "C" NOT NULL PRIMARY KEY,
    record json NOT NULL
);

CREATE TABLE drs.pair (
    name        text COLLATE "C" NOT NULL PRIMARY KEY,
    source_host text COLLATE "C" NOT NULL CONSTRAINT pair_source REFERENCES drs.host (name),
    target_host text COLLATE "C" NOT NULL CONSTRAINT pair_target REFERENCES drs.host (name),
    record      json NOT NULL
);
CREATE INDEX pair_by_source ON drs.pair (source_host);
CREATE INDEX pair_by_target ON drs.pair (target_host);

CREATE TABLE drs.schedule (
    name    text COLLATE "C" NOT NULL PRIMARY KEY,
    -- Of its VM, or the host itself.
    host    text COLLATE "C" CONSTRAINT schedule_host REFERENCES drs.host (name),
    pair    text COLLATE "C" CONSTRAINT schedule_pair REFERENCES drs.pair (name),
    record  json NOT NULL,
    -- The latest.
    fire_at timestamptz,
    fire    json
);
CREATE INDEX schedule_by_host ON drs.schedule (host) WHERE host IS NOT NULL;
CREATE INDEX schedule_by_pair ON drs.schedule (pair) WHERE pair IS NOT NULL;
