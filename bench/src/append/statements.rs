//! Where the server's time goes: pg_stat_statements of the last measurement, when asked for.

use sqlx::{Connection as _, Executor as _, Row as _};
use testkit::Cluster;

use super::AppendArgs;
use crate::output::say;

const RESET: &str = "select pg_stat_statements_reset()";

const READ: &str = "
select left(regexp_replace(query, '\\s+', ' ', 'g'), 90) as query, calls, rows,
    total_exec_time as millis
from pg_stat_statements
where dbid <> (select oid from pg_database where datname = current_database())
order by total_exec_time desc
limit 12";

/// Forgets what was measured before.
///
/// # Errors
/// Of the server.
pub(super) async fn reset(cluster: &Cluster, args: &AppendArgs) -> anyhow::Result<()> {
    if args.statements {
        let mut admin = cluster.admin().await?;
        admin.execute(RESET).await?;
        admin.close().await?;
    }
    Ok(())
}

/// Prints the dearest statements.
///
/// # Errors
/// Of the server.
pub(super) async fn show(cluster: &Cluster, args: &AppendArgs) -> anyhow::Result<()> {
    if !args.statements {
        return Ok(());
    }
    let mut admin = cluster.admin().await?;
    for row in admin.fetch_all(READ).await? {
        let (query, calls): (String, i64) = (row.try_get("query")?, row.try_get("calls")?);
        let (rows, millis): (i64, f64) = (row.try_get("rows")?, row.try_get("millis")?);
        say(&format!(
            "    {millis:>9.1} ms {calls:>8} calls {rows:>9} rows  {query}\n"
        ))?;
    }
    admin.close().await?;
    Ok(())
}
