-- Version 10 did not know who had asked for a command.
CREATE TABLE IF NOT EXISTS command (
  id TEXT PRIMARY KEY, device TEXT NOT NULL, payload BLOB NOT NULL, expires INTEGER NOT NULL
) WITHOUT ROWID;
ALTER TABLE command ADD COLUMN source BLOB;
PRAGMA user_version = 11;
