-- The ledger of one migration. Every CHECK has a name, because errors name the constraint and never a value.
-- Order is decided by the integer keys; times are notes for people and decide nothing.

CREATE TABLE ledger (
    one       INTEGER PRIMARY KEY CONSTRAINT ledger_one CHECK (one = 1),
    id        TEXT NOT NULL CONSTRAINT ledger_id CHECK (length(id) = 32),
    migration TEXT NOT NULL CONSTRAINT ledger_migration CHECK (migration <> ''),
    created   TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL CONSTRAINT run_kind CHECK (kind IN ('dry', 'run')),
    wave       TEXT NOT NULL,
    target     TEXT NOT NULL,
    state      TEXT NOT NULL CONSTRAINT run_state CHECK (state IN ('running', 'interrupted', 'partial', 'finished', 'failed')),
    reason     TEXT NOT NULL DEFAULT '',
    resumes    INTEGER NOT NULL DEFAULT 0 CONSTRAINT run_resumes CHECK (resumes >= 0),
    elapsed    INTEGER NOT NULL DEFAULT 0 CONSTRAINT run_elapsed CHECK (elapsed >= 0),
    reconciled INTEGER NOT NULL DEFAULT 0 CONSTRAINT run_reconciled CHECK (reconciled IN (0, 1)),
    began      TEXT NOT NULL,
    ended      TEXT,
    CONSTRAINT run_ended CHECK ((ended IS NOT NULL) = (state IN ('finished', 'failed'))),
    CONSTRAINT run_failed_has_reason CHECK (state <> 'failed' OR reason <> '')
) STRICT;

-- At most one unfinished run of a kind and wave: a resume is never ambiguous.
CREATE UNIQUE INDEX runs_unfinished ON runs (kind, wave) WHERE state IN ('running', 'interrupted', 'partial');

CREATE TABLE pins (
    run   INTEGER NOT NULL REFERENCES runs (seq),
    name  TEXT NOT NULL CONSTRAINT pin_name CHECK (name <> ''),
    value TEXT NOT NULL,
    PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    run     INTEGER NOT NULL REFERENCES runs (seq),
    kind    TEXT NOT NULL CONSTRAINT task_kind CHECK (kind IN ('extract', 'check', 'load', 'verify')),
    subject TEXT NOT NULL CONSTRAINT task_subject CHECK (subject <> ''),
    wave    TEXT NOT NULL,
    level   INTEGER NOT NULL CONSTRAINT task_level CHECK (level >= 0),
    state   TEXT NOT NULL DEFAULT 'pending' CONSTRAINT task_state CHECK (state IN ('pending', 'running', 'done', 'failed')),
    owner   TEXT NOT NULL DEFAULT '',
    fence   INTEGER NOT NULL DEFAULT 0 CONSTRAINT task_fence CHECK (fence >= 0),
    digest  TEXT NOT NULL DEFAULT '',
    reason  TEXT NOT NULL DEFAULT '',
    UNIQUE (run, kind, wave, level, subject),
    CONSTRAINT task_lease CHECK ((owner <> '') = (state = 'running')),
    CONSTRAINT task_started CHECK (state IN ('pending', 'failed') OR fence > 0),
    CONSTRAINT task_failed_has_reason CHECK ((reason <> '') = (state = 'failed'))
) STRICT;

CREATE INDEX tasks_next ON tasks (run, kind, state, wave, level, id);

CREATE TABLE batches (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    run       INTEGER NOT NULL REFERENCES runs (seq),
    id        TEXT NOT NULL UNIQUE CONSTRAINT batch_id CHECK (id <> ''),
    mapping   TEXT NOT NULL,
    type      TEXT NOT NULL CONSTRAINT batch_type CHECK (type <> ''),
    tbl       TEXT NOT NULL,
    wave      TEXT NOT NULL,
    level     INTEGER NOT NULL CONSTRAINT batch_level CHECK (level >= 0),
    count     INTEGER NOT NULL CONSTRAINT batch_count CHECK (count > 0),
    bytes     INTEGER NOT NULL CONSTRAINT batch_bytes CHECK (bytes > 0),
    sha256    TEXT NOT NULL CONSTRAINT batch_sha256 CHECK (length(sha256) = 64),
    excluded  INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_excluded CHECK (excluded BETWEEN 0 AND count),
    state     TEXT NOT NULL DEFAULT 'staged' CONSTRAINT batch_state CHECK (state IN ('staged', 'loading', 'loaded', 'verified')),
    loaded    INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_loaded CHECK (loaded >= 0),
    unchanged INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_unchanged CHECK (unchanged >= 0),
    rejected  INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_rejected CHECK (rejected >= 0),
    in_doubt  INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_in_doubt CHECK (in_doubt >= 0),
    held      INTEGER NOT NULL DEFAULT 0 CONSTRAINT batch_held CHECK (held >= 0),
    CONSTRAINT batch_outcomes_fit CHECK (loaded + unchanged + rejected + in_doubt + held <= count - excluded),
    CONSTRAINT batch_staged_sent_nothing CHECK (state <> 'staged' OR loaded + unchanged + rejected + in_doubt = 0),
    CONSTRAINT batch_done_is_whole CHECK (state NOT IN ('loaded', 'verified') OR loaded + unchanged + rejected + in_doubt + held = count - excluded)
) STRICT;

