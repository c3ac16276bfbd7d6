-- The tables of the projection `user_view`: a function, because the engine makes one set of tables per generation and a
-- rebuild stands beside the live one until the view `read_model.user_view` is switched over.

create schema if not exists read_model;

create function read_model.create_user_view(generation integer) returns void
language plpgsql
as $$
declare
    table_name constant text := 'user_view_g' || generation;
begin
    -- Texts are compared by bytes (collate "C"): cheaper, and the same order on every server. Columns that hold or derive
    -- from a personal field can be null, for erasure. `home` is the partition whose events alone write the row.
    -- `email_hash` is not unique here: addresses move between partitions, and their order is not ours to know.
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
            last_active timestamptz not null,
            primary key (tenant, id)
        ) with (fillfactor = 90)',
        table_name
    );
    -- "Users of a region that were active since": the newest first, the id breaks ties, so that a cursor is a key.
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

comment on function read_model.create_user_view(integer) is
    'Creates the tables and indexes of one generation of the projection user_view.';
