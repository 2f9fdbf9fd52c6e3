-- Version 4 had no express lane: it would send what has numbers above 2^52 in the live stream. Its stream is drawn at the opening.
PRAGMA user_version = 5;