CREATE INDEX batches_run ON batches (run, wave, level, seq);

-- Counts of records. mapping '' is the table's own account; what a reason is depends on the outcome.
CREATE TABLE record_counts (
    run     INTEGER NOT NULL REFERENCES runs (seq),
    mapping TEXT NOT NULL,
    tbl     TEXT NOT NULL CONSTRAINT record_count_table CHECK (tbl <> ''),
    outcome TEXT NOT NULL CONSTRAINT record_count_outcome CHECK (outcome IN ('read', 'mapped', 'skipped', 'refused', 'otherWave', 'joined', 'neverJoined')),
    reason  TEXT NOT NULL,
    n       INTEGER NOT NULL CONSTRAINT record_count_not_negative CHECK (n >= 0),
    PRIMARY KEY (run, mapping, tbl, outcome, reason),
    CONSTRAINT record_count_reason CHECK ((reason <> '') = (outcome IN ('skipped', 'refused')))
) STRICT, WITHOUT ROWID;

CREATE TABLE resource_counts (
    run    INTEGER NOT NULL REFERENCES runs (seq),
    type   TEXT NOT NULL CONSTRAINT resource_count_type CHECK (type <> ''),
    made   INTEGER NOT NULL CONSTRAINT resource_count_made CHECK (made >= 0),
    merged INTEGER NOT NULL CONSTRAINT resource_count_merged CHECK (merged >= 0 AND merged <= made),
    PRIMARY KEY (run, type)
) STRICT, WITHOUT ROWID;

CREATE TABLE verified_counts (
    run          INTEGER NOT NULL REFERENCES runs (seq),
    type         TEXT NOT NULL CONSTRAINT verified_type CHECK (type <> ''),
    matched      INTEGER NOT NULL CONSTRAINT verified_matched CHECK (matched >= 0),
    different    INTEGER NOT NULL CONSTRAINT verified_different CHECK (different >= 0),
    missing      INTEGER NOT NULL CONSTRAINT verified_missing CHECK (missing >= 0),
    unexpected   INTEGER NOT NULL CONSTRAINT verified_unexpected CHECK (unexpected >= 0),
    edited_since INTEGER NOT NULL CONSTRAINT verified_edited CHECK (edited_since >= 0),
    not_compared INTEGER NOT NULL CONSTRAINT verified_not_compared CHECK (not_compared >= 0),
    PRIMARY KEY (run, type)
) STRICT, WITHOUT ROWID;

