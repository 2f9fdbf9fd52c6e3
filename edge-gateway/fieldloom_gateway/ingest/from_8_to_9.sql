-- Version 8 had nothing that has changed since.
PRAGMA user_version = 9;
