CREATE TABLE songs (
    id        BIGINT AUTO_INCREMENT PRIMARY KEY,
    number    BIGINT NOT NULL,
    title     TEXT CHARACTER SET utf8mb4 NOT NULL,
    plays     BIGINT NOT NULL,
    notes     TEXT CHARACTER SET utf8mb4 NOT NULL,
    chord_num BIGINT,
    UNIQUE (number)
) ENGINE = InnoDB;

CREATE TABLE charts (
    id   BIGINT AUTO_INCREMENT PRIMARY KEY,
    week VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    UNIQUE (week)
) ENGINE = InnoDB;

-- Foreign keys are named apart from their columns, as MySQL ignores REFERENCES behind a column.
CREATE TABLE entries (
    chart BIGINT NOT NULL,
    place BIGINT NOT NULL,
    song  BIGINT NOT NULL,
    UNIQUE (chart, place),
    FOREIGN KEY (chart) REFERENCES charts (id),
    FOREIGN KEY (song) REFERENCES songs (id)
) ENGINE = InnoDB;

-- Which run of the program has derived the chord of which song: one row, if it has been done once.
CREATE TABLE derivations (
    song BIGINT NOT NULL,
    run  BIGINT NOT NULL,
    UNIQUE (song, run),
    FOREIGN KEY (song) REFERENCES songs (id)
) ENGINE = InnoDB;
