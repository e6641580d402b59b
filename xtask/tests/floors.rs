//! The crates stand on floors, and a crate may use only what is on a lower one (`ARCHITECTURE.md`, "Where does what live?").
use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Every crate of the workspace and its floor.
const FLOORS: [(&str, u32); 12] = [
    ("hua-graph", 0),
    ("hua-kernels", 0),
    ("hua-text", 0),
    ("hua-data", 1),
    ("hua-exec", 1),
    ("hua-image", 1),
    ("hua-index", 1),
    ("hua-model", 2),
    ("hua", 3),
    ("hua-train", 4),
    ("hua-cli", 5),
    ("xtask", 5),
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("a workspace has packages").clone()
}

#[test]
fn every_crate_has_a_floor_and_uses_only_lower_ones() {
    let floors = BTreeMap::from(FLOORS);
    let packages = packages();
    let mut names: Vec<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, floors.keys().copied().collect::<Vec<_>>(), "give a new crate a floor");
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            if let Some(floor) = floors.get(on) {
                assert!(*floor < floors[name], "`{name}` (floor {}) uses `{on}` (floor {floor})", floors[name]);
            }
        }
    }
}

#[test]
fn models_and_executors_do_not_know_each_other() {
    for package in packages() {
        if package["name"] == "hua-model" {
            assert!(package["dependencies"].as_array().unwrap().iter().all(|d| d["name"] != "hua-exec"));
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_everywhere_but_in_the_kernels() {
    for package in packages() {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        let follows_the_workspace = manifest.contains("[lints]\nworkspace = true");
        assert_eq!(follows_the_workspace, package["name"] != "hua-kernels", "{}", package["name"]);
    }
    let root = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
    assert!(root.contains("unsafe_code = \"forbid\""));
}
