CREATE TABLE songs (
    id        INTEGER PRIMARY KEY,
    number    INTEGER NOT NULL UNIQUE,
    title     TEXT NOT NULL,
    plays     INTEGER NOT NULL,
    notes     TEXT NOT NULL,
    chord_num INTEGER
);

CREATE TABLE charts (
    id   INTEGER PRIMARY KEY,
    week TEXT NOT NULL UNIQUE
);

CREATE TABLE entries (
    chart INTEGER NOT NULL REFERENCES charts (id),
    place INTEGER NOT NULL,
    song  INTEGER NOT NULL REFERENCES songs (id),
    UNIQUE (chart, place)
);

-- Which run of the program has derived the chord of which song: one row, if it has been done once.
CREATE TABLE derivations (
    song INTEGER NOT NULL REFERENCES songs (id),
    run  INTEGER NOT NULL,
    UNIQUE (song, run)
);
