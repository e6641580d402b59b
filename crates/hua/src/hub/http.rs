//! One HTTP client for both hubs: bounded waiting, bounded redirects, bounded replies, and tokens that stay with the hub they belong to.
//!
//! On `ureq` (blocking, rustls with ring: a C compiler is enough to build it). The published client, `hf-hub` 1.0, was looked at first and
//! not taken: it brings `reqwest`, `tokio`, the Xet stack and aws-lc (which wants CMake), some 300 crates in all; it knows one hub of our two and
//! leaves checksums to the transfer. Redirects are followed here rather than in `ureq`, because the token's rule depends on them.

use std::io::Read;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE, RETRY_AFTER};
use ureq::http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::error::{HubError, Result};
use super::name::{Hub, ModelName};
use super::settings::Settings;

/// Redirects after which a chain is taken for a loop.
const MOST_REDIRECTS: usize = 10;
/// The largest JSON reply that is read. Real listings are below 1 MB.
const LARGEST_JSON: u64 = 16 << 20;
/// The largest part of an error's body that is looked at for a message.
const LARGEST_ERROR: u64 = 4 << 10;

/// A client for one hub.
pub(super) struct Client {
    agent: Agent,
    hub: Hub,
    /// Where the token may go, and nowhere else: scheme, host, port.
    home: Option<Origin>,
    token: Option<String>,
    retries: u32,
    first_pause: Duration,
    longest_pause: Duration,
}

/// How far redirects are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// Until a redirect describes the file, or leaves the hub: what counts is what the hub says, not where it sends.
    Described,
    /// To any host: downloads, which live on a CDN.
    Everywhere,
}

/// A successful answer (for [`Client::head`], also the redirect at which it stops).
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// The final address without its query.
    pub url: String,
}

/// Why a request failed, and whether asking again may help.
pub(super) enum Failure {
    /// Asking again gives the same answer.
    Final(HubError),
    /// May pass: a broken connection, a busy server. The second value is how long the server asked to wait.
    Passing(HubError, Option<Duration>),
}

impl Client {
    /// Fails if `SSL_CERT_FILE` is unreadable or the endpoint is no address.
    pub fn new(settings: &Settings, hub: Hub) -> Result<Client> {
        let endpoint = settings.endpoint(hub);
        let bad = |why: &str| HubError::BadSetting { what: "the hub's address", value: shown(endpoint), why: why.into() };
        let home = endpoint.parse().ok().and_then(|uri| origin(&uri)).ok_or_else(|| bad("it is no `http://` or `https://` address"))?;
        let mut config = Agent::config_builder()
            .user_agent(concat!("hua/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_recv_response(Some(settings.read_timeout))
            .timeout_per_read(Some(settings.read_timeout));
        if !settings.proxy_from_env {
            config = config.proxy(None);
        }
        if let Some(path) = &settings.certificates {
            config = config.tls_config(TlsConfig::builder().root_certs(certificates(path)?).build());
        }
        let token = match hub {
            Hub::HuggingFace => &settings.hf_token,
            Hub::ModelScope => &settings.ms_token,
        };
        Ok(Client {
            agent: config.build().into(),
            hub,
            home: Some(home),
            token: token.as_ref().map(|token| token.expose().to_owned()),
            retries: settings.retries,
            first_pause: settings.first_pause,
            longest_pause: settings.longest_pause,
        })
    }

    /// Fetches and reads a JSON reply, repeating what may pass.
    pub fn json<T: DeserializeOwned>(&self, url: &str, name: &ModelName, what: &str) -> Result<T> {
        self.repeat(|| {
            let mut answer = self.get(url, 0, name, what)?;
            let body = answer.body.with_config().limit(LARGEST_JSON).read_to_vec();
            let body = body.map_err(|error| match error {
                ureq::Error::BodyExceedsLimit(limit) => {
                    Failure::Final(HubError::Reply { url: answer.url.clone(), why: format!("the reply has more than {limit} bytes") })
                }
                error => transport(&answer.url, error),
            })?;
            serde_json::from_slice(&body).map_err(|error| {
                Failure::Final(HubError::Reply { url: answer.url, why: format!("the reply is not the JSON that was expected: {error}") })
            })
        })
    }

    /// Asks for the headers of a file, staying on the hub; repeats what may pass.
    pub fn head(&self, url: &str, name: &ModelName, what: &str) -> Result<Answer> {
        self.repeat(|| self.send(&Method::HEAD, url, 0, Follow::Described, name, what))
    }

    /// Opens a body from byte `start` on; one attempt. A server may ignore `start` (then the status is 200, not 206).
    pub fn get(&self, url: &str, start: u64, name: &ModelName, what: &str) -> Result<Answer, Failure> {
        self.send(&Method::GET, url, start, Follow::Everywhere, name, what)
    }

    /// The pause before attempt number `attempt` (from 1), or nothing if there should be none.
    pub fn pause(&self, attempt: u32, asked: Option<Duration>) -> Option<Duration> {
        let pause = asked.unwrap_or_else(|| (self.first_pause * 2u32.saturating_pow(attempt.min(16) - 1)).min(self.longest_pause));
        (attempt <= self.retries && pause <= self.longest_pause).then_some(pause)
    }

    fn repeat<T>(&self, mut request: impl FnMut() -> Result<T, Failure>) -> Result<T> {
        let mut attempt = 0;
        loop {
            match request() {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error, asked)) => {
                    attempt += 1;
                    std::thread::sleep(self.pause(attempt, asked).ok_or(error)?);
                }
            }
        }
    }

