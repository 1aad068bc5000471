-- Codes are compared byte by byte, as on the other databases and in the program: the default collation would take n123 and N123 for one plane.
CREATE TABLE airlines (
    id      BIGINT AUTO_INCREMENT PRIMARY KEY,
    carrier VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    name    TEXT CHARACTER SET utf8mb4 NOT NULL,
    UNIQUE (carrier)
) ENGINE = InnoDB;

-- Of an airport that turns up only in a flight, nothing but its code is known.
CREATE TABLE airports (
    id    BIGINT AUTO_INCREMENT PRIMARY KEY,
    faa   VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    name  TEXT CHARACTER SET utf8mb4,
    lat   DOUBLE,
    lon   DOUBLE,
    alt   INT,
    tz    INT,
    dst   TEXT CHARACTER SET utf8mb4,
    tzone TEXT CHARACTER SET utf8mb4,
    UNIQUE (faa)
) ENGINE = InnoDB;

-- Of a plane that turns up only in a flight, nothing but its tail number is known.
CREATE TABLE planes (
    id           BIGINT AUTO_INCREMENT PRIMARY KEY,
    tailnum      VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    year         INT,
    type         TEXT CHARACTER SET utf8mb4,
    manufacturer TEXT CHARACTER SET utf8mb4,
    model        TEXT CHARACTER SET utf8mb4,
    engines      INT,
    seats        INT,
    speed        INT,
    engine       TEXT CHARACTER SET utf8mb4,
    UNIQUE (tailnum)
) ENGINE = InnoDB;

-- Foreign keys are named apart from their columns, as MySQL ignores REFERENCES behind a column. time_hour is no TIMESTAMP, which ends in 2038.
CREATE TABLE flights (
    id             BIGINT AUTO_INCREMENT PRIMARY KEY,
    year           INT NOT NULL,
    month          INT NOT NULL,
    day            INT NOT NULL,
    carrier        BIGINT NOT NULL,
    flight         INT NOT NULL,
    origin         BIGINT NOT NULL,
    dest           BIGINT NOT NULL,
    plane          BIGINT,
    dep_time       INT,
    sched_dep_time INT NOT NULL,
    dep_delay      INT,
    arr_time       INT,
    sched_arr_time INT NOT NULL,
    arr_delay      INT,
    air_time       INT,
    distance       INT NOT NULL,
    hour           INT NOT NULL,
    minute         INT NOT NULL,
    time_hour      DATETIME(6) NOT NULL,
    UNIQUE (year, month, day, carrier, flight, origin),
    FOREIGN KEY (carrier) REFERENCES airlines (id),
    FOREIGN KEY (origin) REFERENCES airports (id),
    FOREIGN KEY (dest) REFERENCES airports (id),
    FOREIGN KEY (plane) REFERENCES planes (id)
) ENGINE = InnoDB;
