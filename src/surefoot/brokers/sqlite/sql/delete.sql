-- delete: forget jobs in any place but a lease.
-- :seqs  text  JSON array of rows
-- returns: nothing
-- keeps: a running job stays; a period of a key stays

-- name: jobs
DELETE FROM job WHERE seq IN (SELECT value FROM json_each(:seqs)) AND state <> 'processing';

-- name: bodies
DELETE FROM body WHERE seq IN (SELECT value FROM json_each(:seqs));
