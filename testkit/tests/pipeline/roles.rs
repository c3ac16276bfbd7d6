//! The services' database roles: each service works with its own, and each role is refused what is
//! not its service's. The owner is no superuser, as on a hosted PostgreSQL.

use std::process::Output;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use testkit::eventually;
use testkit::pipeline::{Client, Command, Ledger, Pipeline, Service, Who};
use uuid::Uuid;

use crate::scene::{APPLIED_WITHIN, TENANT, admin};

const PASSWORD: &str = "of-a-test";
const MAY_NOT: &str = "42501";

/// Databases of an owner of their own, and the roles of their services.
struct Installation {
    pipeline: Pipeline,
    superuser: PgConnectOptions,
    prefix: String,
    databases: Vec<String>,
}

impl Installation {
    /// `rights` are the owner's in the cluster, such as `createrole`.
    async fn create(rights: &str, databases: usize) -> Self {
        let pipeline = Pipeline::create().await;
        let superuser = pipeline.database().options();
        let prefix = format!("t{}", &Uuid::new_v4().simple().to_string()[..16]);
        let databases = (0..databases).map(|n| format!("{prefix}_{n}")).collect();
        let installation = Self {
            pipeline,
            superuser,
            prefix,
            databases,
        };
        let owner = installation.role("owner");
        installation
            .admin(&format!(
                "create role {owner} login {rights} password '{PASSWORD}'"
            ))
            .await;
        for database in &installation.databases {
            let statement = format!("create database {database} owner {owner}");
            installation.admin(&statement).await;
        }
        installation
    }

    fn role(&self, service: &str) -> String {
        format!("{}_{service}", self.prefix)
    }

    fn options(&self, service: &str, database: usize) -> PgConnectOptions {
        let options = self.superuser.clone().username(&self.role(service));
        options
            .password(PASSWORD)
            .database(&self.databases[database])
    }

    fn url(&self, service: &str) -> String {
        self.options(service, 0).to_url_lossy().to_string()
    }

