-- A gateway's database as version 1 left it: three records wait, two were acknowledged and trimmed.
-- The gateway's disk. One transaction a group of messages holds ranges, outbox and dead letters together (decision 2).
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
-- Which seq of a (device, boot) have been received: spans as JSON.
CREATE TABLE received (device TEXT, boot INTEGER, spans TEXT NOT NULL, PRIMARY KEY (device, boot)) WITHOUT ROWID;
CREATE TABLE outbox (
  number INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, boot INTEGER, seq INTEGER, body BLOB NOT NULL
);
CREATE TABLE device (
  device TEXT PRIMARY KEY, online INTEGER NOT NULL, boot INTEGER NOT NULL, session TEXT NOT NULL,
  started_at INTEGER, seen INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE command (
  id TEXT PRIMARY KEY, device TEXT NOT NULL, payload BLOB NOT NULL, expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX command_of_device ON command (device);
CREATE TABLE downstream (stream BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead_letter (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
  length INTEGER NOT NULL, reason TEXT NOT NULL
);
INSERT INTO meta VALUES ('stream', x'000102030405060708090a0b0c0d0e0f');
INSERT INTO received VALUES ('dev-1', 7, '[[1, 4]]');
INSERT INTO outbox VALUES (3, 'dev-1', 7, 3, CAST('{"kind":"telemetry","device":"dev-1","boot":7,"seq":3,"ts":5,"at":6,"values":{"t":1}}' AS BLOB));
INSERT INTO outbox VALUES (4, 'dev-1', 7, 4, CAST('{"kind":"telemetry","device":"dev-1","boot":7,"seq":4,"ts":6,"at":6,"values":{"t":2}}' AS BLOB));
INSERT INTO outbox VALUES (5, 'dev-1', NULL, NULL, CAST('{"kind":"expired","device":"dev-1","id":"c","ts":6,"at":6}' AS BLOB));
PRAGMA user_version = 1;
