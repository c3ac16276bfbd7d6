-- Relay leases are shared fairly among the command-api processes that live; and an operator can ask the holder of a lease
-- to compare the store with the topic.

-- The processes that can relay, by the database's clock.
create table event_store.relay_node (
    owner uuid primary key,
    expires_at timestamptz not null
);

-- `refill_asked` is raised by `projector relay refill`; `refill_done` follows it once the holder has done it.
alter table event_store.relay_lease
    add column refill_asked bigint not null default 0,
    add column refill_done bigint not null default 0;
