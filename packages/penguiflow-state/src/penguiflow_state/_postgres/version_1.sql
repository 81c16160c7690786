-- Version 1. Once released it is not changed: the next version has a file of its own, and functions of its own names, so
-- that processes of both versions can work during a deploy.

CREATE TABLE events (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id bigint GENERATED ALWAYS AS IDENTITY,
    trace_id text NOT NULL,
    ts float8 NOT NULL,
    kind text NOT NULL,
    data text NOT NULL,
    saved_s float8 NOT NULL,
    PRIMARY KEY (xid, id)
);
CREATE INDEX events_of_trace ON events (trace_id, id);

CREATE TABLE bindings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trace_id text NOT NULL,
    context_id text NOT NULL,
    task_id text NOT NULL,
    agent_url text NOT NULL,
    saved_s float8 NOT NULL,
    UNIQUE (trace_id, context_id, task_id, agent_url)
);

CREATE SEQUENCE openings;
CREATE TABLE traces (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trace_id text NOT NULL UNIQUE,
    generation int NOT NULL,
    opening bigint NOT NULL UNIQUE,
    flow text NOT NULL,
    version text NOT NULL,
    start text NOT NULL,
    state text NOT NULL,
    error text,
    pending int NOT NULL,
    steps int NOT NULL DEFAULT 0,
    opened_s float8 NOT NULL,
    ended_s float8
) WITH (fillfactor = 70);
CREATE INDEX running_traces ON traces (flow, opening) WHERE state = 'running';
CREATE INDEX ended_traces ON traces (ended_s) WHERE ended_s IS NOT NULL;

CREATE TABLE units (
    trace bigint NOT NULL,
    unit text NOT NULL,
    owner text NOT NULL,
    epoch int NOT NULL,
    expires_s float8 NOT NULL,
    released smallint NOT NULL DEFAULT 0,
    done smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (trace, unit)
) WITH (fillfactor = 70);

CREATE TABLE started (
    trace bigint NOT NULL,
    message_id text NOT NULL,
    node_name text NOT NULL,
    epoch int NOT NULL,
    PRIMARY KEY (trace, message_id)
);

CREATE TABLE steps (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trace bigint NOT NULL,
    message_id text NOT NULL,
    node_name text NOT NULL,
    outputs text NOT NULL,
    produced int NOT NULL,
    consumed text,
    vals text,
    UNIQUE (trace, message_id)
);
CREATE INDEX steps_with_values ON steps (trace, id) WHERE vals IS NOT NULL;

CREATE TABLE joins (
    trace bigint NOT NULL,
    name text NOT NULL,
    turn int NOT NULL,
    need int NOT NULL,
    have int NOT NULL,
    fired smallint NOT NULL,
    PRIMARY KEY (trace, name, turn)
);

CREATE TABLE join_parts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trace bigint NOT NULL,
    name text NOT NULL,
    turn int NOT NULL,
    message_id text NOT NULL,
    role text NOT NULL CHECK (role IN ('part', 'flush', 'late')),
    fired smallint NOT NULL,
    need int NOT NULL,
    value text,
    UNIQUE (trace, name, turn, message_id)
);

CREATE TABLE reopened (
    trace bigint NOT NULL,
    message_id text NOT NULL,
    PRIMARY KEY (trace, message_id)
);

CREATE TABLE blobs (
    digest text PRIMARY KEY,
    text text NOT NULL
);
CREATE TABLE blob_uses (
    trace_id text NOT NULL,
    digest text NOT NULL,
    PRIMARY KEY (trace_id, digest)
);
CREATE INDEX uses_of_blob ON blob_uses (digest);

-- The last group of each writer and its answers: what a writer reads whose connection broke before they reached it.
CREATE TABLE writers (
    id text PRIMARY KEY,
    number bigint NOT NULL,
    answers text NOT NULL,
    used_s float8 NOT NULL
) WITH (fillfactor = 40);

CREATE FUNCTION now_s() RETURNS float8 LANGUAGE sql AS $$
    SELECT extract(epoch FROM clock_timestamp())::float8
$$;

-- The lock on the trace's row orders all that is done to a trace; every function below takes it first.
CREATE FUNCTION standing_1(
    r jsonb, OUT trace bigint, OUT pending int, OUT refusal jsonb
) LANGUAGE plpgsql AS $$
DECLARE
    generation int;
    state text;
    epoch int;