    async fn admin(&self, statement: &str) {
        let mut connection = connect(&self.superuser).await;
        let done = connection.execute(statement).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// `runnel migrate` by the owner, with the services' roles.
    async fn migrate(&self, database: usize, password: Option<&str>) -> Output {
        let url = self.options("owner", database).to_url_lossy().to_string();
        let mut arguments = vec!["migrate", "--database-url", &url, "--db-roles"];
        arguments.push(&self.prefix);
        if let Some(password) = password {
            for service in ["command", "projector", "query"] {
                arguments.push(match service {
                    "command" => "--db-password-command",
                    "projector" => "--db-password-projector",
                    _ => "--db-password-query",
                });
                arguments.push(password);
            }
        }
        self.pipeline.try_run("runnel", &arguments).await
    }

    /// A role outlives its databases, so the end of a test is told.
    async fn remove(self) {
        for database in &self.databases {
            self.admin(&format!("drop database {database} with (force)"))
                .await;
        }
        for service in ["command", "projector", "query", "owner"] {
            let statement = format!("drop role if exists {}", self.role(service));
            self.admin(&statement).await;
        }
    }
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    options.connect().await.expect("a connection")
}

#[track_caller]
fn assert_success(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

async fn assert_refused(connection: &mut PgConnection, statement: &str) {
    let mut transaction = connection.begin().await.expect("a transaction");
    let result = transaction.execute(statement).await;
    let error = result.expect_err(statement);
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some(MAY_NOT), "{statement}: {error}");
}

async fn assert_allowed(connection: &mut PgConnection, statements: &[&str]) {
    let mut transaction = connection.begin().await.expect("a transaction");
    for statement in statements {
        let done = transaction.execute(*statement).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    transaction.commit().await.expect("a commit");
}

/// A write is read back, through all three services.
async fn assert_written_and_read(installation: &Installation) {
    let pipeline = &installation.pipeline;
    let (command, projector, query) = (
        installation.url("command"),
        installation.url("projector"),
        installation.url("query"),
    );
    let command = [("DATABASE_URL", command.as_str())];
    let projector = [("DATABASE_URL", projector.as_str())];
    let query = [("DATABASE_URL", query.as_str())];
    let (command, _projector, query) = tokio::join!(
        pipeline.start_with(Service::CommandApi, &command),
        pipeline.start_with(Service::Projector, &projector),
        pipeline.start_with(Service::QueryApi, &query),
    );
    let (ledger, user) = (Ledger::default(), Uuid::new_v4());
    let writer = admin(pipeline, &ledger);
    let register = Command::register(user, &format!("{user}@example.org"), "Ada").with_key("once");
    let written = writer.send(&command.url(), register).await;
    let written = written.expect("an answer");
    assert_eq!(written.status, 201, "{}", written.text());
    let token = written.token().expect("a token").to_owned();
    let bearer = pipeline.tokens().sign(TENANT, Who::Admin);
    let (client, url) = (Client::new(), format!("{}/v1/users/{user}", query.url()));
    eventually(APPLIED_WITHIN, || {
        let headers = [("Consistency-Token", token.as_str())];
        let (client, url, bearer) = (client.clone(), url.clone(), bearer.clone());
        async move {
            let answer = client.read(url, &bearer, &headers).await;
            let answer = answer.expect("an answer");
            (answer.status == 200)
                .then_some(())
                .ok_or_else(|| answer.text())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_works_with_its_own_role_and_is_refused_the_work_of_the_others() {
    let installation = Installation::create("createrole", 1).await;
    assert_success(&installation.migrate(0, Some(PASSWORD)).await);
    assert_written_and_read(&installation).await;

    // Repeated, it changes nothing.
    assert_success(&installation.migrate(0, Some(PASSWORD)).await);
    let refusals: [(&str, &[&str]); 3] = [
        (
            "command",
            &[
                "update event_store.event set payload = '{}'",
                "delete from event_store.event",
                "delete from event_store.partition_head",
                "update event_store.settings set partitions = 1",
                "delete from event_store.incarnation",
                "select from read_model.user_view",
                "create table read_model.mine ()",
                "select from projection.checkpoint",
            ],
        ),
        (
            "projector",
            &[
                "insert into event_store.event select * from event_store.event",
                "update event_store.partition_head set position = 0",
                "insert into event_store.incarnation select * from event_store.incarnation",
                "delete from event_store.claim",
                "truncate event_store.event",
                "create table event_store.mine ()",
            ],
        ),
        (
            "query",
            &[
                "update read_model.user_view set name = 'Eve'",
                "delete from projection.checkpoint",
                "select from event_store.event",
                "select from event_store.claim",
                "select secret_fingerprint from event_store.settings",
                "update event_store.partition_head set position = 0",
                "create table read_model.mine ()",
                "create table public.mine ()",
            ],
        ),
    ];
    for (service, statements) in refusals {
        let mut connection = connect(&installation.options(service, 0)).await;
        for statement in statements {
            assert_refused(&mut connection, statement).await;
        }
    }
    installation.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_and_projector_make_switch_and_drop_each_others_generations_and_query_reads_all() {
    const SHOW: &str = "create or replace view read_model.user_view as
        select * from read_model.user_view_g";
    let installation = Installation::create("createrole", 1).await;
    assert_success(&installation.migrate(0, Some(PASSWORD)).await);
    let mut owner = connect(&installation.options("owner", 0)).await;
    let mut projector = connect(&installation.options("projector", 0)).await;
    let mut query = connect(&installation.options("query", 0)).await;
    let read = |generation: i32| format!("select from read_model.user_view_g{generation}");

    let mut makers = [(71, &mut projector), (72, &mut owner)];
    for (generation, maker) in &mut makers {
        let make = format!("select read_model.create_user_view({generation})");
        let show = format!("{SHOW}{generation}");
        assert_allowed(maker, &[&make, &show]).await;
        assert_allowed(
            &mut query,
            &[&read(*generation), "select from read_model.user_view"],
        )
        .await;
    }
    assert_allowed(
        &mut projector,
        &[
            "insert into read_model.user_view_g72 select * from read_model.user_view_g71",
            "truncate read_model.user_view_g72",
            &format!("{SHOW}71"),
        ],
    )
    .await;
    assert_allowed(
        &mut owner,
        &[
            &format!("{SHOW}72"),
            "insert into read_model.user_view_g71 select * from read_model.user_view_g72",
            "drop table read_model.user_view_g71",
        ],
    )
    .await;
    installation.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_ran_without_roles_gets_them_with_all_its_generations() {
    let installation = Installation::create("createrole", 1).await;
    let url = installation.url("owner");
    let without = ["migrate", "--database-url", &url];
    installation.pipeline.run("runnel", &without).await;
    let mut owner = connect(&installation.options("owner", 0)).await;
    let show = "create view read_model.user_view as select * from read_model.user_view_g71";
    assert_allowed(
        &mut owner,
        &["select read_model.create_user_view(71)", show],
    )
    .await;

    assert_success(&installation.migrate(0, Some(PASSWORD)).await);

    let mut projector = connect(&installation.options("projector", 0)).await;
    let replace = show.replace("create view", "create or replace view");
    let feed = "delete from read_model.user_view_g71";
    assert_allowed(&mut projector, &[feed, &replace]).await;
    let mut query = connect(&installation.options("query", 0)).await;
    assert_allowed(&mut query, &["select from read_model.user_view"]).await;
    assert_written_and_read(&installation).await;
    installation.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_of_one_cluster_that_are_migrated_at_once_share_the_roles() {
    let installation = Installation::create("createrole", 3).await;
    let (first, second, third) = tokio::join!(
        installation.migrate(0, Some(PASSWORD)),
        installation.migrate(1, Some(PASSWORD)),
        installation.migrate(2, Some(PASSWORD)),
    );
    for output in [first, second, third] {
        assert_success(&output);
    }
    for database in 0..3 {
        let mut query = connect(&installation.options("query", database)).await;
        assert_allowed(&mut query, &["select from event_store.partition_head"]).await;
    }
    installation.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_may_not_make_roles_is_told_what_somebody_else_has_to_do() {
    let installation = Installation::create("", 1).await;
    let refused = installation.migrate(0, Some(PASSWORD)).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    let command = installation.role("command");
    assert!(
        said.contains(&format!("create role {command} login")),
        "{said}"
    );
    assert!(!said.contains(PASSWORD), "{said}");

    for service in ["command", "projector", "query"] {
        let role = installation.role(service);
        let statement = format!("create role {role} login password '{PASSWORD}'");
        installation.admin(&statement).await;
    }
    let refused = installation.migrate(0, None).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    let (projector, owner) = (installation.role("projector"), installation.role("owner"));
    let missing = format!("grant {projector} to {owner}");
    assert!(said.contains(&missing), "{said}");
    installation.admin(&missing).await;
    assert_success(&installation.migrate(0, None).await);
    assert_written_and_read(&installation).await;
    installation.remove().await;
}
