-- Translations of codes into something that does not mean the same. relationship: of FHIR R4's ConceptMapEquivalence, or
-- `choice` where the concept map has several targets to choose from.
CREATE TABLE translations (
    run          INTEGER NOT NULL REFERENCES runs (seq),
    map          TEXT NOT NULL CONSTRAINT translations_map CHECK (map <> ''),
    relationship TEXT NOT NULL CONSTRAINT translations_relationship CHECK (relationship <> ''),
    n            INTEGER NOT NULL CONSTRAINT translations_count CHECK (n >= 0),
    PRIMARY KEY (run, map, relationship)
) STRICT, WITHOUT ROWID;