BEGIN
    SELECT t.key, t.generation, t.state, t.pending INTO trace, generation, state, pending
        FROM traces t WHERE t.trace_id = r->>'trace_id' FOR NO KEY UPDATE;
    IF trace IS NULL OR generation <> (r->>'generation')::int THEN
        refusal := '{"refused": "lost"}';
        RETURN;
    END IF;
    IF state <> 'running' THEN
        refusal := jsonb_build_object('refused', 'over', 'state', state);
        RETURN;
    END IF;
    SELECT u.epoch INTO epoch FROM units u WHERE u.trace = standing_1.trace AND u.unit = r->>'unit';
    IF epoch IS DISTINCT FROM (r->>'epoch')::int THEN
        refusal := '{"refused": "lost"}';
    END IF;
END $$;

CREATE FUNCTION forget_journal_1(forgotten bigint) RETURNS void LANGUAGE sql AS $$
    DELETE FROM units WHERE trace = forgotten;
    DELETE FROM started WHERE trace = forgotten;
    DELETE FROM steps WHERE trace = forgotten;
    DELETE FROM joins WHERE trace = forgotten;
    DELETE FROM join_parts WHERE trace = forgotten;
    DELETE FROM reopened WHERE trace = forgotten;
$$;

CREATE FUNCTION open_trace_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    earlier record;
    opened record;
BEGIN
    INSERT INTO traces (trace_id, generation, opening, flow, version, start, state, pending, opened_s)
        VALUES (r->>'trace_id', 1, nextval('openings'), r->>'flow', r->>'version', r->>'start', 'running',
            (r->>'pending')::int, now_s())
        ON CONFLICT (trace_id) DO NOTHING RETURNING key, generation INTO opened;
    IF opened.key IS NULL THEN
        SELECT key, generation, state INTO earlier FROM traces WHERE trace_id = r->>'trace_id' FOR NO KEY UPDATE;
        IF earlier.key IS NULL THEN
            RAISE EXCEPTION 'trace % was pruned just now', r->>'trace_id' USING ERRCODE = 'serialization_failure';
        END IF;
        IF earlier.state = 'running' THEN
            RETURN '{"refused": "active"}';
        END IF;
        PERFORM forget_journal_1(earlier.key);
        UPDATE traces SET generation = earlier.generation + 1, opening = nextval('openings'), flow = r->>'flow',
                version = r->>'version', start = r->>'start', state = 'running', error = NULL,
                pending = (r->>'pending')::int, steps = 0, opened_s = now_s(), ended_s = NULL
            WHERE key = earlier.key RETURNING key, generation INTO opened;
    END IF;
    INSERT INTO units (trace, unit, owner, epoch, expires_s)
        VALUES (opened.key, '', r->>'owner', 1, now_s() + (r->>'lease_s')::float8);
    RETURN jsonb_build_object('generation', opened.generation, 'epoch', 1);
END $$;

CREATE FUNCTION claim_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t record;
    u record;
    next_epoch int;
BEGIN
    SELECT key, generation, state INTO t FROM traces WHERE trace_id = r->>'trace_id' FOR NO KEY UPDATE;
    IF t.key IS NULL OR t.generation <> coalesce((r->>'generation')::int, t.generation) THEN
        RETURN '{"state": null}';
    END IF;
    IF t.state <> 'running' THEN
        RETURN jsonb_build_object('state', t.state);
    END IF;
    SELECT owner, epoch, expires_s, released, done INTO u FROM units WHERE trace = t.key AND unit = r->>'unit';
    IF u.done = 1 THEN
        RETURN jsonb_build_object('state', t.state, 'finished', true);
    END IF;
    IF u.epoch IS NOT NULL AND NOT (r->>'force')::boolean AND u.owner <> r->>'owner' AND u.released = 0
            AND u.expires_s > now_s() THEN
        RETURN jsonb_build_object('state', t.state, 'holder', u.owner, 'remaining_s', u.expires_s - now_s());
    END IF;
    next_epoch := coalesce(u.epoch, 0) + 1;
    INSERT INTO units (trace, unit, owner, epoch, expires_s)
        VALUES (t.key, r->>'unit', r->>'owner', next_epoch, now_s() + (r->>'lease_s')::float8)
        ON CONFLICT (trace, unit) DO UPDATE
        SET owner = excluded.owner, epoch = excluded.epoch, expires_s = excluded.expires_s, released = 0;
    RETURN jsonb_build_object('state', t.state, 'generation', t.generation, 'epoch', next_epoch,
        'holder', r->>'owner', 'remaining_s', (r->>'lease_s')::float8);
