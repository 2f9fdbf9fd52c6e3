-- The gateway's disk. One transaction a group of messages holds ranges, outbox and dead letters together (decision 2).
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
-- Which seq of a (device, boot) have been received: spans as JSON.
CREATE TABLE IF NOT EXISTS received (device TEXT, boot INTEGER, spans TEXT NOT NULL, PRIMARY KEY (device, boot)) WITHOUT ROWID;
-- A row a segment: records first to last of the stream, a line each, and as JSON what seqs they cover. The last number
-- ever given stands in meta (numbered), since an empty outbox goes on after it. Numbers above 2^52 are the express lane's,
-- with a stream and a last number of its own in meta (express_stream, express_numbered).
CREATE TABLE IF NOT EXISTS outbox (
  first INTEGER NOT NULL, last INTEGER PRIMARY KEY, covers TEXT NOT NULL, body BLOB NOT NULL
);
-- Streams that were sealed: the records up to `last`, above the lane before, go up under `stream`; what follows the newest
-- of them goes up under the stream in meta.
CREATE TABLE IF NOT EXISTS lane (last INTEGER PRIMARY KEY, stream BLOB NOT NULL);
-- Seqs that were received and that no record of the outbox carries yet, since a chain left their records out: spans as JSON.
CREATE TABLE IF NOT EXISTS uncarried (device TEXT, boot INTEGER, spans TEXT NOT NULL, PRIMARY KEY (device, boot)) WITHOUT ROWID;
-- The open windows of chains, with what they have taken so far.
CREATE TABLE IF NOT EXISTS open_window (
  device TEXT, chain TEXT, metric TEXT, start INTEGER, body TEXT NOT NULL, PRIMARY KEY (device, chain, metric, start)
) WITHOUT ROWID;
-- What a device tells of itself, by which chains choose: its type, and its tags as JSON.
CREATE TABLE IF NOT EXISTS described (device TEXT PRIMARY KEY, type TEXT, tags TEXT NOT NULL) WITHOUT ROWID;
-- When it started, when it was heard last, and since when its session lasts, in Unix ms.
CREATE TABLE IF NOT EXISTS device (
  device TEXT PRIMARY KEY, online INTEGER NOT NULL, boot INTEGER NOT NULL, session TEXT NOT NULL,
  started_at INTEGER, seen INTEGER NOT NULL, began INTEGER
) WITHOUT ROWID;
-- Devices that sleep: ms between wakes, and by when one that has left has to be back.
CREATE TABLE IF NOT EXISTS sleeper (device TEXT PRIMARY KEY, every INTEGER NOT NULL, wakes_by INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS command (
  id TEXT PRIMARY KEY, device TEXT NOT NULL, payload BLOB NOT NULL, expires INTEGER NOT NULL, source BLOB
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS command_by_expiry ON command (expires);
DROP INDEX IF EXISTS command_of_device; -- of an older gateway, as those below: pages more of each commit
-- Commands that have ended, until they expire: `body` is the device's final word (JSON), NULL for one that was withdrawn;
-- the others of the site are told of those that ended here.
CREATE TABLE IF NOT EXISTS command_ended (
  id TEXT, device TEXT, expires INTEGER NOT NULL, body BLOB, own INTEGER NOT NULL, PRIMARY KEY (id, device)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS command_ended_by_expiry ON command_ended (expires);
-- The newest certificate that the cloud has issued to a device over this gateway, for a device that asks again.
CREATE TABLE IF NOT EXISTS certificate (device TEXT PRIMARY KEY, request TEXT NOT NULL, payload BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS downstream (stream BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
-- Where boot and seq could be read they count as received, though the record is here. A stage is one of a chain.
CREATE TABLE IF NOT EXISTS dead_letter (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
  length INTEGER NOT NULL, reason TEXT NOT NULL, device TEXT NOT NULL DEFAULT '', boot INTEGER, seq INTEGER, stage TEXT
);
CREATE INDEX IF NOT EXISTS dead_letter_of_device ON dead_letter (device, number);
-- A list of revoked certificates comes in parts; whole, it stands in meta (crl, crl_number). Who is to be cut off for it
-- stays until that is done.
CREATE TABLE IF NOT EXISTS crl_part (number INTEGER, part INTEGER, body BLOB NOT NULL, PRIMARY KEY (number, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS expelled (identity TEXT PRIMARY KEY, number INTEGER NOT NULL, hold INTEGER NOT NULL) WITHOUT ROWID;
-- Patches of twins until they are decided: what is wanted of devices is in the map that the site's gateways share. A patch
-- with an expected version is for that one alone. And what devices have told here: the version that each has, and its newest report.
CREATE TABLE IF NOT EXISTS twin_inbox (
  number INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, expected INTEGER,
  at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS twin_inbox_of_device ON twin_inbox (device, id);
CREATE TABLE IF NOT EXISTS twin_reported (device TEXT PRIMARY KEY, seen INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
-- Devices that were asked to report less often: the interval that was wanted before, as JSON, and the longer one.
CREATE TABLE IF NOT EXISTS slowed (device TEXT PRIMARY KEY, before TEXT NOT NULL, wanted INTEGER NOT NULL) WITHOUT ROWID;
-- Messages that bore a mark of their sender, for a day, and as JSON what was wrong with them.
CREATE TABLE IF NOT EXISTS taken_once (
  device TEXT, key TEXT, faults TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (device, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS taken_once_by_age ON taken_once (at);
-- What devices prove themselves by that are no certificates; `ends` in Unix ms.
CREATE TABLE IF NOT EXISTS credential (
  id TEXT PRIMARY KEY, device TEXT NOT NULL, protocol TEXT NOT NULL, secret BLOB NOT NULL, ends INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS credential_by_secret ON credential (protocol, secret);
CREATE INDEX IF NOT EXISTS credential_by_digits ON credential (substr(id, -12));
-- Rules by where they come from, the newest good version of each, with the ids of the devices that its cloud names (JSON,
-- NULL where nobody has); and, as JSON, what is wrong with a newer one.
CREATE TABLE IF NOT EXISTS rule (
  id TEXT PRIMARY KEY, origin TEXT NOT NULL, version TEXT, mode TEXT NOT NULL, document TEXT, devices TEXT, refused TEXT
) WITHOUT ROWID;
-- What rules remember of each source as it was at the last checkpoint, and what was judged since: a row a transaction.
CREATE TABLE IF NOT EXISTS rule_memory (source TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rule_journal (number INTEGER PRIMARY KEY, entries INTEGER NOT NULL, body BLOB NOT NULL);
-- When those records happened that came before one that is missing, for rules that wait for what is missing.
CREATE TABLE IF NOT EXISTS ahead (device TEXT, boot INTEGER, seq INTEGER, ts INTEGER NOT NULL, PRIMARY KEY (device, boot, seq)) WITHOUT ROWID;
-- What rules that remember are to hear at the owner of a partition, until its checkpoint in the map that the site's gateways
-- share takes it into account. The name of the stream of numbers stands in meta (windows) while this gateway is in a cluster.
CREATE TABLE IF NOT EXISTS rule_heard (
  number INTEGER PRIMARY KEY AUTOINCREMENT, partition INTEGER NOT NULL, source TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS rule_heard_of_partition ON rule_heard (partition, number);
-- The newest firings; `body` is what the cloud is told of each. What an owner may find out again has a name.
CREATE TABLE IF NOT EXISTS firing (number INTEGER PRIMARY KEY, rule TEXT NOT NULL, device TEXT NOT NULL, body BLOB NOT NULL, name TEXT);
CREATE INDEX IF NOT EXISTS firing_by_name ON firing (name) WHERE name IS NOT NULL;
DROP INDEX IF EXISTS firing_of_rule;
-- What rules asked to be done: `due` is when it is tried next (Unix ms), NULL for what waits for a device's answer or is over.
CREATE TABLE IF NOT EXISTS effect (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, rule TEXT NOT NULL, device TEXT NOT NULL, kind TEXT NOT NULL,
  parameters TEXT NOT NULL, asked INTEGER NOT NULL, status TEXT NOT NULL, attempts INTEGER NOT NULL, due INTEGER,
  result TEXT, error TEXT
);
CREATE INDEX IF NOT EXISTS effect_due ON effect (due) WHERE due IS NOT NULL;
DROP INDEX IF EXISTS effect_of_rule;
-- Alarms that are active; and what began and ended alarms, of each of them the newest, from which all that follows.
CREATE TABLE IF NOT EXISTS alarm (
  device TEXT, name TEXT, rule TEXT NOT NULL, severity TEXT NOT NULL, message TEXT NOT NULL, raised_at INTEGER NOT NULL,
  last INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (device, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarm_mark (
  device TEXT, name TEXT, at INTEGER, effect TEXT, begins INTEGER NOT NULL, rule TEXT NOT NULL, severity TEXT NOT NULL,
  message TEXT NOT NULL, PRIMARY KEY (device, name, at, effect)
) WITHOUT ROWID;
-- In which order these marks came to be known here, and what was taken back, of which there is no mark: so the other
-- gateways of the site are told. Those that an older version has written come to have a number.
CREATE TABLE IF NOT EXISTS alarm_known (
  number INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, name TEXT NOT NULL, effect TEXT NOT NULL,
  withdrawn INTEGER NOT NULL, UNIQUE (device, name, effect)
);
INSERT OR IGNORE INTO alarm_known (device, name, effect, withdrawn) SELECT device, name, effect, 0 FROM alarm_mark;
-- The newest values of those metrics that a rule asks for.
CREATE TABLE IF NOT EXISTS latest (
  device TEXT, metric TEXT, ts INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (device, metric)
) WITHOUT ROWID;
-- Workflows by version, with the devices that the cloud names (JSON, NULL where nobody has): triggers are those of the
-- version at work, the others are for instances that began with them. And what is wrong with a version that was refused.
CREATE TABLE IF NOT EXISTS workflow (
  id TEXT, version TEXT, origin TEXT NOT NULL, document TEXT NOT NULL, devices TEXT, at_work INTEGER NOT NULL,
  PRIMARY KEY (id, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS workflow_refused (id TEXT PRIMARY KEY, origin TEXT NOT NULL, told TEXT NOT NULL) WITHOUT ROWID;
-- Up to when (Unix ms) a schedule was looked at; `told` is its expression and time zone.
CREATE TABLE IF NOT EXISTS workflow_schedule (
  workflow TEXT, place INTEGER, told TEXT NOT NULL, after INTEGER NOT NULL, PRIMARY KEY (workflow, place)
) WITHOUT ROWID;
-- What happens to instances of workflows of a partition, until the step that has taken it is in the map that the site's
-- gateways share. No partition: it is of a gateway that knew none, and finds its own at the next start.
CREATE TABLE IF NOT EXISTS workflow_inbox (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL, partition INTEGER);
CREATE INDEX IF NOT EXISTS workflow_inbox_of_partition ON workflow_inbox (partition, number);
-- Which instance has asked for an effect.
CREATE TABLE IF NOT EXISTS workflow_effect (id TEXT PRIMARY KEY, instance TEXT NOT NULL, partition INTEGER) WITHOUT ROWID;
-- The newest records of what became of instances; `body` is what the cloud is told.
CREATE TABLE IF NOT EXISTS workflow_history (
  number INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL, record INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS workflow_history_of_instance ON workflow_history (instance, record);
-- Up to which of its records the cloud was told of an instance.
CREATE TABLE IF NOT EXISTS workflow_told (instance TEXT PRIMARY KEY, record INTEGER NOT NULL) WITHOUT ROWID;
-- What was asked of the slots of actuators, until it is in the map that the site's gateways share.
CREATE TABLE IF NOT EXISTS hold_inbox (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
-- Up to which version of an actuator's slots its device and the cloud were told, and by which command what acts.
CREATE TABLE IF NOT EXISTS hold_told (
  device TEXT, actuator TEXT, version INTEGER NOT NULL, command TEXT NOT NULL, PRIMARY KEY (device, actuator)
) WITHOUT ROWID;
