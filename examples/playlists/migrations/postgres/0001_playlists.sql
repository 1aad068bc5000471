CREATE TABLE songs (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number    bigint NOT NULL UNIQUE,
    title     text NOT NULL,
    plays     bigint NOT NULL,
    notes     text NOT NULL,
    chord_num bigint
);

CREATE TABLE charts (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    week text NOT NULL UNIQUE
);

CREATE TABLE entries (
    chart bigint NOT NULL REFERENCES charts (id),
    place bigint NOT NULL,
    song  bigint NOT NULL REFERENCES songs (id),
    UNIQUE (chart, place)
);

-- Which run of the program has derived the chord of which song: one row, if it has been done once.
CREATE TABLE derivations (
    song bigint NOT NULL REFERENCES songs (id),
    run  bigint NOT NULL,
    UNIQUE (song, run)
);
