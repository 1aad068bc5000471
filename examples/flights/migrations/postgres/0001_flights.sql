CREATE TABLE airlines (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    carrier text NOT NULL UNIQUE,
    name    text NOT NULL
);

-- Of an airport that turns up only in a flight, nothing but its code is known.
CREATE TABLE airports (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    faa   text NOT NULL UNIQUE,
    name  text,
    lat   double precision,
    lon   double precision,
    alt   integer,
    tz    integer,
    dst   text,
    tzone text
);

-- Of a plane that turns up only in a flight, nothing but its tail number is known.
CREATE TABLE planes (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tailnum      text NOT NULL UNIQUE,
    year         integer,
    type         text,
    manufacturer text,
    model        text,
    engines      integer,
    seats        integer,
    speed        integer,
    engine       text
);

CREATE TABLE flights (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    year           integer NOT NULL,
    month          integer NOT NULL,
    day            integer NOT NULL,
    carrier        bigint NOT NULL REFERENCES airlines (id),
    flight         integer NOT NULL,
    origin         bigint NOT NULL REFERENCES airports (id),
    dest           bigint NOT NULL REFERENCES airports (id),
    plane          bigint REFERENCES planes (id),
    dep_time       integer,
    sched_dep_time integer NOT NULL,
    dep_delay      integer,
    arr_time       integer,
    sched_arr_time integer NOT NULL,
    arr_delay      integer,
    air_time       integer,
    distance       integer NOT NULL,
    hour           integer NOT NULL,
    minute         integer NOT NULL,
    time_hour      timestamptz NOT NULL,
    UNIQUE (year, month, day, carrier, flight, origin)
);
