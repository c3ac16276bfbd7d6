//! Events live for ever: every type and version that was ever stored must still read, byte for byte
//! as it was written, and its published JSON Schema must not change.

use std::collections::BTreeSet;
use std::path::Path;

use events::{DecodeError, UserEvent, catalog, decode};
use serde_json::Value;

fn golden() -> Vec<(String, i32, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(folder).expect("the golden folder");
    files
        .map(|file| {
            let path = file.expect("a golden file").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let (event_type, rest) = name.split_once(".v").expect("Type.vN.json");
            let version = rest.strip_suffix(".json").expect("Type.vN.json").parse();
            let text = std::fs::read_to_string(&path).expect("a text");
            (
                event_type.to_owned(),
                version.expect("a version"),
                text.trim_end().to_owned(),
            )
        })
        .collect()
}

#[test]
fn every_stored_event_reads_and_is_written_as_it_was() {
    for (event_type, version, text) in golden() {
        let event = decode(&event_type, version, &text)
            .unwrap_or_else(|error| panic!("{event_type} v{version}: {error}"));
        if event.version() == version {
            assert_eq!(event.type_name(), event_type);
            assert_eq!(
                event.payload().expect("json").get(),
                text,
                "{event_type} v{version}"
            );
        }
    }
}

#[test]
fn every_type_and_version_of_the_catalog_has_a_golden_file() {
    let stored: BTreeSet<_> = golden()
        .into_iter()
        .map(|(event_type, version, _)| (event_type, version))
        .collect();
    let known: BTreeSet<_> = catalog::schemas()
        .into_iter()
        .map(|(event_type, version, _)| (event_type.to_owned(), version))
        .collect();
    assert_eq!(stored, known);
}

#[test]
fn published_schemas_do_not_change() {
    for (event_type, version, schema) in catalog::schemas() {
        let name = format!("{event_type}.v{version}");
        let mut shape = schema.to_value();
        forget_descriptions(&mut shape);
        insta::with_settings!({snapshot_path => "schemas", prepend_module_to_snapshot => false, sort_maps => true}, {
            insta::assert_json_snapshot!(name, shape);
        });
    }
}

/// Words may be improved; the shape may not change.
fn forget_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, value| name != "description" || !value.is_string());
            fields.values_mut().for_each(forget_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_descriptions),
        _ => {}
    }
}

#[test]
fn personal_fields_are_marked_in_the_schema() {
    let (_, _, schema) = catalog::schemas().remove(0);
    let marked = |field: &str| {
        schema.pointer(&format!("/properties/{field}/x-personal")) == Some(&true.into())
    };
    assert!(marked("email") && marked("name"));
    assert!(!marked("region"));
}

#[test]
fn an_unknown_type_or_version_is_an_error_and_never_skipped() {
    for (event_type, version) in [("UserRegistered", 2), ("UserAbducted", 1)] {
        let error = decode(event_type, version, "{}").expect_err("unknown");
        assert!(error.is_unknown_version(), "{error}");
    }
}

#[test]
fn a_malformed_payload_is_told_without_repeating_it() {
    let error = decode("UserEmailChanged", 1, r#"{"email":"canary@example.org"}"#);
    let error = error.expect_err("malformed");
    assert!(matches!(error, DecodeError::Malformed { .. }));
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[test]
fn cqrs_es_reads_the_payload_with_its_type_around_it() {
    for (event_type, version, text) in golden() {
        let wrapped = format!(r#"{{"{event_type}":{text}}}"#);
        let event: UserEvent = serde_json::from_str(&wrapped).expect("an event");
        assert_eq!(
            event,
            decode(&event_type, version, &text).expect("the same event")
        );
    }
}
