-- Version 7 had nothing that has changed since.
PRAGMA user_version = 8;
