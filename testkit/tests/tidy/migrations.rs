//! What every migration looks like, and that a view's tables carry its file's name.

use super::{assert_none, root, tracked};

fn migrations() -> Vec<(String, String)> {
    tracked(".sql")
        .into_iter()
        .filter(|path| path.starts_with(root().join("migrations")))
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (
                name,
                std::fs::read_to_string(&path).expect("a migration is text"),
            )
        })
        .collect()
}

#[test]
fn a_migration_is_named_by_time_and_verb_and_says_why() {
    let mut findings = vec![];
    for (name, text) in migrations() {
        let (time, rest) = name.split_once('_').unwrap_or_default();
        let time_is_right = time.len() == 14 && time.bytes().all(|byte| byte.is_ascii_digit());
        if !time_is_right || !rest.contains('_') {
            findings.push(format!("{name}: not <yyyymmddhhmmss>_<verb>_<object>.sql"));
        }
        if !text.starts_with("-- ") {
            findings.push(format!("{name}: the first line does not say why"));
        }
    }
    assert_none(&findings, "migrations");
}

/// One word everywhere: what stands in schema `read_model` is called after a file of
/// `read-model/src`.
#[test]
fn tables_of_the_read_model_are_named_after_their_views_file() {
    let files: Vec<_> = std::fs::read_dir(root().join("read-model/src"))
        .expect("the read model")
        .map(|file| file.expect("a file").path())
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    let mut found = 0;
    let mut findings = vec![];
    for (migration, text) in migrations() {
        for object in text.split("read_model.").skip(1) {
            let name: String = object
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            let view = name.strip_prefix("create_").unwrap_or(&name);
            if name.is_empty() {
                continue; // A template: the name follows from its function's own.
            }
            found += 1;
            let known = files
                .iter()
                .any(|file| view == file || view.starts_with(&format!("{file}_")));
            if !known {
                findings.push(format!("{migration}: read_model.{name}"));
            }
        }
    }
    assert!(found > 0, "no migration names a table of the read model");
    assert_none(&findings, "read_model.<file>[_*]");
}
