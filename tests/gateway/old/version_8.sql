CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE firing (number INTEGER PRIMARY KEY, rule TEXT NOT NULL, device TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX firing_of_rule ON firing (rule, number);
INSERT INTO firing (rule, device, body) VALUES ('knocks', 'dev-1', x'7b2274616b656e223a317d');
PRAGMA user_version = 8;
