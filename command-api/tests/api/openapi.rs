//! `/openapi.json`: what it says is what the handlers do.

use std::path::PathBuf;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{TestApp, TestStore, answer};

async fn document(app: &TestApp) -> Value {
    answer(app.request("GET", "/openapi.json", "none"))
        .await
        .body
}

/// Every operation of the document: method, path and description.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().expect("operations").clone();
        let path = path.clone();
        item.into_iter()
            .map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn it_is_the_golden_document() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let document = document(&app).await;
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/openapi.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{document:#}\n")).expect("the golden file is written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    // Compared as values: the order of keys depends on which crates are built together.
    let golden: Value = serde_json::from_str(&golden).unwrap_or_default();
    assert!(
        document == golden,
        "{} differs; look at it with UPDATE_GOLDEN=1 and git diff",
        path.display()
    );
}

#[tokio::test]
async fn every_operation_is_answered_by_its_route() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let document = document(&app).await;
    assert_eq!(document["openapi"], json!("3.1.0"));
    let operations = operations(&document);
    assert_eq!(operations.len(), 7);
    for (method, path, operation) in operations {
        let id = Uuid::now_v7();
        let path = path.replace("{id}", &id.to_string());
        let answer = answer(app.request(&method, &path, &store.admin()).json(&json!({}))).await;
        let status = answer.status.as_u16();
        assert!(
            !matches!(answer.code(), (404, "route_unknown") | (405, _)),
            "{method} {path}"
        );
        let described = &operation["responses"][status.to_string()];
        assert!(
            described.is_object(),
            "{method} {path} answered {status}, which is not described"
        );
        if let (_, code @ ("invalid_fields" | "user_not_found")) = answer.code() {
            let description = described["description"].as_str().expect("a description");
            assert!(
                description.contains(&format!("`{code}`")),
                "{method} {path}: {code}"
            );
        }
    }
}

#[tokio::test]
async fn every_property_of_a_body_is_a_field_and_every_required_one_is_missed() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let document = document(&app).await;
    let mut bodies = 0;
    for (method, path, operation) in operations(&document) {
        let Some(content) = operation["requestBody"]["content"].as_object() else {
            continue;
        };
        let reference = content
            .values()
            .next()
            .and_then(|media| media["schema"]["$ref"].as_str());
        let pointer = reference.expect("a reference").trim_start_matches('#');
        let schema = document
            .pointer(pointer)
            .expect("the schema is in the document");
        let path = path.replace("{id}", &Uuid::now_v7().to_string());
        let send = |body: Value| answer(app.request(&method, &path, &store.admin()).json(&body));

        let names = schema["properties"].as_object().expect("properties").keys();
        let wrong: Value = names
            .clone()
            .map(|name| (name.clone(), json!({})))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let mut expected: Vec<String> = names.map(|name| format!("/{name}")).collect();
        expected.sort_unstable();
        let refused = send(wrong).await.expect(400, "wrong_type");
        assert_eq!(refused.pointers(), expected, "{method} {path}");
        for error in refused.body["errors"].as_array().expect("errors") {
            assert_ne!(
                error["detail"],
                json!("is not a field of this request"),
                "{error}"
            );
        }

        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let mut required: Vec<String> = required
            .iter()
            .filter_map(Value::as_str)
            .map(|name| format!("/{name}"))
            .collect();
        required.sort_unstable();
        let empty = send(json!({})).await;
        assert_eq!(empty.pointers(), required, "{method} {path}");
        bodies += 1;
    }
    assert_eq!(bodies, 3);
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let store = TestStore::create().await;
    let app = store.start(&[]);
    let document = document(&app).await;
    let text = document.to_string();
    let references: Vec<&str> = text
        .split("\"$ref\":\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(!references.is_empty());
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}
