-- Version 9 had what is wanted of devices here; it goes into the map that the site's gateways share. Of its patches nobody
-- knows who made them: they count as the cloud's.
BEGIN;
CREATE TABLE IF NOT EXISTS twin_desired (
  device TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL, applied TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS twin_reported (device TEXT PRIMARY KEY, seen INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE twin_inbox (
  number INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, expected INTEGER,
  at INTEGER NOT NULL
);
INSERT INTO twin_inbox (device, id, body, at)
  SELECT device, 'moved', CAST(json_object('former', json_array(
      version, json(twin_desired.body),
      (SELECT json_group_array(json_array(value, NULL, 0)) FROM json_each(applied)),
      json(iif(seen IS NULL, 'false', 'true'))
    )) AS BLOB), 0
  FROM twin_desired LEFT JOIN twin_reported USING (device);
DROP TABLE twin_desired;
PRAGMA user_version = 10;
COMMIT;