END $$;

CREATE FUNCTION extend_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    held bigint;
BEGIN
    SELECT key INTO held FROM traces
        WHERE trace_id = r->>'trace_id' AND generation = (r->>'generation')::int FOR NO KEY UPDATE;
    UPDATE units SET expires_s = now_s() + (r->>'lease_s')::float8
        WHERE trace = held AND unit = r->>'unit' AND epoch = (r->>'epoch')::int AND released = 0;
    RETURN jsonb_build_object('kept', FOUND);
END $$;

CREATE FUNCTION release_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    held bigint;
BEGIN
    SELECT key INTO held FROM traces
        WHERE trace_id = r->>'trace_id' AND generation = (r->>'generation')::int FOR NO KEY UPDATE;
    UPDATE units SET released = 1, done = greatest(done, (r->>'done')::boolean::int)
        WHERE trace = held AND unit = r->>'unit' AND epoch = (r->>'epoch')::int;
    RETURN '{}';
END $$;

CREATE FUNCTION mark_started_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    s record;
    earlier int;
BEGIN
    s := standing_1(r);
    IF s.refusal IS NOT NULL THEN
        RETURN s.refusal;
    END IF;
    SELECT epoch INTO earlier FROM started WHERE trace = s.trace AND message_id = r->>'message_id';
    INSERT INTO started (trace, message_id, node_name, epoch)
        VALUES (s.trace, r->>'message_id', r->>'node_name', (r->>'epoch')::int)
        ON CONFLICT (trace, message_id) DO UPDATE SET epoch = excluded.epoch;
    RETURN jsonb_build_object('earlier', earlier);
END $$;

CREATE FUNCTION record_step_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    s record;
    left_over int;
BEGIN
    s := standing_1(r);
    IF s.refusal IS NOT NULL THEN
        RETURN s.refusal;
    END IF;
    INSERT INTO steps (trace, message_id, node_name, outputs, produced, consumed, vals)
        VALUES (s.trace, r->>'message_id', r->>'node_name', r->>'outputs', (r->>'produced')::int, r->>'consumed',
            r->>'vals')
        ON CONFLICT (trace, message_id) DO NOTHING;
    IF FOUND THEN
        left_over := s.pending + (r->>'produced')::int - 1 - (r->>'taken')::int;
        UPDATE traces SET pending = left_over, steps = steps + 1 WHERE key = s.trace;
        RETURN jsonb_build_object('first', true, 'pending', left_over);
    END IF;
    RETURN (
        SELECT jsonb_build_object('first', false, 'pending', s.pending, 'recorded', jsonb_build_array(
            jsonb_build_object('message_id', message_id, 'node_name', node_name, 'outputs', outputs,
                'produced', produced, 'consumed', consumed, 'vals', vals)))
        FROM steps WHERE trace = s.trace AND message_id = r->>'message_id');
END $$;

CREATE FUNCTION put_part_1(put_trace bigint, r jsonb, OUT role text, OUT fired smallint) LANGUAGE plpgsql AS $$
DECLARE
    j record;
    has int;
BEGIN
    SELECT joins.have, joins.fired INTO j
        FROM joins WHERE trace = put_trace AND name = r->>'join' AND turn = (r->>'turn')::int;
    role := CASE WHEN j.fired = 1 THEN 'late' WHEN (r->>'flush')::boolean THEN 'flush' ELSE 'part' END;
    has := coalesce(j.have, 0) + (role = 'part')::int;
    fired := (role = 'flush' OR role = 'part' AND has >= (r->>'need')::int)::int;
    INSERT INTO joins (trace, name, turn, need, have, fired)
        VALUES (put_trace, r->>'join', (r->>'turn')::int, (r->>'need')::int, has, fired)
        ON CONFLICT (trace, name, turn) DO UPDATE
        SET have = excluded.have, fired = greatest(joins.fired, excluded.fired);
    INSERT INTO join_parts (trace, name, turn, message_id, role, fired, need, value)
        VALUES (put_trace, r->>'join', (r->>'turn')::int, r->>'message_id', role, fired, (r->>'need')::int,
            CASE WHEN role = 'part' THEN r->>'value' END);
