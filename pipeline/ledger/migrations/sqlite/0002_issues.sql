-- What validation found in what mappings made: each rule once for a mapping and an element, with how often. profile: the one
-- that asks it, empty for R4 itself. tbl, line: the first record of it. What could not be judged for want of a definition
-- has the severity unchecked: mapping is then its kind, path its name, and profile says why.
CREATE TABLE issues (
    run      INTEGER NOT NULL REFERENCES runs (seq),
    mapping  TEXT NOT NULL CONSTRAINT issue_mapping CHECK (mapping <> ''),
    severity TEXT NOT NULL CONSTRAINT issue_severity CHECK (severity IN ('error', 'warning', 'unchecked')),
    rule     TEXT NOT NULL CONSTRAINT issue_rule CHECK (rule <> ''),
    path     TEXT NOT NULL,
    profile  TEXT NOT NULL,
    tbl      TEXT NOT NULL,
    line     INTEGER NOT NULL,
    n        INTEGER NOT NULL CONSTRAINT issue_count CHECK (n >= 0),
    PRIMARY KEY (run, mapping, severity, rule, path, profile)
) STRICT, WITHOUT ROWID;
