CREATE TABLE debentures (
    id   INTEGER PRIMARY KEY,
    code TEXT NOT NULL UNIQUE
);

CREATE TABLE holders (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- How many units of a debenture a holder has.
CREATE TABLE holdings (
    debenture INTEGER NOT NULL REFERENCES debentures (id),
    holder    INTEGER NOT NULL REFERENCES holders (id),
    units     INTEGER NOT NULL CHECK (units > 0),
    UNIQUE (debenture, holder)
);

-- What the issuer of a debenture owes, and when: all money is in whole cents.
CREATE TABLE instalments (
    debenture INTEGER NOT NULL REFERENCES debentures (id),
    month     TEXT NOT NULL,
    kind      TEXT NOT NULL,
    cents     INTEGER NOT NULL CHECK (cents >= 0),
    UNIQUE (debenture, month, kind)
);

-- What the issuer has paid.
CREATE TABLE payments (
    debenture INTEGER NOT NULL REFERENCES debentures (id),
    number    INTEGER NOT NULL,
    cents     INTEGER NOT NULL CHECK (cents >= 0),
    UNIQUE (debenture, number)
);

-- What a holder gets in a month, from all debentures together.
CREATE TABLE payouts (
    holder INTEGER NOT NULL REFERENCES holders (id),
    month  TEXT NOT NULL,
    cents  INTEGER NOT NULL,
    UNIQUE (holder, month)
);
