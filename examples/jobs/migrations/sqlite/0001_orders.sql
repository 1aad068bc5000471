CREATE TABLE orders (
    id      INTEGER PRIMARY KEY,
    number  INTEGER NOT NULL UNIQUE,
    version INTEGER NOT NULL
);

CREATE TABLE items (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    position INTEGER NOT NULL,
    article  INTEGER NOT NULL,
    pieces   INTEGER NOT NULL,
    UNIQUE (order_id, position)
);
