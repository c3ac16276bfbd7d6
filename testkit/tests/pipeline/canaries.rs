//! I9: two tenants with the same ids, the same address and the same keys never meet. Every field of
//! either holds a text of 128 random bits, and everything that either is answered, every log and
//! every metric is searched for them.

use serde_json::{Value, json};
use testkit::pipeline::canary::{Canaries, found};
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::view::assert_equals_fold;
use testkit::pipeline::{Answer, Client, Ledger, Node, Pipeline, Service, Who};
use uuid::Uuid;

use crate::scene::{APPLIED_WITHIN, ask};

const USERS: usize = 5;

/// One tenant and everything that it was answered.
struct Tenant {
    canaries: Canaries,
    writer: Writer,
    operator: String,
    client: Client,
    answers: Vec<(String, Answer)>,
}

impl Tenant {
    fn new(pipeline: &Pipeline, ledger: &Ledger) -> Self {
        let canaries = Canaries::new();
        let sign = |who| pipeline.tokens().sign(&canaries.tenant, who);
        Self {
            writer: Writer::new(&canaries.tenant, sign(Who::Admin), ledger),
            operator: sign(Who::Operator),
            client: Client::new(),
            answers: vec![],
            canaries,
        }
    }

    async fn write(&mut self, node: &Node, command: Command, status: u16) -> Answer {
        let answer = self
            .writer
            .send(&node.url(), command)
            .await
            .expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.text());
        self.answers.push(("a command".to_owned(), answer.clone()));
        answer
    }

    async fn read(&mut self, node: &Node, path: &str) -> Answer {
        let url = format!("{}/v1/users{path}", node.url());
        let answer = ask(&self.client, url, &self.operator, &[]).await;
        self.answers.push((path.to_owned(), answer.clone()));
        answer
    }

    /// The first user has the address that both tenants know, the others have one of the tenant's
    /// own.
    async fn fill(&mut self, node: &Node, users: &[Uuid]) {
        let Canaries {
            name,
            bio,
            avatar,
            region,
            email,
            ..
        } = self.canaries.clone();
        for (number, user) in users.iter().enumerate() {
            let address = match number {
                0 => "same@example.org".to_owned(),
                _ => format!("{email}.{number}@example.org"),
            };
            let body = json!({
                "id": user, "email": address, "name": format!("{name} {number}"), "region": region,
                "bio": bio, "avatar_url": format!("https://img.example/{avatar}.png"),
            });
            let register = Command::register_as(*user, body).with_key(&format!("key {number}"));
            self.write(node, register, 201).await;
        }
        let update = json!({ "bio": format!("now {bio}") });
        self.write(
            node,
            Command::update(users[0], update).with_key("key 0"),
            200,
        )
        .await;
        self.write(
            node,
            Command::register(users[1], "x@example.org", "Ada"),
            409,
        )
        .await;
        self.write(
            node,
            Command::change_email(users[1], "same@example.org"),
            409,
        )
        .await;
        let wrong = json!({ "name": "", "bio": "b".repeat(501), "shoe_size": bio });
        self.write(node, Command::update(users[2], wrong), 422)
            .await;
        self.write(node, Command::post(users[3], "deactivate"), 200)
            .await;
        self.write(node, Command::post(users[4], "activity"), 200)
            .await;
    }

    /// Every read that there is; returns a cursor of the tenant's list.
    async fn read_everything(&mut self, node: &Node, users: &[Uuid]) -> String {
        let region = self.canaries.region.clone();
        let ids: Vec<String> = users.iter().map(Uuid::to_string).collect();
        for id in &ids {
            assert_eq!(self.read(node, &format!("/{id}")).await.status, 200);
        }
        self.read(node, &format!("/{}?fields=id,email", ids[1]))
            .await;
        let batch = self.read(node, &format!("?ids={}", ids.join(","))).await;
        assert_eq!(batch.status, 200, "{}", batch.text());
        let since = "2020-01-01T00:00:00Z";
        let listed = self
            .read(node, &format!("?region={region}&active_since={since}"))
            .await;
        assert_eq!(items(&listed).len(), USERS, "{}", listed.text());
        let same = self.read(node, "?email=same@example.org").await;
        assert!(same.text().contains(&self.canaries.name), "{}", same.text());
        let page = self.read(node, "?limit=2").await;
        assert_eq!(items(&page).len(), 2, "{}", page.text());
        page.json()["older"].as_str().expect("a cursor").to_owned()
    }
}

