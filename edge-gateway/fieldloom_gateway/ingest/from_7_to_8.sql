-- Version 7 had no partitions: what happens is for any instance. It may have come from one that had no workflows.
CREATE TABLE IF NOT EXISTS workflow_inbox (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS workflow_effect (id TEXT PRIMARY KEY, instance TEXT NOT NULL) WITHOUT ROWID;
ALTER TABLE workflow_inbox ADD COLUMN partition INTEGER;
ALTER TABLE workflow_effect ADD COLUMN partition INTEGER;
PRAGMA user_version = 8;
