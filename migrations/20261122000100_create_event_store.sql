-- The event store: one dense cursor (partition, position), kept gapless by the row lock on the partition's head.
--
-- `partition` is part of every primary and unique key, so that the tables can be distributed by it some day. In `claim`,
-- `command_outcome` and `stream_home` it is the hash of the row's own key. Texts are collated "C": 7 to 11 % of an append.

create schema event_store;

-- One row: what is fixed when the store is created.
create table event_store.settings (
    singleton boolean primary key default true check (singleton),
    store_id uuid not null,
    partitions integer not null check (partitions between 1 and 1024),
    format integer not null,
    secret_fingerprint text not null,
    created_at timestamptz not null default clock_timestamp()
);

-- Which histories of the store there were. The incarnation of (p, n) is the greatest number with heads[p + 1] < n.
create table event_store.incarnation (
    number integer primary key check (number > 0),
    system_identifier bigint not null,
    timeline integer not null,
    began_at timestamptz not null default clock_timestamp(),
    heads bigint[] not null
);

-- The lock on a head is the only ordering primitive. `incarnation` repeats the newest number, so that whoever locks or
-- reads a head learns it from the same row version, without a second read. Events up to `floor` were moved to an archive;
-- `floor_digest` is the digest of what lies there. Few rows and a low fillfactor: every update is HOT.
create table event_store.partition_head (
    partition integer primary key,
    incarnation integer not null,
    position bigint not null default 0,
    recorded_at timestamptz not null default 'epoch',
    digest bytea not null default decode(repeat('00', 16), 'hex') check (octet_length(digest) = 16),
    floor bigint not null default 0,
    floor_digest bytea not null default decode(repeat('00', 16), 'hex')
        check (octet_length(floor_digest) = 16)
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Insert-only. A stream's version and last address are answered by the unique key of `event`, probed backward.
-- `stream_no` is the position of the stream's first event; `name` is `tenant/id`, so no look-up by name can mix tenants.
create table event_store.stream (
    stream_no bigint not null,
    partition integer not null,
    aggregate_type text collate "C" not null,
    name text collate "C" not null,
    routing_key text collate "C" not null,
    primary key (partition, stream_no),
    unique (aggregate_type, name, partition)
);

-- Where a stream lives whose id does not contain its routing key, such as a post; made by the append that creates it.
create table event_store.stream_home (
    partition integer not null,
    stream_partition integer not null,
    aggregate_type text collate "C" not null,
    name text collate "C" not null,
    routing_key text collate "C" not null,
    primary key (partition, aggregate_type, name)
);

-- The log. Wide columns first, so that no row is padded. `payload` is json and not jsonb: a fifth more writes, twice the
-- ordered reads, and byte for byte what was appended.
create table event_store.event (
    position bigint not null,
    stream_no bigint not null,
    sequence bigint not null,
    recorded_at timestamptz not null,
    partition integer not null,
    event_version integer not null,
    event_id uuid not null,
    tenant_id text collate "C" not null,
    aggregate_type text collate "C" not null,
    aggregate_id text collate "C" not null,
    routing_key text collate "C" not null,
    event_type text collate "C" not null,
    payload json not null,
    metadata json not null,
    primary key (partition, position),
    unique (partition, stream_no, sequence)
);

-- Keys that at most one owner holds in its tenant, such as an e-mail address. An empty owner is a placeholder that never
-- outlives its transaction.
create table event_store.claim (
    partition integer not null,
    key_version smallint not null,
    tenant_id text collate "C" not null,
    kind text collate "C" not null,
    key_hash bytea not null check (octet_length(key_hash) = 32),
    owner text collate "C" not null,
    primary key (partition, tenant_id, kind, key_hash)
);

-- The answers that idempotency keys remember. A null outcome is a placeholder that never outlives its transaction.
create table event_store.command_outcome (
    partition integer not null,
    tenant_id text collate "C" not null,
    principal text collate "C" not null,
    route text collate "C" not null,
    idempotency_key text collate "C" not null,
    fingerprint bytea not null check (octet_length(fingerprint) = 32),
    outcome json,
    expires_at timestamptz not null,
    primary key (partition, tenant_id, principal, route, idempotency_key)
) with (fillfactor = 80);

-- For the sweep.
create index command_outcome_expires_at on event_store.command_outcome (expires_at);

-- Who relays a partition, and up to where it has certainly been relayed.
create table event_store.relay_lease (
    partition integer primary key,
    owner uuid,
    epoch bigint not null default 0,
    expires_at timestamptz not null default 'epoch',
    incarnation integer not null default 0,
    relayed_position bigint not null default 0
) with (fillfactor = 10);

-- What postgres-es reads. It knows no tenant and binds text ids; here an id is the stream's name, so it cannot cross one.
-- It decodes an externally tagged enum from the payload alone, hence the tag; and it reads versions as text.
create view event_store.cqrs_event as
select
    stream.aggregate_type,
    stream.name as aggregate_id,
    event.sequence,
    event.event_type,
    event.event_version::text as event_version,
    json_build_object(event.event_type, event.payload) as payload,
    event.metadata
from event_store.stream
join event_store.event
    on event.partition = stream.partition and event.stream_no = stream.stream_no;
