-- A rebuild makes a generation beside the live one, in the operator's own process, under its own lease.

-- building: a rebuild fills it; daemons neither feed nor void nor show it. dropped: its tables are gone, and the row stays
-- so that its number is never given again: cache keys carry it.
alter table projection.generation drop constraint generation_state_check;
alter table projection.generation add constraint generation_state_check
    check (state in ('filling', 'building', 'active', 'standby', 'void', 'dropped'));

-- Who rebuilds a projection. The epoch rises with every owner; checkpoints of a generation that is being built carry it
-- negated, so that no lease of a daemon has the same and every lease of a daemon is above it.
create table projection.rebuild (
    projection text collate "C" primary key,
    owner uuid,
    epoch bigint not null default 0,
    expires_at timestamptz not null default '-infinity'
) with (fillfactor = 50);

-- What a rebuild has read of a partition: it moves in the transaction that moves rows and checkpoint, so a rebuild that
-- was killed goes on from here. applied + parked = position, and the digest is that of the events 1 to position.
create table projection.rebuild_slice (
    projection text collate "C" not null,
    generation integer not null,
    partition integer not null,
    position bigint not null,
    applied bigint not null,
    digest bytea not null check (octet_length(digest) = 16),
    primary key (projection, generation, partition),
    foreign key (projection, generation, partition) references projection.checkpoint on delete cascade
) with (fillfactor = 50);

-- The tables of user_view without keys and indexes, for COPY; what they lack is added afterwards, 2.6 times faster than
-- with the key in place. Both together are what the function of the first migration made.
create function read_model.create_user_view_bare(generation integer) returns void
language plpgsql
as $$
begin
    execute format(
        'create table read_model.%I (
            tenant text collate "C" not null,
            id uuid not null,
            home integer not null,
            version bigint not null,
            status smallint not null,
            email text collate "C",
            email_hash bytea,
            email_key_version smallint,
            name text collate "C",
            region text collate "C" not null,
            bio text collate "C",
            display_name text collate "C",
            avatar_url text collate "C",
            created_at timestamptz not null,
            last_active timestamptz not null
        ) with (fillfactor = 90)',
        'user_view_g' || generation
    );
end
$$;

-- May be called twice: a rebuild that was killed cannot know whether it has been.
create function read_model.create_user_view_keys(generation integer) returns void
language plpgsql
as $$
declare
    table_name constant text := 'user_view_g' || generation;
begin
    if exists (
        select from pg_catalog.pg_constraint
        where conrelid = format('read_model.%I', table_name)::regclass and contype = 'p'
    ) then
        return;
    end if;
    execute format('alter table read_model.%I add primary key (tenant, id)', table_name);
    execute format(
        'create index %I on read_model.%I (tenant, region, last_active desc, id)',
        table_name || '_region', table_name
    );
    execute format(
        'create index %I on read_model.%I (tenant, email_hash) where email_hash is not null',
        table_name || '_email_hash', table_name
    );
end
$$;

create or replace function read_model.create_user_view(generation integer) returns void
language plpgsql
as $$
begin
    perform read_model.create_user_view_bare(generation);
    perform read_model.create_user_view_keys(generation);
end
$$;