-- How many resources were equal only after a named rule, such as another writing of the same decimal.
CREATE TABLE normalised_counts (
    run  INTEGER NOT NULL REFERENCES runs (seq),
    rule TEXT NOT NULL CONSTRAINT normalised_rule CHECK (rule <> ''),
    n    INTEGER NOT NULL CONSTRAINT normalised_count CHECK (n >= 0),
    PRIMARY KEY (run, rule)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusals (
    seq     INTEGER PRIMARY KEY,
    run     INTEGER NOT NULL REFERENCES runs (seq),
    tbl     TEXT NOT NULL,
    line    INTEGER NOT NULL CONSTRAINT refusal_line CHECK (line >= 0),
    col     TEXT NOT NULL,
    rule    TEXT NOT NULL CONSTRAINT refusal_rule CHECK (rule <> ''),
    mapping TEXT NOT NULL
) STRICT;

CREATE INDEX refusals_run ON refusals (run, tbl, line);

CREATE TABLE findings (
    seq      INTEGER PRIMARY KEY,
    run      INTEGER NOT NULL REFERENCES runs (seq),
    tbl      TEXT NOT NULL,
    line     INTEGER NOT NULL CONSTRAINT finding_line CHECK (line >= 0),
    col      TEXT NOT NULL,
    rule     TEXT NOT NULL CONSTRAINT finding_rule CHECK (rule <> ''),
    mapping  TEXT NOT NULL,
    severity TEXT NOT NULL CONSTRAINT finding_severity CHECK (severity IN ('notice', 'finding'))
) STRICT;

CREATE INDEX findings_run ON findings (run, tbl, line);

CREATE TABLE discrepancies (
    seq      INTEGER PRIMARY KEY,
    run      INTEGER NOT NULL REFERENCES runs (seq),
    key      TEXT NOT NULL CONSTRAINT discrepancy_key CHECK (key <> ''),
    kind     TEXT NOT NULL CONSTRAINT discrepancy_kind CHECK (kind IN
             ('missing', 'unexpected', 'different', 'refused', 'rejected', 'orphan', 'duplicate', 'rekeyed', 'editedSince')),
    domain   INTEGER NOT NULL CONSTRAINT discrepancy_domain CHECK (domain BETWEEN 1 AND 7),
    type     TEXT NOT NULL,
    resource TEXT NOT NULL,
    path     TEXT NOT NULL,
    tbl      TEXT NOT NULL,
    line     INTEGER NOT NULL CONSTRAINT discrepancy_line CHECK (line >= 0),
    code     TEXT NOT NULL,
    CONSTRAINT discrepancy_names_something CHECK (resource <> '' OR tbl <> ''),
    UNIQUE (run, key)
) STRICT;

CREATE INDEX discrepancies_order ON discrepancies (run, domain, kind, type, resource, path);

CREATE TABLE gates (
    run      INTEGER NOT NULL REFERENCES runs (seq),
    position INTEGER NOT NULL,
    name     TEXT NOT NULL CONSTRAINT gate_name CHECK (name <> ''),
    bound    TEXT NOT NULL CONSTRAINT gate_limit CHECK (bound <> ''),
    value    TEXT NOT NULL CONSTRAINT gate_value CHECK (value <> ''),
    met      INTEGER NOT NULL CONSTRAINT gate_met CHECK (met IN (0, 1)),
    PRIMARY KEY (run, position),
    UNIQUE (run, name)
) STRICT, WITHOUT ROWID;

-- How often a formula read a cell with something in it, and what came of that. reason: the mapping's `allow empty:`.
CREATE TABLE formulas (
    run     INTEGER NOT NULL REFERENCES runs (seq),
    mapping TEXT NOT NULL CONSTRAINT formula_mapping CHECK (mapping <> ''),
    path    TEXT NOT NULL CONSTRAINT formula_path CHECK (path <> ''),
    place   TEXT NOT NULL,
    reason  TEXT NOT NULL,
    reads   INTEGER NOT NULL CONSTRAINT formula_reads CHECK (reads >= 0),
    writes  INTEGER NOT NULL CONSTRAINT formula_writes CHECK (writes >= 0),
    empties INTEGER NOT NULL CONSTRAINT formula_empties CHECK (empties >= 0),
    PRIMARY KEY (run, mapping, path, place)
) STRICT, WITHOUT ROWID;

-- Codes that no concept map knows. code: a keyed digest. value: only where the policy lets it be shown.
CREATE TABLE unmapped (
    run      INTEGER NOT NULL REFERENCES runs (seq),
    map      TEXT NOT NULL CONSTRAINT unmapped_map CHECK (map <> ''),
    code     TEXT NOT NULL CONSTRAINT unmapped_code CHECK (code <> ''),
    value    TEXT NOT NULL,
    n        INTEGER NOT NULL CONSTRAINT unmapped_count CHECK (n >= 0),
    patients INTEGER NOT NULL CONSTRAINT unmapped_patients CHECK (patients >= 0 AND patients <= n),
    PRIMARY KEY (run, map, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY CONSTRAINT audit_seq CHECK (seq >= 0),
    time     TEXT NOT NULL,
    operator TEXT NOT NULL CONSTRAINT audit_operator CHECK (operator <> ''),
    action   TEXT NOT NULL CONSTRAINT audit_action CHECK (action <> ''),
    detail   TEXT NOT NULL
) STRICT;

-- The nodes of the Merkle tree over the audit records, by their stored hash index (x/mod/sumdb/tlog).
CREATE TABLE audit_hashes (
    position INTEGER PRIMARY KEY CONSTRAINT audit_hash_position CHECK (position >= 0),
    hash     BLOB NOT NULL CONSTRAINT audit_hash CHECK (length(hash) = 32)
) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_hash_is_not_changed BEFORE UPDATE ON audit_hashes BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_hash_is_not_removed BEFORE DELETE ON audit_hashes BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