END $$;

CREATE FUNCTION add_join_part_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    s record;
    p record;
    parts jsonb;
BEGIN
    s := standing_1(r);
    IF s.refusal IS NOT NULL THEN
        RETURN s.refusal;
    END IF;
    SELECT role, fired INTO p FROM join_parts
        WHERE trace = s.trace AND name = r->>'join' AND turn = (r->>'turn')::int AND message_id = r->>'message_id';
    IF p.role IS NULL THEN
        p := put_part_1(s.trace, r);
        IF p.fired = 0 THEN
            UPDATE traces SET pending = pending - 1 WHERE key = s.trace;
            s.pending := s.pending - 1;
        END IF;
    END IF;
    IF p.fired = 1 THEN
        SELECT coalesce(jsonb_agg(jsonb_build_object('message_id', message_id, 'need', need, 'value', value)
                ORDER BY id), '[]') INTO parts
            FROM join_parts
            WHERE trace = s.trace AND name = r->>'join' AND turn = (r->>'turn')::int AND role = 'part';
    END IF;
    RETURN jsonb_build_object('parts', parts, 'late', p.role = 'late', 'pending', s.pending);
END $$;

CREATE FUNCTION reopen_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    s record;
BEGIN
    s := standing_1(r);
    IF s.refusal IS NOT NULL THEN
        RETURN s.refusal;
    END IF;
    INSERT INTO reopened (trace, message_id) VALUES (s.trace, r->>'message_id') ON CONFLICT DO NOTHING;
    IF FOUND THEN
        UPDATE traces SET pending = pending + 1 WHERE key = s.trace;
        s.pending := s.pending + 1;
    END IF;
    RETURN jsonb_build_object('pending', s.pending);
END $$;

CREATE FUNCTION finish_trace_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t record;
BEGIN
    SELECT key, generation, state, error INTO t FROM traces WHERE trace_id = r->>'trace_id' FOR NO KEY UPDATE;
    IF t.key IS NULL OR t.generation <> coalesce((r->>'wanted')::int, t.generation) THEN
        RETURN '{"known": false}';
    END IF;
    IF t.generation <> coalesce((r->>'generation')::int, t.generation) THEN
        RETURN '{"refused": "lost"}';
    END IF;
    IF t.state = 'running' THEN
        IF r->>'unit' IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM units WHERE trace = t.key AND unit = r->>'unit' AND epoch = (r->>'epoch')::int
        ) THEN
            RETURN '{"refused": "lost"}';
        END IF;
        t.state := r->>'state';
        t.error := r->>'error';
        UPDATE traces SET state = t.state, error = t.error, ended_s = now_s() WHERE key = t.key;
    END IF;
    RETURN jsonb_build_object('known', true, 'state', t.state, 'error', t.error, 'values', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('vals', vals) ORDER BY id), '[]')
        FROM steps WHERE trace = t.key AND vals IS NOT NULL));
END $$;

CREATE FUNCTION save_binding_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    -- Two that save the same bindings in another order would wait for one another.
    PERFORM pg_advisory_xact_lock(hashtextextended(r->>'trace_id', 0));
    INSERT INTO bindings (trace_id, context_id, task_id, agent_url, saved_s)
        VALUES (r->>'trace_id', r->>'context_id', r->>'task_id', r->>'agent_url', now_s())
        ON CONFLICT (trace_id, context_id, task_id, agent_url) DO NOTHING;
    RETURN '{}';
END $$;

-- Those that prune come last in their group: they wait for no row, and for one another only.
CREATE FUNCTION prune_ended_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t record;
    pruned int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('penguiflow prune', 0));
    FOR t IN
        SELECT key, trace_id FROM traces WHERE ended_s <= (r->>'before_s')::float8
        ORDER BY ended_s LIMIT (r->>'limit')::int FOR UPDATE SKIP LOCKED
    LOOP
        PERFORM forget_journal_1(t.key);
        DELETE FROM traces WHERE key = t.key;
        DELETE FROM events WHERE trace_id = t.trace_id;
        DELETE FROM bindings WHERE trace_id = t.trace_id;
        pruned := pruned + 1;
    END LOOP;
    RETURN jsonb_build_object('pruned', pruned);
