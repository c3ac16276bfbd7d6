//! Two generations of a table, row against row, bit by bit, in one statement. Only keys and names
//! of columns leave the database.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::report::{Difference, DifferenceKind};
use crate::engine::switch::identifier;

/// The columns that both have; the key first. Another revision may have added some.
const READ_COLUMNS: &str = "
select built.attname::text, coalesce(built.attnum = any(key.indkey::smallint[]), false) as is_key
from pg_attribute as built
join pg_attribute as live
    on live.attrelid = $1::regclass and live.attname = built.attname
    and live.atttypid = built.atttypid and live.attnum > 0 and not live.attisdropped
left join pg_index as key on key.indrelid = built.attrelid and key.indisprimary
where built.attrelid = $2::regclass and built.attnum > 0 and not built.attisdropped
order by is_key desc, built.attnum";

/// The two generations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides {
    pub(super) live: i32,
    pub(super) built: i32,
}

/// The differences between the rows of `table` that are homed in `partitions`.
pub(super) async fn compare(
    connection: &mut PgConnection,
    table: &'static str,
    sides: Sides,
    partitions: &[i32],
) -> Result<Vec<Difference>, sqlx::Error> {
    let live = format!("read_model.{}_g{}", identifier(table)?, sides.live);
    let built = format!("read_model.{table}_g{}", sides.built);
    let columns: Vec<(String, bool)> = sqlx::query_as(READ_COLUMNS)
        .bind(&live)
        .bind(&built)
        .fetch_all(&mut *connection)
        .await?;
    let statement = statement(&live, &built, &columns)?;
    let rows = sqlx::query(&statement).bind(partitions);
    let rows = rows.fetch_all(connection).await?;
    rows.iter().map(|row| difference(table, row)).collect()
}

fn statement(live: &str, built: &str, columns: &[(String, bool)]) -> Result<String, sqlx::Error> {
    let mut names = Vec::with_capacity(columns.len());
    for (name, _) in columns {
        names.push(identifier(name)?);
    }
    let keys = names.iter().zip(columns).filter(|(_, (_, is_key))| *is_key);
    let keys: Vec<_> = keys.map(|(name, _)| *name).collect();
    let Some(key) = keys.first() else {
        let message = format!("{built} has no primary key that {live} has, too");
        return Err(sqlx::Error::Protocol(message));
    };
    let each = |list: &[&str], of: &dyn Fn(&str) -> String, by: &str| -> String {
        list.iter()
            .map(|name| of(name))
            .collect::<Vec<_>>()
            .join(by)
    };
    let selected = names.join(", ");
    let on = each(&keys, &|name| format!("l.{name} = b.{name}"), " and ");
    let said = each(
        &keys,
        &|name| format!("coalesce(l.{name}, b.{name})::text"),
        ", ",
    );
    let changed = each(
        &names,
        &|name| {
            format!("case when l.{name}::text is distinct from b.{name}::text then '{name}' end")
        },
        ", ",
    );
    Ok(format!(
        "select kind, columns, count(*), (array_agg(key order by key))[1:20]
        from (
            select case when l.{key} is null then 'live' when b.{key} is null then 'built'
                    else 'changed' end as kind,
                case when l.{key} is null or b.{key} is null then '{{}}'::text[]
                    else array_remove(array[{changed}], null) end as columns,
                concat_ws('/', {said}) as key
            from (select {selected} from {live} where home = any($1)) as l
            full join (select {selected} from {built} where home = any($1)) as b on {on}
            where l.{key} is null or b.{key} is null or l *<> b
        ) as found
        group by kind, columns
        order by kind, columns"
    ))
}

fn difference(table: &'static str, row: &PgRow) -> Result<Difference, sqlx::Error> {
    let kind = match row.try_get(0)? {
        "live" => DifferenceKind::MissingLive,
        "built" => DifferenceKind::MissingRebuilt,
        _ => DifferenceKind::Changed,
    };
    Ok(Difference {
        table,
        kind,
        columns: row.try_get(1)?,
        rows: row.try_get(2)?,
        keys: row.try_get(3)?,
    })
}
