-- Version 5 had no rules: it would not judge what it takes, nor keep the journal. All tables of theirs are new.
PRAGMA user_version = 6;
