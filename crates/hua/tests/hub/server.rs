//! A hub on this machine, with the two servers that a real one has: the hub itself and the content network that large files are redirected
//! to. It speaks the routes of both hubs, keeps every request, and misbehaves on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came over the wire; header names in lower case.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What to answer, and how badly.
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Instead of the true length; `Some(None)` sends none and ends by closing.
    announced: Option<Option<usize>>,
    /// Bytes of the body after which the connection breaks.
    cut: Option<usize>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into(), announced: None, cut: None }
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn announcing(mut self, length: Option<usize>) -> Reply {
        self.announced = Some(length);
        self
    }

    pub fn cut_after(mut self, count: usize) -> Reply {
        self.cut = Some(count);
        self
    }

    /// The bytes that `request` asks for, as a server does that knows ranges.
    pub fn ranged(request: &Request, content: &[u8]) -> Reply {
        let Some(start) = request.header("range") else { return Reply::new(200, content) };
        let start: usize = start.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
        if start >= content.len() {
            return Reply::new(416, "").header("Content-Range", format!("bytes */{}", content.len()));
        }
        let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
        Reply::new(206, &content[start..]).header("Content-Range", range)
    }
}

/// A server on a port of its own. Its threads end with the test process.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` gets each request and the number of requests for the same path before it.
    pub fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (log.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &log, &*answer));
            }
        });
        Server { url, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// `METHOD path` of every request, with the range it asked for.
    pub fn log(&self) -> Vec<String> {
        let line = |request: &Request| {
            let range = request.header("range").map(|range| format!(" {range}")).unwrap_or_default();
            format!("{} {}{range}", request.method, request.path)
        };
        self.requests().iter().map(line).collect()
    }
}

/// One request a connection; a client that breaks off is its own business.
fn serve(stream: TcpStream, log: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request, usize) -> Reply) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let request = Request { method, path, headers };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.iter().filter(|other| other.path == request.path && other.method == request.method).count() - 1
    };
    let reply = answer(&request, before);

    let mut stream = stream;
    let mut head = format!("HTTP/1.1 {} Words\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some(length) = reply.announced.unwrap_or(Some(reply.body.len())) {
        head += &format!("Content-Length: {length}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes()).ok()?;
    if request.method != "HEAD" {
        stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())]).ok()?;
    }
    stream.flush().ok()
}

/// A model's files: large ones (weights) go over the content network, small ones come from the hub.
#[derive(Clone)]
pub struct Repository {
    pub id: &'static str,
    pub commit: String,
    pub files: BTreeMap<&'static str, Vec<u8>>,
}

impl Repository {
    pub fn new(id: &'static str) -> Repository {
        let files = BTreeMap::from([
            ("README.md", b"# A model\n".to_vec()),
            ("config.json", br#"{"model_type": "altclip"}"#.to_vec()),
            ("flax_model.msgpack", vec![1; 100]),
            ("model.safetensors", noise(300_000)),
            ("onnx/model.onnx", vec![2; 100]),
            ("pytorch_model.bin", vec![3; 100]),
            ("tokenizer.json", b"{}".to_vec()),
        ]);
        Repository { id, commit: "0123456789abcdef0123456789abcdef01234567".into(), files }
    }

    pub fn with(mut self, file: &'static str, content: impl Into<Vec<u8>>) -> Repository {
        self.files.insert(file, content.into());
        self
    }

    pub fn without(mut self, file: &str) -> Repository {
        self.files.remove(file);
        self
    }

    /// The `ETag` of a file: sha256 for large ones, git's sum for small ones.
    pub fn etag(&self, file: &str) -> String {
        let content = &self.files[file];
        if is_large(file) { sha256(content) } else { git_sha1(content) }
    }
}

pub fn is_large(file: &str) -> bool {
    !file.ends_with(".json") && !file.ends_with(".md")
}

/// Hugging Face with its content network. `cdn` answers for the large files.
pub struct HuggingFace {
    pub hub: Server,
    pub cdn: Server,
}

impl HuggingFace {
    pub fn start(repository: Repository) -> HuggingFace {
        HuggingFace::with_cdn(repository, |request, content, _| Reply::ranged(request, content))
    }

