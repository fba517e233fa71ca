-- Who writes: a task whose owner has no session is free. A file lock says that one process writes, so there is one row, and
-- it does not expire; the table is there because the statements are those of PostgreSQL, where several do.
CREATE TABLE sessions (
    owner   TEXT PRIMARY KEY CONSTRAINT session_owner CHECK (owner <> ''),
    role    TEXT NOT NULL CONSTRAINT session_role CHECK (role IN ('operator', 'worker')),
    holder  TEXT NOT NULL CONSTRAINT session_holder CHECK (holder <> ''),
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX sessions_one_operator ON sessions (role) WHERE role = 'operator';

-- The next pending task of a kind is the first entry, however many are done.
DROP INDEX tasks_next;
CREATE INDEX tasks_next ON tasks (run, kind, state, id);

-- Work that a server does for hours: by its handle a later process asks what came of it.
CREATE TABLE jobs (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    run    INTEGER NOT NULL REFERENCES runs (seq),
    store  TEXT NOT NULL CONSTRAINT job_store CHECK (store <> ''),
    handle TEXT NOT NULL CONSTRAINT job_handle CHECK (handle <> ''),
    state  TEXT NOT NULL DEFAULT 'submitted' CONSTRAINT job_state CHECK (state IN ('submitted', 'done', 'failed')),
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (store, handle),
    CONSTRAINT job_failed_has_reason CHECK ((reason <> '') = (state = 'failed'))
) STRICT;

CREATE INDEX jobs_run ON jobs (run, state);

CREATE TABLE job_batches (
    job   INTEGER NOT NULL REFERENCES jobs (seq),
    batch INTEGER NOT NULL REFERENCES batches (seq),
    PRIMARY KEY (job, batch)
) STRICT, WITHOUT ROWID;
