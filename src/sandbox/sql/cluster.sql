-- What every server of a sandbox starts with. The passwords are known on purpose: a sandbox is thrown away, and only
-- this machine can reach it. Statements end with an empty line: single-user mode wants it so.
CREATE ROLE alloydbiamuser NOLOGIN;

CREATE ROLE "alice@example.com" LOGIN IN ROLE alloydbiamuser;

CREATE ROLE "my-sa@my-project.iam" LOGIN IN ROLE alloydbiamuser, pg_monitor;

SET password_encryption = 'scram-sha-256';

ALTER ROLE postgres PASSWORD 'postgres-password';

CREATE ROLE app LOGIN PASSWORD 'app-password';

CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'replicator-password';

SET password_encryption = 'md5';

CREATE ROLE app_md5 LOGIN PASSWORD 'app-md5-password';

CREATE DATABASE app OWNER app;

