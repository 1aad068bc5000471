-- The same tables as in ../sqlite, and no unique index on any of them.
CREATE TABLE games (
    id               INTEGER PRIMARY KEY,
    provider_game_id INTEGER NOT NULL,
    title            TEXT NOT NULL
);

CREATE TABLE players (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);

-- Who beat whom, and in which game.
CREATE TABLE beats (
    id               INTEGER PRIMARY KEY,
    provider_beat_id INTEGER NOT NULL,
    game             INTEGER NOT NULL REFERENCES games (id),
    winner           INTEGER NOT NULL REFERENCES players (id),
    loser            INTEGER NOT NULL REFERENCES players (id)
);
