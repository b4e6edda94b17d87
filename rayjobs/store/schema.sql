-- Times are UTC, without a zone of their own. States change by UPDATE: no index and no LIST may stand on a column
-- that changes, or DuckDB turns the update into delete and insert and refuses two of them in one transaction.

CREATE TABLE IF NOT EXISTS binaries (
    app_name VARCHAR NOT NULL,
    binary_type VARCHAR NOT NULL,
    upload_time TIMESTAMP NOT NULL,
    sha256 VARCHAR NOT NULL,
    size_bytes BIGINT NOT NULL,
    PRIMARY KEY (app_name, upload_time)
);

CREATE TABLE IF NOT EXISTS contexts (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    start_time TIMESTAMP NOT NULL,
    end_time TIMESTAMP,
    settings VARCHAR NOT NULL,
    is_adhoc BOOLEAN NOT NULL,
    application_id VARCHAR,
    ui_url VARCHAR,
    error_message VARCHAR,
    error_class VARCHAR,
    error_stack VARCHAR,
    host VARCHAR
);

-- A job keeps what it ran: its binary's columns outlive the binary.
CREATE TABLE IF NOT EXISTS jobs (
    job_id VARCHAR PRIMARY KEY,
    context_id VARCHAR NOT NULL,
    context_name VARCHAR NOT NULL,
    app_name VARCHAR NOT NULL,
    binary_type VARCHAR NOT NULL,
    upload_time TIMESTAMP NOT NULL,
    sha256 VARCHAR NOT NULL,
    size_bytes BIGINT NOT NULL,
    class_path VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    start_time TIMESTAMP NOT NULL,
    end_time TIMESTAMP,
    error_message VARCHAR,
    error_class VARCHAR,
    error_stack VARCHAR,
    config VARCHAR NOT NULL,
    is_async BOOLEAN NOT NULL
);

-- Newer than the table: files are opened that were made without it.
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS callback_url VARCHAR;

-- A JSON array of objects with the columns of `binaries`; never NULL, which DuckDB cannot be told with IF NOT EXISTS.
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS dependencies VARCHAR DEFAULT '[]';

-- The result of a job that was written in one piece, which no update touches.
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS result VARCHAR;

-- Of all other jobs. Insert-only, apart from `jobs`: an update there rewrites its columns at the next checkpoint.
-- A FINISHED job without a result here and there has it in a file.
CREATE TABLE IF NOT EXISTS job_results (
    job_id VARCHAR PRIMARY KEY,
    result VARCHAR NOT NULL
);

-- Of ended jobs that have a callback_url: a row comes with the job's final state.
CREATE TABLE IF NOT EXISTS callbacks (
    job_id VARCHAR PRIMARY KEY,
    url VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    attempts INTEGER NOT NULL,
    last_attempt TIMESTAMP,
    last_status INTEGER,
    last_error VARCHAR,
    next_attempt TIMESTAMP
);

-- Up to where a journal's lines are in `jobs`, written with them: none is taken in twice, whatever becomes of its job.
CREATE TABLE IF NOT EXISTS journals (
    name VARCHAR PRIMARY KEY,
    taken_bytes BIGINT NOT NULL
);
