CREATE TABLE airlines (
    id      INTEGER PRIMARY KEY,
    carrier TEXT NOT NULL UNIQUE,
    name    TEXT NOT NULL
);

-- Of an airport that turns up only in a flight, nothing but its code is known.
CREATE TABLE airports (
    id    INTEGER PRIMARY KEY,
    faa   TEXT NOT NULL UNIQUE,
    name  TEXT,
    lat   REAL,
    lon   REAL,
    alt   INTEGER,
    tz    INTEGER,
    dst   TEXT,
    tzone TEXT
);

-- Of a plane that turns up only in a flight, nothing but its tail number is known.
CREATE TABLE planes (
    id           INTEGER PRIMARY KEY,
    tailnum      TEXT NOT NULL UNIQUE,
    year         INTEGER,
    type         TEXT,
    manufacturer TEXT,
    model        TEXT,
    engines      INTEGER,
    seats        INTEGER,
    speed        INTEGER,
    engine       TEXT
);

CREATE TABLE flights (
    id             INTEGER PRIMARY KEY,
    year           INTEGER NOT NULL,
    month          INTEGER NOT NULL,
    day            INTEGER NOT NULL,
    carrier        INTEGER NOT NULL REFERENCES airlines (id),
    flight         INTEGER NOT NULL,
    origin         INTEGER NOT NULL REFERENCES airports (id),
    dest           INTEGER NOT NULL REFERENCES airports (id),
    plane          INTEGER REFERENCES planes (id),
    dep_time       INTEGER,
    sched_dep_time INTEGER NOT NULL,
    dep_delay      INTEGER,
    arr_time       INTEGER,
    sched_arr_time INTEGER NOT NULL,
    arr_delay      INTEGER,
    air_time       INTEGER,
    distance       INTEGER NOT NULL,
    hour           INTEGER NOT NULL,
    minute         INTEGER NOT NULL,
    time_hour      TEXT NOT NULL,
    UNIQUE (year, month, day, carrier, flight, origin)
);