    fn send(&self, method: &Method, url: &str, start: u64, follow: Follow, name: &ModelName, what: &str) -> Result<Answer, Failure> {
        let mut uri: Uri =
            url.parse().map_err(|_| Failure::Final(HubError::Reply { url: shown(url), why: "this is no valid address".into() }))?;
        for _ in 0..=MOST_REDIRECTS {
            let at_home = origin(&uri) == self.home;
            let here = shown(&uri.to_string());
            let mut request = Request::builder().method(method).uri(&uri).header(ACCEPT_ENCODING, "identity");
            if let Some(token) = self.token.as_ref().filter(|_| at_home) {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
                if self.hub == Hub::ModelScope {
                    request = request.header("cookie", format!("m_session_id={token}"));
                }
            }
            if start > 0 {
                request = request.header(RANGE, format!("bytes={start}-"));
            }
            let request = request.body(()).map_err(|error| transport(&here, error.into()))?;
            let (parts, body) = self.agent.run(request).map_err(|error| transport(&here, error))?.into_parts();
            let answer = Answer { status: parts.status, headers: parts.headers, body, url: here };
            if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED {
                return answer.check(name, what);
            }
            let next = redirect(&uri, &answer)?;
            if follow == Follow::Described && (origin(&next) != self.home || answer.header("x-linked-etag").is_some()) {
                return Ok(answer);
            }
            uri = next;
        }
        let target = shown(&uri.to_string());
        Err(Failure::Final(HubError::Redirect { url: shown(url), target, why: "the chain of redirects does not end" }))
    }
}

impl Answer {
    /// A header's text.
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        self.headers.get(name.as_ref())?.to_str().ok()
    }

    /// The length of this answer's body, as announced.
    pub fn content_length(&self) -> Option<u64> {
        self.number(CONTENT_LENGTH)
    }

    /// A header that holds a number.
    pub fn number(&self, name: HeaderName) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    /// `(first byte, length of the whole file if known)` of a partial answer.
    pub fn content_range(&self) -> Option<(u64, Option<u64>)> {
        let (range, total) = self.header(CONTENT_RANGE)?.trim().strip_prefix("bytes ")?.split_once('/')?;
        Some((range.split_once('-')?.0.trim().parse().ok()?, total.trim().parse().ok()))
    }

    /// Passes successes on; words for everything else.
    fn check(mut self, name: &ModelName, what: &str) -> Result<Answer, Failure> {
        if self.status.is_success() {
            return Ok(self);
        }
        let (url, status) = (self.url.clone(), self.status.as_u16());
        let message = self.message();
        Err(match status {
            401 | 403 => Failure::Final(HubError::Denied { name: name.clone(), url, status, message }),
            404 | 410 => Failure::Final(HubError::NotFound { name: name.clone(), what: what.to_owned(), url, message }),
            429 => {
                let wait = self.number(RETRY_AFTER).map(Duration::from_secs);
                Failure::Passing(HubError::RateLimited { url, wait }, wait)
            }
            408 | 500.. => Failure::Passing(HubError::Status { url, status, message }, None),
            _ => Failure::Final(HubError::Status { url, status, message }),
        })
    }

    /// The server's own words: Hugging Face's header, either hub's JSON, else nothing (never a page of HTML).
    fn message(&mut self) -> Option<String> {
        let text = match self.header("x-error-message") {
            Some(text) => text.to_owned(),
            None => {
                let mut body = Vec::new();
                self.body.as_reader().take(LARGEST_ERROR).read_to_end(&mut body).ok()?;
                let json: serde_json::Value = serde_json::from_slice(&body).ok()?;
                json.get("error").or_else(|| json.get("Message"))?.as_str()?.to_owned()
            }
        };
        let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        (!text.is_empty()).then_some(text)
    }
}

