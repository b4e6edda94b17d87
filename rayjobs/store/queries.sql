-- name: ping
SELECT 1 AS pong;

-- name: last_upload_time
SELECT max(upload_time) AS upload_time FROM binaries WHERE app_name = $app_name;

-- name: add_binary
INSERT INTO binaries VALUES ($app_name, $binary_type, $upload_time, $sha256, $size_bytes);

-- name: list_binaries
SELECT * FROM binaries
QUALIFY row_number() OVER (PARTITION BY app_name ORDER BY upload_time DESC) = 1
ORDER BY app_name;

-- name: get_binary
SELECT * FROM binaries WHERE app_name = $app_name ORDER BY upload_time DESC LIMIT 1;

-- name: job_ids_of_binary
SELECT job_id FROM jobs
WHERE (app_name = $app_name OR list_contains(json_extract_string(dependencies, '$[*].app_name'), $app_name))
  AND NOT list_contains($final, state)
ORDER BY start_time, rowid;

-- name: delete_binary
DELETE FROM binaries WHERE app_name = $app_name;

-- name: contents_in_use
SELECT sha256 FROM binaries
UNION
SELECT sha256 FROM jobs WHERE NOT list_contains($final, state)
UNION
SELECT unnest(json_extract_string(dependencies, '$[*].sha256')) FROM jobs WHERE NOT list_contains($final, state);

-- name: save_context
INSERT INTO contexts VALUES (
    $id, $name, $state, $start_time, $end_time, $settings, $is_adhoc, $application_id, $ui_url,
    $error_message, $error_class, $error_stack, $host
)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name,
    state = excluded.state,
    start_time = excluded.start_time,
    end_time = excluded.end_time,
    settings = excluded.settings,
    is_adhoc = excluded.is_adhoc,
    application_id = excluded.application_id,
    ui_url = excluded.ui_url,
    error_message = excluded.error_message,
    error_class = excluded.error_class,
    error_stack = excluded.error_stack,
    host = excluded.host;

-- name: get_context
SELECT * FROM contexts WHERE id = $id;

-- name: unfinished_contexts
SELECT * FROM contexts WHERE NOT list_contains($final, state) ORDER BY start_time, rowid;

-- name: job_origin
SELECT context_id, start_time FROM jobs WHERE job_id = $job_id;

-- name: jobs_among
SELECT job_id FROM jobs WHERE job_id IN (SELECT unnest($job_ids::VARCHAR[]));

-- name: is_context_over
SELECT 1 AS known FROM contexts WHERE id = $id AND list_contains($final, state);

-- name: create_job
INSERT INTO jobs (
    job_id, context_id, context_name, app_name, binary_type, upload_time, sha256, size_bytes,
    class_path, state, start_time, end_time, error_message, error_class, error_stack, config, is_async,
    callback_url, dependencies
) VALUES (
    $job_id, $context_id, $context_name, $app_name, $binary_type, $upload_time, $sha256, $size_bytes,
    $class_path, $state, $start_time, $end_time, $error_message, $error_class, $error_stack, $config, $is_async,
    $callback_url, $dependencies
);

-- name: record_jobs
INSERT INTO jobs BY NAME SELECT
    unnest($job_id::VARCHAR[]) AS job_id,
    unnest($context_id::VARCHAR[]) AS context_id,
    unnest($context_name::VARCHAR[]) AS context_name,
    unnest($app_name::VARCHAR[]) AS app_name,
    unnest($binary_type::VARCHAR[]) AS binary_type,
    unnest($upload_time::TIMESTAMP[]) AS upload_time,
    unnest($sha256::VARCHAR[]) AS sha256,
    unnest($size_bytes::BIGINT[]) AS size_bytes,
    unnest($class_path::VARCHAR[]) AS class_path,
    unnest($state::VARCHAR[]) AS state,
    unnest($start_time::TIMESTAMP[]) AS start_time,
    unnest($end_time::TIMESTAMP[]) AS end_time,
    unnest($error_message::VARCHAR[]) AS error_message,
    unnest($error_class::VARCHAR[]) AS error_class,
    unnest($error_stack::VARCHAR[]) AS error_stack,
    unnest($config::VARCHAR[]) AS config,
    unnest($is_async::BOOLEAN[]) AS is_async,
    unnest($callback_url::VARCHAR[]) AS callback_url,
    unnest($dependencies::VARCHAR[]) AS dependencies,
    unnest($result::VARCHAR[]) AS result;

