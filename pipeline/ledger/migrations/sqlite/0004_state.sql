-- What second runs need: resources that vanished or were rekeyed, changes that were not applied, the two sides of a
-- discrepancy, batches that a server has taken as a job, runs that only repair, and what is known of each target's state.

CREATE TABLE discrepancies_new (
    seq      INTEGER PRIMARY KEY,
    run      INTEGER NOT NULL REFERENCES runs (seq),
    key      TEXT NOT NULL CONSTRAINT discrepancy_key CHECK (key <> ''),
    kind     TEXT NOT NULL CONSTRAINT discrepancy_kind CHECK (kind IN
             ('missing', 'different', 'unexpected', 'vanished', 'refused', 'rejected', 'orphan', 'duplicate', 'rekeyed', 'editedSince')),
    domain   INTEGER NOT NULL CONSTRAINT discrepancy_domain CHECK (domain BETWEEN 1 AND 7),
    type     TEXT NOT NULL,
    resource TEXT NOT NULL,
    path     TEXT NOT NULL,
    tbl      TEXT NOT NULL,
    line     INTEGER NOT NULL CONSTRAINT discrepancy_line CHECK (line >= 0),
    code     TEXT NOT NULL,
    sent     TEXT NOT NULL,
    found    TEXT NOT NULL,
    CONSTRAINT discrepancy_names_something CHECK (resource <> '' OR tbl <> ''),
    UNIQUE (run, key)
) STRICT;
INSERT INTO discrepancies_new SELECT seq, run, key, kind, domain, type, resource, path, tbl, line, code, '', '' FROM discrepancies;
DROP TABLE discrepancies;
ALTER TABLE discrepancies_new RENAME TO discrepancies;
CREATE INDEX discrepancies_order ON discrepancies (run, domain, kind, type, resource, path);

CREATE TABLE batches_new (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    run         INTEGER NOT NULL REFERENCES runs (seq),
    id          TEXT NOT NULL UNIQUE CONSTRAINT batch_id CHECK (id <> ''),
    mapping     TEXT NOT NULL,
    type        TEXT NOT NULL CONSTRAINT batch_type CHECK (type <> ''),
    tbl         TEXT NOT NULL,
    wave        TEXT NOT NULL,
    level       INTEGER NOT NULL CONSTRAINT batch_level CHECK (level >= 0),
    count       INTEGER NOT NULL CONSTRAINT batch_count CHECK (count > 0),
    bytes       INTEGER NOT NULL CONSTRAINT batch_bytes CHECK (bytes > 0),
    sha256      TEXT NOT NULL CONSTRAINT batch_sha256 CHECK (length(sha256) = 64),
    excluded    INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_excluded CHECK (excluded BETWEEN 0 AND count),
    state       TEXT NOT NULL DEFAULT 'staged' CONSTRAINT batch_state CHECK (state IN ('staged', 'loading', 'submitted', 'loaded', 'verified')),
    loaded      INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_loaded CHECK (loaded >= 0),
    unchanged   INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_unchanged CHECK (unchanged >= 0),
    rejected    INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_rejected CHECK (rejected >= 0),
    in_doubt    INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_in_doubt CHECK (in_doubt >= 0),
    held        INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_held CHECK (held >= 0),
    not_applied INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_not_applied CHECK (not_applied BETWEEN 0 AND unchanged),
    CONSTRAINT batch_outcomes_fit CHECK (loaded + unchanged + rejected + in_doubt + held <= count - excluded),
    CONSTRAINT batch_staged_sent_nothing CHECK (state <> 'staged' OR loaded + unchanged + rejected + in_doubt = 0),
    CONSTRAINT batch_done_is_whole CHECK (state NOT IN ('loaded', 'verified') OR loaded + unchanged + rejected + in_doubt + held = count - excluded)
) STRICT;
INSERT INTO batches_new (seq, run, id, mapping, type, tbl, wave, level, count, bytes, sha256, excluded, state, loaded, unchanged, rejected, in_doubt, held)
    SELECT seq, run, id, mapping, type, tbl, wave, level, count, bytes, sha256, excluded, state, loaded, unchanged, rejected, in_doubt, held FROM batches;
DROP TABLE batches;
ALTER TABLE batches_new RENAME TO batches;
CREATE INDEX batches_run ON batches (run, wave, level, seq);

ALTER TABLE resource_counts ADD COLUMN vanished INTEGER NOT NULL DEFAULT 0 CONSTRAINT resource_count_vanished CHECK (vanished >= 0);
ALTER TABLE resource_counts ADD COLUMN rekeyed INTEGER NOT NULL DEFAULT 0 CONSTRAINT resource_count_rekeyed CHECK (rekeyed BETWEEN 0 AND vanished);

-- The kinds of discrepancy that a repair sends again, in order and with commas between them; empty: not a repair.
ALTER TABLE runs ADD COLUMN repair TEXT NOT NULL DEFAULT '';

-- The newest generation of each target's state, so that a folder that is gone or older is not taken for an empty one.
CREATE TABLE states (
    target     TEXT PRIMARY KEY CONSTRAINT state_target CHECK (target <> ''),
    run        INTEGER NOT NULL REFERENCES runs (seq),
    generation INTEGER NOT NULL CONSTRAINT state_generation CHECK (generation >= 0),
    digest     TEXT NOT NULL CONSTRAINT state_digest CHECK (digest <> ''),
    entries    INTEGER NOT NULL CONSTRAINT state_entries CHECK (entries >= 0)
) STRICT, WITHOUT ROWID;