END $$;

CREATE FUNCTION prune_events_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    old text;
    pruned int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('penguiflow prune', 0));
    FOR old IN SELECT jsonb_array_elements_text(r->'trace_ids') LOOP
        CONTINUE WHEN EXISTS (SELECT 1 FROM traces WHERE trace_id = old)
            OR EXISTS (SELECT 1 FROM events WHERE trace_id = old AND saved_s > (r->>'before_s')::float8)
            OR EXISTS (SELECT 1 FROM bindings WHERE trace_id = old AND saved_s > (r->>'before_s')::float8);
        DELETE FROM events WHERE trace_id = old;
        DELETE FROM bindings WHERE trace_id = old;
        pruned := pruned + 1;
    END LOOP;
    RETURN jsonb_build_object('pruned', pruned);
END $$;

-- Comes first in its group. The lock waits for every group that keeps blobs, so that their uses are seen.
CREATE FUNCTION sweep_blobs_1() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE blobs IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM blob_uses u
        WHERE NOT EXISTS (SELECT 1 FROM traces t WHERE t.trace_id = u.trace_id)
            AND NOT EXISTS (SELECT 1 FROM events e WHERE e.trace_id = u.trace_id);
    DELETE FROM blobs b WHERE NOT EXISTS (SELECT 1 FROM blob_uses u WHERE u.digest = b.digest);
    DELETE FROM writers WHERE id IN (
        SELECT id FROM writers WHERE used_s < now_s() - 86400 FOR UPDATE SKIP LOCKED);
    RETURN '{}';
END $$;

CREATE FUNCTION write_1(r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    CASE r->>'request'
        WHEN 'record_step' THEN RETURN record_step_1(r);
        WHEN 'mark_started' THEN RETURN mark_started_1(r);
        WHEN 'open_trace' THEN RETURN open_trace_1(r);
        WHEN 'finish_trace' THEN RETURN finish_trace_1(r);
        WHEN 'claim' THEN RETURN claim_1(r);
        WHEN 'extend' THEN RETURN extend_1(r);
        WHEN 'release' THEN RETURN release_1(r);
        WHEN 'add_join_part' THEN RETURN add_join_part_1(r);
        WHEN 'reopen' THEN RETURN reopen_1(r);
        WHEN 'save_binding' THEN RETURN save_binding_1(r);
        WHEN 'prune_ended' THEN RETURN prune_ended_1(r);
        WHEN 'prune_events' THEN RETURN prune_events_1(r);
        WHEN 'nothing' THEN RETURN '{}';
    END CASE;
END $$;

-- One group in one statement, which is one transaction. Locks are taken in an order that all groups share, so that none
-- waits for one that waits for it: blobs, uses, then traces in the order of their ids, then what is pruned.
CREATE FUNCTION write_group_1(
    writer text, group_number bigint, sweeps boolean, kept jsonb, uses jsonb, new_events jsonb, requests jsonb
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
    answers jsonb[] := '{}';
    written text;
BEGIN
    IF sweeps THEN
        PERFORM sweep_blobs_1();
    END IF;
    IF kept <> '{}' THEN
        INSERT INTO blobs (digest, text) SELECT k.key, k.value FROM jsonb_each_text(kept) k ORDER BY k.key
            ON CONFLICT DO NOTHING;
        INSERT INTO blob_uses (trace_id, digest)
            SELECT u->>0, u->>1 FROM jsonb_array_elements(uses) u ORDER BY 1, 2 ON CONFLICT DO NOTHING;
    END IF;
    IF new_events <> '[]' THEN
        INSERT INTO events (trace_id, ts, kind, data, saved_s)
            SELECT e->>0, (e->>1)::float8, e->>2, e->>3, now_s()
            FROM jsonb_array_elements(new_events) WITH ORDINALITY AS listed (e, place) ORDER BY place;
    END IF;
    FOR r IN SELECT * FROM jsonb_array_elements(requests) LOOP
        answers := answers || write_1(r);
    END LOOP;
    written := to_jsonb(answers)::text;
    UPDATE writers SET number = group_number, answers = written, used_s = now_s() WHERE id = writer;
    IF NOT FOUND THEN
        INSERT INTO writers (id, number, answers, used_s) VALUES (writer, group_number, written, now_s());
    END IF;
    RETURN written;
END $$;