    /// `cdn` gets the request, the file's true content and the number of requests before.
    pub fn with_cdn(repository: Repository, cdn: impl Fn(&Request, &[u8], usize) -> Reply + Send + Sync + 'static) -> HuggingFace {
        let files = repository.files.clone();
        let cdn = Server::start(move |request, before| {
            let file = request.path.trim_start_matches("/blob/").split('?').next().unwrap();
            cdn(request, &files[file], before)
        });
        let to = cdn.url.clone();
        let hub = Server::start(move |request, _| answer_as_hugging_face(&repository, &to, request));
        HuggingFace { hub, cdn }
    }
}

pub fn answer_as_hugging_face(repository: &Repository, cdn: &str, request: &Request) -> Reply {
    let Repository { id, commit, files } = repository;
    let path = request.path.split('?').next().unwrap();
    if path.strip_prefix(&format!("/api/models/{id}/revision/")).is_some_and(|revision| revision == "main" || revision == commit) {
        let siblings: Vec<_> = files.keys().map(|file| serde_json::json!({ "rfilename": file })).collect();
        return Reply::new(200, serde_json::json!({ "sha": commit, "siblings": siblings, "private": false }).to_string());
    }
    let Some(file) = path.strip_prefix(&format!("/{id}/resolve/{commit}/")).filter(|file| files.contains_key(file)) else {
        return Reply::new(404, r#"{"error": "Repository not found"}"#).header("X-Error-Code", "RepoNotFound");
    };
    let etag = repository.etag(file);
    if is_large(file) {
        Reply::new(302, "redirecting")
            .header("X-Repo-Commit", commit)
            .header("X-Linked-Etag", format!("\"{etag}\""))
            .header("X-Linked-Size", files[file].len())
            .header("ETag", "\"of-the-pointer\"")
            .header("Location", format!("{cdn}/blob/{file}?Signature=secret"))
    } else {
        Reply::ranged(request, &files[file]).header("X-Repo-Commit", commit).header("ETag", format!("W/\"{etag}\""))
    }
}

/// ModelScope; large files are redirected, as there.
pub fn model_scope(repository: Repository, cdn: impl Fn(&Request, &[u8], usize) -> Reply + Send + Sync + 'static) -> HuggingFace {
    let files = repository.files.clone();
    let cdn = Server::start(move |request, before| {
        let file = request.path.trim_start_matches("/blob/").split('?').next().unwrap();
        cdn(request, &files[file], before)
    });
    let to = cdn.url.clone();
    let hub = Server::start(move |request, _| {
        let api = format!("/api/v1/models/{}/repo", repository.id);
        let Some(rest) = request.path.strip_prefix(&api) else {
            return Reply::new(404, r#"{"Code": 10010205001, "Message": "record not found", "Success": false}"#);
        };
        if rest == "/files?Revision=master&Recursive=True" {
            let mut entries: Vec<_> = (repository.files.iter())
                .map(|(file, content)| {
                    serde_json::json!({ "Name": file.rsplit('/').next(), "Path": file, "Type": "blob", "Size": content.len(), "Sha256": sha256(content), "Revision": "r" })
                })
                .collect();
            entries.push(serde_json::json!({ "Name": "onnx", "Path": "onnx", "Type": "tree", "Size": 0, "Sha256": "" }));
            return Reply::new(200, serde_json::json!({ "Code": 200, "Data": { "Files": entries }, "Message": "success" }).to_string());
        }
        let file = rest.strip_prefix("?Revision=master&FilePath=").unwrap();
        match is_large(file) {
            true => Reply::new(302, "").header("Location", format!("{to}/blob/{file}?Signature=secret")),
            // Served directly, and without ranges.
            false => Reply::new(200, repository.files[file].clone()),
        }
    });
    HuggingFace { hub, cdn }
}

/// Bytes that differ everywhere.
pub fn noise(count: u32) -> Vec<u8> {
    (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub fn sha256(content: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, content).as_ref())
}

pub fn git_sha1(content: &[u8]) -> String {
    let blob = [format!("blob {}\0", content.len()).as_bytes(), content].concat();
    hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &blob).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