fn items(answer: &Answer) -> Vec<Value> {
    answer.json()["items"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tenants_with_the_same_natural_ids_never_meet() {
    let pipeline = Pipeline::create().await;
    let (command, query, projector) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::QueryApi),
        pipeline.start(Service::Projector),
    );
    let ledger = Ledger::default();
    let mut tenants = [
        Tenant::new(&pipeline, &ledger),
        Tenant::new(&pipeline, &ledger),
    ];
    let users: Vec<Uuid> = (0..USERS).map(|_| Uuid::new_v4()).collect();
    for tenant in &mut tenants {
        tenant.fill(&command, &users).await;
    }
    assert_equals_fold(&pipeline.pool(), APPLIED_WITHIN).await;
    let mut cursors = vec![];
    for tenant in &mut tenants {
        cursors.push(tenant.read_everything(&query, &users).await);
    }
    // The second time from memory: what one tenant read last must not answer the other.
    for tenant in &mut tenants {
        tenant.read_everything(&query, &users).await;
    }
    look_over_the_fence(&mut tenants, &command, &query, &cursors).await;

    let log = pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
    no_canary_crossed(&tenants);
    for node in [&command, &query, &projector] {
        nothing_is_in_the_metrics(&tenants, node, &users).await;
    }
    nothing_personal_is_in_the_logs(&tenants, &pipeline);
}

/// The first tenant asks for what only the second has.
async fn look_over_the_fence(
    tenants: &mut [Tenant; 2],
    command: &Node,
    query: &Node,
    cursors: &[String],
) {
    let [mine, other] = tenants;
    let theirs = Uuid::new_v4();
    let secret = Command::register(theirs, "only.theirs@example.org", &other.canaries.name);
    let written = other.write(command, secret, 201).await;
    mine.write(command, Command::rename(theirs, "mine now"), 404)
        .await;
    mine.write(command, Command::post(theirs, "deactivate"), 404)
        .await;
    let token = written.token().expect("a token").to_owned();
    let url = format!("{}/v1/users/{theirs}", query.url());
    let headers = [("consistency-token", token.as_str())];
    let answer = ask(&mine.client, url, &mine.operator, &headers).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    mine.answers.push(("with their token".to_owned(), answer));

    let theirs = mine.read(query, "?email=only.theirs@example.org").await;
    assert!(
        items(&theirs).is_empty() && theirs.status != 500,
        "{}",
        theirs.text()
    );
    let path = format!("?limit=2&older={}", cursors[1]);
    let page = mine.read(query, &path).await;
    assert_eq!(
        page.status,
        400,
        "a cursor of another tenant: {}",
        page.text()
    );
    let region = other.canaries.region.clone();
    let path = format!("?region={region}&active_since=2020-01-01T00:00:00Z");
    assert_eq!(items(&mine.read(query, &path).await).len(), 0);
}

fn no_canary_crossed(tenants: &[Tenant; 2]) {
    let [first, second] = tenants;
    for (reader, other) in [(first, second), (second, first)] {
        let mut own = 0;
        for (path, answer) in &reader.answers {
            let text = format!("{:?}\n{}", answer.headers, answer.text());
            let crossed = found(&other.canaries.all(), &text);
            assert!(crossed.is_empty(), "{path}: {crossed:?} in {text}");
            own += found(&reader.canaries.all(), &text).len();
        }
        assert!(own > 50, "the search finds what is there: {own}");
    }
}

async fn nothing_is_in_the_metrics(tenants: &[Tenant; 2], node: &Node, users: &[Uuid]) {
    let metrics = node.metrics().await;
    assert!(metrics.contains("build_info"), "{metrics}");
    for tenant in tenants {
        assert_eq!(found(&tenant.canaries.all(), &metrics), Vec::<&str>::new());
    }
    for user in users {
        assert!(
            !metrics.contains(&user.to_string()),
            "an id is in a label: {metrics}"
        );
    }
}

fn nothing_personal_is_in_the_logs(tenants: &[Tenant; 2], pipeline: &Pipeline) {
    let logs = pipeline.logs();
    assert!(logs.len() >= 3, "{logs:?}");
    for path in logs {
        let text = std::fs::read_to_string(&path).expect("a log");
        assert!(
            text.contains("\"message\""),
            "{} is JSON lines",
            path.display()
        );
        assert!(
            !text.contains("same@example.org"),
            "{}: an address",
            path.display()
        );
        for tenant in tenants {
            let seen = found(&tenant.canaries.of_people(), &text);
            assert!(seen.is_empty(), "{}: {seen:?}", path.display());
        }
    }
}
