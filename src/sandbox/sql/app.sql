GRANT ALL ON SCHEMA public TO app, alloydbiamuser, app_md5;

SET ROLE app;

ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO alloydbiamuser, app_md5;

ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO alloydbiamuser, app_md5;

CREATE TABLE customers (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name    text NOT NULL,
    country text NOT NULL
);

CREATE TABLE orders (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    placed_at   timestamptz NOT NULL DEFAULT now(),
    total       numeric(12, 2) NOT NULL CHECK (total >= 0)
);

CREATE INDEX ON orders (customer_id);

INSERT INTO customers (name, country)
    SELECT 'customer ' || n, (ARRAY['DE', 'FR', 'JP', 'US'])[1 + n % 4] FROM generate_series(1, 100) n;

INSERT INTO orders (customer_id, placed_at, total)
    SELECT 1 + n % 100, timestamptz '2026-01-01 00:00:00Z' + n * interval '7 minutes', n % 500 + 0.99
    FROM generate_series(1, 1000) n;

RESET ROLE;

VACUUM ANALYZE;

