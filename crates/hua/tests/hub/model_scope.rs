//! ModelScope: its routes, its cache's layout, its refusals.
use std::fs;

use hua::hub::{self, HubError};

use crate::server::{Reply, Repository, Server, model_scope};
use crate::{MODEL, Machine, WEIGHTS, weights};

#[test]
fn a_model_from_modelscope_has_the_layout_of_modelscope_hub() {
    let hub = model_scope(Repository::new(MODEL), |request, content, before| match before {
        0 => Reply::ranged(request, content).cut_after(100_000),
        _ => Reply::ranged(request, content),
    });
    let machine = Machine::new(&hub.hub);
    let pulled = machine.pull("modelscope:BAAI/AltCLIP").unwrap();
    let files: Vec<String> = machine.listing().into_iter().filter(|line| !line.contains("/.lock/")).collect();
    let folder = "modelscope/models/BAAI--AltCLIP/snapshots/master";
    assert_eq!(
        files,
        [
            format!("{folder}/README.md 10"),
            format!("{folder}/config.json 25"),
            format!("{folder}/model.safetensors 300000"),
            format!("{folder}/tokenizer.json 2"),
        ]
    );
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(hub.cdn.requests()[1].header("range"), Some("bytes=100000-"));
    assert_eq!(hub.hub.log()[0], "GET /api/v1/models/BAAI/AltCLIP/repo/files?Revision=master&Recursive=True");
    assert_eq!(hub.hub.log()[1], "GET /api/v1/models/BAAI/AltCLIP/repo?Revision=master&FilePath=README.md");

    // Found under its own name and under the bare one; a changed file of the same size is replaced, the others stay.
    assert_eq!(hub::resolve("ms:BAAI/AltCLIP", &machine.settings).unwrap(), pulled.folder);
    assert_eq!(hub::resolve("altclip", &machine.settings).unwrap(), pulled.folder);
    assert!(hub::resolve("hf:BAAI/AltCLIP", &machine.settings).is_err());
    fs::write(pulled.folder.join("config.json"), [b' '; 25]).unwrap();
    assert_eq!(machine.pull("ms:BAAI/AltCLIP").unwrap().downloaded, 25);
    assert_eq!(hub.cdn.requests().len(), 2);
}

#[test]
fn the_folder_of_an_older_modelscope_is_used_on() {
    let hub = model_scope(Repository::new("iic/clip_v1.5"), |request, content, _| Reply::ranged(request, content));
    let machine = Machine::new(&hub.hub);
    let old = machine.settings.ms_cache.join("hub/models/iic/clip_v1___5");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join(".msc"), "").unwrap();
    assert_eq!(machine.pull("ms:iic/clip_v1.5").unwrap().folder, old);
    assert_eq!(hub::resolve("ms:iic/clip_v1.5", &machine.settings).unwrap(), old);
}

#[test]
fn modelscopes_refusals_and_wrong_sums_are_errors() {
    let hub = model_scope(Repository::new(MODEL), |_, content, _| Reply::new(200, vec![0; content.len()]));
    let machine = Machine::new(&hub.hub);
    let error = machine.pull("ms:BAAI/AltCLIP").unwrap_err();
    assert!(matches!(error, HubError::Checksum { .. }), "{error}");
    assert!(!machine.listing().iter().any(|line| line.contains(WEIGHTS)));
    let error = machine.pull("ms:other/model").unwrap_err();
    assert!(matches!(&error, HubError::NotFound { message: Some(message), .. } if message == "record not found"), "{error}");

    let hub = Server::start(|_, _| Reply::new(200, r#"{"Code": 10010205001, "Message": "no such model", "Data": null}"#));
    let error = Machine::new(&hub).pull("ms:other/model").unwrap_err();
    assert!(error.to_string().contains("`no such model`"), "{error}");
}
