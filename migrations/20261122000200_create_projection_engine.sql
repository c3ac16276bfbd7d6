-- The engine's cursors stand in the same database as the rows that they describe, so that rows and
-- checkpoint commit together.
--
-- For readers (query-api):
--   * The rows of a view are served from the generation with state = 'active', through the view
--     read_model.<name>. There is at most one. None means: answer 503 `filling`. Until the first
--     activation read_model.<name> does not exist either.
--   * checkpoint.(incarnation, partition, position) of the active generation is what the rows of
--     that partition contain; all partitions together, in the snapshot of the rows, are `as_of`.
--     The row of every partition exists from the moment its generation is created, at position 0.
--   * A key is parked while parked has a row of it with discarded_at null; its first parked
--     position is the least of those. checkpoint.parked_version changes with every change of that
--     set.
--   * Channel projection_checkpoint: '<projection> <generation> <partition> <position>', once per
--     committed batch.
--   * Channel projection_control: a projection's name, whenever generation, lease hand-over or
--     control changed.

create schema projection;
create schema if not exists read_model;

-- The processes that can feed a projection at a revision; leases are shared fairly among those that
-- have not expired.
create table projection.daemon (
    projection text collate "C" not null,
    revision integer not null,
    owner uuid not null,
    expires_at timestamptz not null,
    primary key (projection, revision, owner)
);

-- Who feeds a partition of a projection at a revision. The epoch rises with every change of owner
-- and fences the checkpoints.
create table projection.lease (
    partition integer not null,
    projection text collate "C" not null,
    revision integer not null,
    owner uuid,
    epoch bigint not null default 0,
    expires_at timestamptz not null default '-infinity',
    primary key (projection, revision, partition)
) with (fillfactor = 50);

create table projection.generation (
    projection text collate "C" not null,
    generation integer not null check (generation > 0),
    -- A process applies events only to generations of its own revision of the fold.
    revision integer not null,
    -- filling: not served yet. active: served. standby: was served, and is fed on while somebody
    -- has its revision. void: what it holds was lost by the store; neither served nor fed.
    state text collate "C" not null check (state in ('filling', 'active', 'standby', 'void')),
    -- The heads that its checkpoints must reach before it is served, by partition number + 1.
    cut bigint[] not null,
    created_at timestamptz not null default clock_timestamp(),
    activated_at timestamptz,
    primary key (projection, generation)
);
create unique index generation_active on projection.generation (projection) where state = 'active';

create table projection.checkpoint (
    projection text collate "C" not null,
    generation integer not null,
    partition integer not null,
    -- The incarnation of the store in which the last batch was read.
    incarnation integer not null,
    -- The last event that was applied or parked.
    position bigint not null default 0,
    -- recorded_at of that event.
    recorded_at timestamptz,
    -- The lease epoch that may move it.
    epoch bigint not null default 0,
    parked_version bigint not null default 0,
    -- Where Kafka is to be sought to; a hint.
    kafka_offset bigint,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (projection, generation, partition),
    foreign key (projection, generation) references projection.generation
) with (fillfactor = 50);

-- Events that could not be applied, and those of the same routing key that wait behind them. No
-- value of an event is kept here: the event itself stands in the store.
create table projection.parked (
    projection text collate "C" not null,
    generation integer not null,
    partition integer not null,
    position bigint not null,
    tenant_id text collate "C" not null,
    routing_key text collate "C" not null,
    event_id uuid not null,
    event_type text collate "C" not null,
    event_version integer not null,
    reason text collate "C" not null
        check (reason in ('unknown_version', 'malformed', 'fold', 'panic', 'database', 'behind')),
    -- Field names, SQLSTATE and constraint names only.
    detail text not null,
    attempts integer not null default 1,
    parked_at timestamptz not null default clock_timestamp(),
    -- Set when an operator gave the event up for this generation; the row stays, so that applied +
    -- parked = position.
    discarded_at timestamptz,
    primary key (projection, generation, partition, position),
    foreign key (projection, generation, partition) references projection.checkpoint
);
create index parked_key on projection.parked
    (projection, generation, partition, tenant_id, routing_key, position)
    where discarded_at is null;

-- What operators ask of the daemons.
create table projection.control (
    projection text collate "C" primary key,
    paused boolean not null default false,
    changed_at timestamptz not null default clock_timestamp()
);
