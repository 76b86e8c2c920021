//! What is generated from the key table is what is in the repository.

use std::{fs, path::Path};

use balance_config::{reference, schema};

#[track_caller]
fn is_up_to_date(file: &str, generated: &str, command: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    let committed = fs::read_to_string(path).unwrap_or_default();
    // Not `assert_eq`, which would print both.
    let differs = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| committed.lines().count().min(generated.lines().count())) + 1;
    assert!(committed == generated, "docs/{file} is out of date from line {line} on; run `{command} > docs/{file}`");
}

#[test]
fn the_schema_is_up_to_date() {
    is_up_to_date("schema/balance.schema.json", &schema::render(), "balance-shard config schema");
}

#[test]
fn the_reference_is_up_to_date() {
    is_up_to_date("reference.md", &reference::render(), "balance-shard config reference");
}

/// Lines that editors and people can read, and nothing that Markdown would take for emphasis.
#[test]
fn the_reference_is_readable() {
    for line in reference::render().lines() {
        let is_fixed = line.starts_with('#') || line.contains("Variable: ");
        assert!(is_fixed || line.chars().count() <= 120, "{line}");
        let outside: String = line.split('`').step_by(2).collect();
        assert_eq!(outside.matches('*').count() % 2, 0, "{line}");
    }
}