/// Puts `text` into one segment of an address's path, or one value of its query: all but unreserved characters are escaped.
pub(super) fn escaped(text: &str) -> String {
    const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

/// [`escaped`], but slashes stay.
pub(super) fn escaped_path(path: &str) -> String {
    path.split('/').map(escaped).collect::<Vec<_>>().join("/")
}

/// An address as it may be shown: signed links carry credentials in their query, some proxies in front of the host.
pub(super) fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or_default())
        }
        None => bare.to_owned(),
    }
}

#[derive(PartialEq, Eq)]
struct Origin {
    https: bool,
    host: String,
    port: u16,
}

fn origin(uri: &Uri) -> Option<Origin> {
    let https = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    Some(Origin { https, host: uri.host()?.to_ascii_lowercase(), port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }) })
}

/// Where a redirect leads: any form of `Location`, resolved against `from`.
fn redirect(from: &Uri, answer: &Answer) -> Result<Uri, Failure> {
    let fail = |target: &str, why| Failure::Final(HubError::Redirect { url: answer.url.clone(), target: shown(target), why });
    let location = answer.header(LOCATION).ok_or_else(|| fail("", "it does not say where to"))?;
    let scheme = from.scheme_str().unwrap_or("https");
    let host = from.authority().map_or("", |authority| authority.as_str());
    let full = if location.contains("://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{host}{folder}/{location}")
    };
    let uri: Uri = full.parse().map_err(|_| fail(location, "that is no valid address"))?;
    match origin(&uri) {
        None => Err(fail(location, "only `http` and `https` are followed")),
        Some(to) if scheme == "https" && !to.https => Err(fail(location, "it would leave encryption")),
        Some(_) => Ok(uri),
    }
}

/// Sorts the client's errors: what cannot pass by waiting is final.
fn transport(url: &str, error: ureq::Error) -> Failure {
    // rustls reports a certificate it does not trust as `InvalidData`.
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, InvalidData, NetworkUnreachable};
    let passing = match &error {
        ureq::Error::Io(error) => !matches!(error.kind(), ConnectionRefused | HostUnreachable | InvalidData | NetworkUnreachable),
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
        _ => false,
    };
    let error = HubError::Transport { url: url.to_owned(), source: Box::new(error) };
    if passing { Failure::Passing(error, None) } else { Failure::Final(error) }
}

fn certificates(path: &std::path::Path) -> Result<RootCerts> {
    let pem = std::fs::read(path).map_err(HubError::io("read", path))?;
    let found: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        let why = "it holds no certificate in PEM form".to_owned();
        return Err(HubError::BadSetting { what: "`SSL_CERT_FILE`", value: path.display().to_string(), why });
    }
    Ok(RootCerts::from(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_address_carries_no_credentials() {
        assert_eq!(shown("https://user:secret@host:8/a/b?Signature=x#y"), "https://host:8/a/b");
        assert_eq!(shown("/relative?x"), "/relative");
        assert_eq!(shown("http://host"), "http://host");
    }

    #[test]
    fn paths_are_escaped_but_for_their_slashes() {
        assert_eq!(escaped_path("a b/c#d?e%/ü.txt"), "a%20b/c%23d%3Fe%25/%C3%BC.txt");
        assert_eq!(escaped("refs/pr/1"), "refs%2Fpr%2F1");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| origin(&a.parse().unwrap()) == origin(&b.parse().unwrap());
        assert!(same("https://HUB.example/a", "https://hub.example:443/b"));
        assert!(!same("https://hub.example/", "http://hub.example/"));
        assert!(!same("http://hub.example:81/", "http://hub.example:82/"));
        assert!(!same("https://hub.example/", "https://evil.example/"));
    }
}
