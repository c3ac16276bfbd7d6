//! What each service's role may do in this database. Whoever adds a table decides here; a role
//! without a grant is refused, which the services' own tests under their roles show.

use crate::roles::Roles;

/// Everything is taken away first, so that a version which needs less leaves less.
const SCHEMAS: &str = "
revoke all on all tables in schema event_store, projection, read_model
    from {command}, {projector}, {query};
revoke all on schema event_store, projection, read_model from {command}, {projector}, {query};
grant usage on schema event_store to {command}, {projector}, {query};
grant usage on schema projection, read_model to {projector}, {query};
";

/// The log is append-only, also for the one who appends. Heads are made with the store.
const COMMAND: &str = "
grant select, insert, update, delete on all tables in schema event_store to {command};
revoke insert, update, delete on event_store.settings, event_store.cqrs_event from {command};
revoke insert, delete on event_store.partition_head from {command};
revoke update, delete on event_store.event, event_store.stream, event_store.incarnation
    from {command};
";

/// The tables of a generation are the projector's own, for it makes them; those that the owner
/// makes (`projector rebuild`) it feeds on, hence the default privileges.
const PROJECTOR: &str = "
grant select on all tables in schema event_store to {projector};
grant select, insert, update, delete on all tables in schema projection to {projector};
grant create on schema read_model to {projector};
grant select, insert, update, delete, truncate on all tables in schema read_model to {projector};
alter default privileges in schema read_model
    grant select, insert, update, delete, truncate on tables to {projector};
";

/// Each new generation can be read from its first moment, whoever makes it.
const QUERY: &str = "
grant select on event_store.partition_head, event_store.incarnation to {query};
grant select (store_id) on event_store.settings to {query};
grant select on all tables in schema projection, read_model to {query};
alter default privileges in schema read_model grant select on tables to {query};
alter default privileges for role {projector} in schema read_model
    grant select on tables to {query};
";

/// Only a view's owner replaces it. A database that ran without roles has views of its owner.
const VIEWS: &str = "
do $$
declare
    shown text;
begin
    for shown in
        select format('%I.%I', schemaname, viewname)
        from pg_catalog.pg_views
        where schemaname = 'read_model' and viewowner <> '{projector}'
    loop
        execute format('alter view %s owner to {projector}', shown);
    end loop;
end
$$;
";

/// The statements, for one transaction. The names are plain words.
pub(crate) fn statements(roles: &Roles) -> String {
    [SCHEMAS, COMMAND, PROJECTOR, QUERY, VIEWS]
        .concat()
        .replace("{command}", &roles.command.name)
        .replace("{projector}", &roles.projector.name)
        .replace("{query}", &roles.query.name)
}
