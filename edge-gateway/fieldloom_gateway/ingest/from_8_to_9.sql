-- Version 8 judged all rules where a record was received. It may have come from one that had no rules.
CREATE TABLE IF NOT EXISTS firing (number INTEGER PRIMARY KEY, rule TEXT NOT NULL, device TEXT NOT NULL, body BLOB NOT NULL);
ALTER TABLE firing ADD COLUMN name TEXT;
PRAGMA user_version = 9;
