//! Replies that are no model: each is refused with what to try, and nothing of it is kept.
use std::fs;
use std::time::Duration;

use hua::hub::HubError;

use crate::server::{self, HuggingFace, Reply, Repository, Server, model_scope};
use crate::{MODEL, Machine, WEIGHTS, weights};

#[test]
fn file_names_that_leave_the_folder_are_refused_before_anything_is_written() {
    for name in ["../../.bashrc", "/etc/cron.d/x", "a/../../x", "C:\\x", "a\\..\\x", "x\0y"] {
        let hub = HuggingFace::start(Repository::new(MODEL).with(name, "x"));
        let machine = Machine::new(&hub.hub);
        let error = machine.pull(MODEL).unwrap_err();
        assert!(matches!(error, HubError::UnsafePath { .. }), "{name}: {error}");
        assert_eq!(hub.hub.log().len(), 1);
        assert_eq!(machine.listing(), [""; 0]);

        let hub = model_scope(Repository::new(MODEL).with(name, "x"), |request, content, _| Reply::ranged(request, content));
        let error = Machine::new(&hub.hub).pull("ms:BAAI/AltCLIP").unwrap_err();
        assert!(matches!(error, HubError::UnsafePath { .. }), "{name}: {error}");
    }
}

#[test]
fn refusals_say_what_was_refused_and_what_to_try() {
    let mut said = String::new();
    for (status, body, wait) in [
        (401, r#"{"error": "Invalid credentials"}"#, ""),
        (403, r#"{"error": "Access to this model is restricted"}"#, ""),
        (404, "<html>not found</html>", ""),
        (418, "", ""),
        (429, "", "3600"),
        (503, "", ""),
    ] {
        let hub = Server::start(move |_, _| Reply::new(status, body).header("Retry-After", wait));
        let mut machine = Machine::new(&hub);
        machine.settings.retries = 1;
        let error = machine.pull(MODEL).unwrap_err();
        let tried = hub.log().len();
        said += &format!("{error}\n  {:?}, {tried} tried: {}\n", error.fault(), error.hint().unwrap_or_default())
            .replace(&hub.url, "http://hub");
    }
    assert_eq!(
        said,
        "\
http://hub/api/models/BAAI/AltCLIP/revision/main answered 401: no access to `BAAI/AltCLIP` (`Invalid credentials`)
  Caller, 1 tried: the name may be misspelt; if the model is private or gated, set `HF_TOKEN` to a token that may read it
http://hub/api/models/BAAI/AltCLIP/revision/main answered 403: no access to `BAAI/AltCLIP` (`Access to this model is restricted`)
  Caller, 1 tried: accept the model's conditions at its page (https://huggingface.co/BAAI/AltCLIP), then pull with your `HF_TOKEN`
http://hub/api/models/BAAI/AltCLIP/revision/main answered 404: the repository or its revision of `BAAI/AltCLIP` does not exist
  Caller, 1 tried: check owner, name and revision; small and capital letters differ
http://hub/api/models/BAAI/AltCLIP/revision/main answered 418
  File, 1 tried: \n\
http://hub/api/models/BAAI/AltCLIP/revision/main answered 429: too many requests, try again in 3600 s
  File, 1 tried: wait a little; with `HF_TOKEN` set the hub allows more
http://hub/api/models/BAAI/AltCLIP/revision/main answered 503
  File, 2 tried: \n"
    );
}

#[test]
fn a_busy_hub_is_asked_again() {
    let repository = Repository::new(MODEL);
    let real = HuggingFace::start(repository.clone());
    let cdn = real.cdn.url.clone();
    let hub = Server::start(move |request, before| match (before, request.method.as_str()) {
        (0, _) => Reply::new(503, ""),
        (1, "HEAD") => Reply::new(429, "").header("Retry-After", "0"),
        _ => server::answer_as_hugging_face(&repository, &cdn, request),
    });
    let mut machine = Machine::new(&hub);
    machine.settings.longest_pause = Duration::from_millis(1);
    assert_eq!(machine.pull(MODEL).unwrap().downloaded, 300_037);
}

#[test]
fn replies_that_are_not_what_the_hub_promises_are_refused() {
    for body in ["<html>a login page</html>", "{}", r#"{"sha": "../../x", "siblings": []}"#, r#"{"sha": 7, "siblings": []}"#] {
        let hub = Server::start(move |_, _| Reply::new(200, body));
        let error = Machine::new(&hub).pull(MODEL).unwrap_err();
        assert!(matches!(error, HubError::Reply { .. }), "{body}: {error}");
    }
    let endless = Server::start(|_, _| Reply::new(200, vec![b' '; 17 << 20]));
    let error = Machine::new(&endless).pull(MODEL).unwrap_err();
    assert!(matches!(error, HubError::Reply { .. }), "{error}");

    let repository = Repository::new(MODEL);
    for (name, value) in [("ETag", "\"../../x\""), ("X-Repo-Commit", "another")] {
        let repository = repository.clone();
        let hub = Server::start(move |request, _| match request.method.as_str() {
            "HEAD" => Reply::new(200, "x").header(name, value),
            _ => server::answer_as_hugging_face(&repository, "http://unused.invalid", request),
        });
        let error = Machine::new(&hub).pull(MODEL).unwrap_err();
        assert!(matches!(error, HubError::Reply { .. }), "{name}: {error}");
    }
}

#[test]
fn redirects_are_bounded_and_stay_with_http() {
    let circle = Server::start(|request, _| Reply::new(307, "").header("Location", &request.path));
    let error = Machine::new(&circle).pull(MODEL).unwrap_err();
    assert!(matches!(error, HubError::Redirect { why: "the chain of redirects does not end", .. }), "{error}");
    assert_eq!(circle.log().len(), 11);

    for location in ["file:///etc/passwd", "ftp://host/x"] {
        let hub = HuggingFace::with_cdn(Repository::new(MODEL), move |_, _, _| Reply::new(302, "").header("Location", location));
        let error = Machine::new(&hub.hub).pull(MODEL).unwrap_err();
        assert!(matches!(error, HubError::Redirect { .. }), "{error}");
    }
}

#[test]
fn a_renamed_repository_is_followed_on_the_hub() {
    let repository = Repository::new("new/name");
    let real = HuggingFace::start(repository.clone());
    let cdn = real.cdn.url.clone();
    let hub = Server::start(move |request, _| match request.path.contains("old/name") {
        true => Reply::new(307, "").header("Location", request.path.replace("old/name", "new/name")),
        false => server::answer_as_hugging_face(&repository, &cdn, request),
    });
    let machine = Machine::new(&hub);
    let pulled = machine.pull("old/name").unwrap();
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights());
}

#[test]
fn an_unreachable_hub_is_an_error_with_a_hint() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hub = HuggingFace::start(Repository::new(MODEL));
    let mut machine = Machine::new(&hub.hub);
    machine.settings.hf_endpoint = format!("http://{closed}");
    let error = machine.pull(MODEL).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach http://{closed}/api/models/BAAI/AltCLIP/revision/main"));
    assert!(error.hint().unwrap().contains("HF_ENDPOINT"));
    machine.settings.hf_endpoint = "gopher://hub".into();
    assert!(matches!(machine.pull(MODEL), Err(HubError::BadSetting { .. })));
}
