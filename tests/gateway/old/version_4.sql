-- A gateway's disk of version 4: an outbox with a sealed lane and a live one, and no express one.
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS received (device TEXT, boot INTEGER, spans TEXT NOT NULL, PRIMARY KEY (device, boot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
  first INTEGER NOT NULL, last INTEGER PRIMARY KEY, covers TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS lane (last INTEGER PRIMARY KEY, stream BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS uncarried (device TEXT, boot INTEGER, spans TEXT NOT NULL, PRIMARY KEY (device, boot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open_window (
  device TEXT, chain TEXT, metric TEXT, start INTEGER, body TEXT NOT NULL, PRIMARY KEY (device, chain, metric, start)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS described (device TEXT PRIMARY KEY, type TEXT, tags TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS device (
  device TEXT PRIMARY KEY, online INTEGER NOT NULL, boot INTEGER NOT NULL, session TEXT NOT NULL,
  started_at INTEGER, seen INTEGER NOT NULL, began INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sleeper (device TEXT PRIMARY KEY, every INTEGER NOT NULL, wakes_by INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS command (
  id TEXT PRIMARY KEY, device TEXT NOT NULL, payload BLOB NOT NULL, expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS command_of_device ON command (device);
CREATE TABLE IF NOT EXISTS certificate (device TEXT PRIMARY KEY, request TEXT NOT NULL, payload BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS downstream (stream BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letter (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
  length INTEGER NOT NULL, reason TEXT NOT NULL, device TEXT NOT NULL DEFAULT '', boot INTEGER, seq INTEGER, stage TEXT
);
CREATE INDEX IF NOT EXISTS dead_letter_of_device ON dead_letter (device, number);
CREATE TABLE IF NOT EXISTS crl_part (number INTEGER, part INTEGER, body BLOB NOT NULL, PRIMARY KEY (number, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS expelled (identity TEXT PRIMARY KEY, number INTEGER NOT NULL, hold INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS twin_desired (
  device TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL, applied TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slowed (device TEXT PRIMARY KEY, before TEXT NOT NULL, wanted INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS twin_reported (device TEXT PRIMARY KEY, seen INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS taken_once (
  device TEXT, key TEXT, faults TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (device, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS taken_once_by_age ON taken_once (at);
CREATE TABLE IF NOT EXISTS credential (
  id TEXT PRIMARY KEY, device TEXT NOT NULL, protocol TEXT NOT NULL, secret BLOB NOT NULL, ends INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS credential_by_secret ON credential (protocol, secret);
CREATE INDEX IF NOT EXISTS credential_by_digits ON credential (substr(id, -12));
INSERT INTO meta VALUES ('stream', x'00010203040506070000000000000000');
INSERT INTO meta VALUES ('numbered', 5);
INSERT INTO lane VALUES (4, x'000102030405060708090A0B0C0D0E0F');
INSERT INTO received VALUES ('dev-1', 7, '[[1,5]]');
INSERT INTO outbox VALUES (4, 4, '[["dev-1",7,4,4]]', CAST(
  '{"kind":"telemetry","device":"dev-1","boot":7,"seq":4,"ts":5,"at":6,"values":{"t":1}}' AS BLOB));
INSERT INTO outbox VALUES (5, 5, '[["dev-1",7,5,5]]', CAST(
  '{"kind":"telemetry","device":"dev-1","boot":7,"seq":5,"ts":6,"at":6,"values":{"t":2}}' AS BLOB));
PRAGMA user_version = 4;
