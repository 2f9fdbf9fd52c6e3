-- Version 3 had one stream in its outbox (the table `lane` is new), and did not know since when a session lasts.
BEGIN;
ALTER TABLE device ADD COLUMN began INTEGER;
PRAGMA user_version = 4;
COMMIT;
