CREATE TABLE retweets (
    id              INTEGER PRIMARY KEY,
    tweet           INTEGER NOT NULL,
    retweeter       INTEGER NOT NULL,
    original_author INTEGER NOT NULL,
    UNIQUE (tweet, retweeter)
);
