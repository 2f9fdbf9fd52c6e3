-- Version 6 had no workflows. All tables of theirs are new.
PRAGMA user_version = 7;
