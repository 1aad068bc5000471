CREATE TABLE games (
    id               INTEGER PRIMARY KEY,
    provider_game_id INTEGER NOT NULL UNIQUE,
    title            TEXT NOT NULL
);

CREATE TABLE players (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Who beat whom, and in which game.
CREATE TABLE beats (
    id               INTEGER PRIMARY KEY,
    provider_beat_id INTEGER NOT NULL UNIQUE,
    game             INTEGER NOT NULL REFERENCES games (id),
    winner           INTEGER NOT NULL REFERENCES players (id),
    loser            INTEGER NOT NULL REFERENCES players (id)
);
