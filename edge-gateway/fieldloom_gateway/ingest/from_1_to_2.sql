-- Version 1 had a row a record in its outbox; version 2 has a row a segment.
BEGIN;
ALTER TABLE outbox RENAME TO outbox_of_1;
CREATE TABLE outbox (
  first INTEGER NOT NULL, last INTEGER PRIMARY KEY, covers TEXT NOT NULL, body BLOB NOT NULL
);
INSERT INTO outbox SELECT
  number, number, CASE WHEN boot IS NULL THEN '[]' ELSE json_array(json_array(device, boot, seq, seq)) END, body
  FROM outbox_of_1;
INSERT OR REPLACE INTO meta SELECT 'numbered', seq FROM sqlite_sequence WHERE name = 'outbox_of_1';
DROP TABLE outbox_of_1;
PRAGMA user_version = 2;
COMMIT;
