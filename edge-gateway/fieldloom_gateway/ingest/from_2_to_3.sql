-- Version 2 kept no name and no number with its dead letters: of those a record can't be told from its message.
BEGIN;
ALTER TABLE dead_letter ADD COLUMN device TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letter ADD COLUMN boot INTEGER;
ALTER TABLE dead_letter ADD COLUMN seq INTEGER;
ALTER TABLE dead_letter ADD COLUMN stage TEXT;
UPDATE dead_letter SET device = substr(topic, 9, instr(substr(topic, 9), '/') - 1) WHERE topic LIKE 'fl/v1/d/_%/_%';
PRAGMA user_version = 3;
COMMIT;