-- name: change_job
UPDATE jobs SET
    state = $state,
    end_time = $end_time,
    error_message = $error_message,
    error_class = $error_class,
    error_stack = $error_stack
WHERE job_id = $job_id AND list_contains($leaving, state);

-- name: is_job_so
SELECT 1 AS known FROM jobs
WHERE job_id = $job_id AND state = $state AND end_time IS NOT DISTINCT FROM $end_time::TIMESTAMP;

-- name: add_result
INSERT INTO job_results VALUES ($job_id, $result) ON CONFLICT DO NOTHING;

-- name: get_job
SELECT * EXCLUDE (config, result),
    coalesce(result, (SELECT result FROM job_results WHERE job_id = $job_id)) AS result
FROM jobs WHERE job_id = $job_id;

-- name: list_jobs
SELECT * EXCLUDE (config, result) FROM jobs ORDER BY start_time DESC, rowid DESC LIMIT $limit;

-- name: list_jobs_in_state
SELECT * EXCLUDE (config, result) FROM jobs WHERE state = $state ORDER BY start_time DESC, rowid DESC LIMIT $limit;

-- name: job_config
SELECT config FROM jobs WHERE job_id = $job_id;

-- name: jobs_of_context
SELECT * EXCLUDE (config, result) FROM jobs
WHERE context_id = $context_id AND list_contains($states, state)
ORDER BY start_time, rowid;

-- name: restartable_jobs
SELECT * FROM jobs WHERE context_id = $context_id AND state = $state ORDER BY start_time, rowid;

-- name: old_jobs
SELECT job_id FROM jobs WHERE list_contains($final, state) AND end_time < $before
    AND NOT EXISTS (SELECT 1 FROM callbacks WHERE callbacks.job_id = jobs.job_id AND callbacks.state = $pending);

-- name: delete_results
DELETE FROM job_results WHERE job_id IN (SELECT unnest($job_ids::VARCHAR[]));

-- name: delete_callbacks
DELETE FROM callbacks WHERE job_id IN (SELECT unnest($job_ids::VARCHAR[]));

-- name: delete_jobs
DELETE FROM jobs WHERE job_id IN (SELECT unnest($job_ids::VARCHAR[]));

-- name: delete_old_contexts
DELETE FROM contexts WHERE list_contains($final, state) AND end_time < $before
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE context_id = contexts.id);

-- name: orphaned_jobs
SELECT jobs.* EXCLUDE (config, result) FROM jobs
WHERE list_contains($states, state)
  AND NOT EXISTS (SELECT 1 FROM contexts WHERE id = context_id AND NOT list_contains($final, contexts.state))
ORDER BY jobs.start_time, jobs.rowid;

-- name: add_callback
INSERT INTO callbacks VALUES (
    $job_id, $url, $state, $attempts, $last_attempt, $last_status, $last_error, $next_attempt
);

-- name: get_callback
SELECT jobs.job_id, callback_url AS url, coalesce(callbacks.state, $waiting) AS state, coalesce(attempts, 0) AS attempts,
    last_attempt, last_status, last_error, next_attempt
FROM jobs LEFT JOIN callbacks ON callbacks.job_id = jobs.job_id
WHERE jobs.job_id = $job_id;

-- name: due_callbacks
-- A receiver is the host and port of a URL. Those being sent come first in its share, so that they use it up.
SELECT * FROM callbacks
WHERE state = $state AND next_attempt <= $now
QUALIFY NOT list_contains($sending::VARCHAR[], job_id) AND row_number() OVER (
    PARTITION BY regexp_extract(lower(url), '^https?://([^/?#]*@)?([^/?#]*)', 2)
    ORDER BY list_contains($sending::VARCHAR[], job_id) DESC, next_attempt, rowid
) <= $per_receiver
ORDER BY next_attempt, rowid LIMIT $limit;

-- name: change_callback
UPDATE callbacks SET
    state = $state,
    attempts = $attempts,
    last_attempt = $last_attempt,
    last_status = $last_status,
    last_error = $last_error,
    next_attempt = $next_attempt
WHERE job_id = $job_id AND attempts = $known_attempts AND next_attempt IS NOT DISTINCT FROM $known_next_attempt::TIMESTAMP;

-- name: journals
SELECT * FROM journals;

-- name: note_journal
INSERT INTO journals VALUES ($name, $taken_bytes)
ON CONFLICT (name) DO UPDATE SET taken_bytes = excluded.taken_bytes;

-- name: forget_journal
DELETE FROM journals WHERE name = $name;
