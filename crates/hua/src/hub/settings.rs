//! Where models are looked for and asked for: the environment of `huggingface_hub` and `modelscope_hub`, read once.
//!
//! The variables and their precedence are those of the Python packages (`huggingface_hub/constants.py`, `modelscope_hub/config.py`), so that
//! a machine set up for them works unchanged. Nothing below this file looks at the environment, except that a proxy is found by the HTTP
//! client itself when [`Settings::proxy_from_env`] is on.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::name::Hub;

/// A token. Shown as `***`, so that it cannot end in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a token; white space around it is dropped. `None` when nothing printable remains.
    pub fn new(text: &str) -> Option<Secret> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Secret(text.to_owned()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Addresses, folders, tokens and patience. [`Settings::from_env`] for programs, struct update from [`Settings::in_folder`] for tests.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HF_ENDPOINT`: Hugging Face or a mirror of it, without a slash at the end.
    pub hf_endpoint: String,
    /// `HF_HUB_CACHE`, else `HF_HOME/hub`, else `XDG_CACHE_HOME/huggingface/hub`, else `~/.cache/huggingface/hub`.
    pub hf_cache: PathBuf,
    /// `HF_TOKEN`, else the content of `HF_TOKEN_PATH`, else of `HF_HOME/token`; none if `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set.
    pub hf_token: Option<Secret>,
    /// `MODELSCOPE_ENDPOINT`, else `MODELSCOPE_DOMAIN`.
    pub ms_endpoint: String,
    /// `MODELSCOPE_CACHE`, else `~/.cache/modelscope`.
    pub ms_cache: PathBuf,
    /// `MODELSCOPE_API_TOKEN`.
    pub ms_token: Option<Secret>,
    /// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`: no network at all, for either hub.
    pub offline: bool,
    /// Whether `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are honoured.
    pub proxy_from_env: bool,
    /// `SSL_CERT_FILE`: a PEM file of certificate authorities to trust instead of the built-in (Mozilla's) ones.
    pub certificates: Option<PathBuf>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest silence while an answer or a body comes in.
    pub read_timeout: Duration,
    /// How often a request is repeated, without progress in between, before it fails.
    pub retries: u32,
    /// The first pause before a repetition; it doubles each time up to [`Settings::longest_pause`].
    pub first_pause: Duration,
    /// The longest pause, and the longest `Retry-After` that is obeyed.
    pub longest_pause: Duration,
}

impl Settings {
    /// Reads the environment of this process.
    pub fn from_env() -> Settings {
        Settings::from_variables(|name| std::env::var_os(name), std::env::home_dir())
    }

    /// Reads variables from `variable`; an empty one counts as unset.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Settings {
        let home = home.unwrap_or_else(|| PathBuf::from("."));
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(|value| expand(PathBuf::from(value), &home));
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok()).filter(|value| !value.trim().is_empty());
        let is_true = |name: &str| text(name).is_some_and(|value| matches!(value.to_ascii_lowercase().trim(), "1" | "on" | "true" | "yes"));

        let caches = path("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache"));
        let hf_home = path("HF_HOME").unwrap_or_else(|| caches.join("huggingface"));
        let hf_cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| hf_home.join("hub"));
        let hf_token = || {
            let file = path("HF_TOKEN_PATH").unwrap_or_else(|| hf_home.join("token"));
            text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")).or_else(|| std::fs::read_to_string(file).ok())
        };
        Settings {
            hf_endpoint: endpoint(text("HF_ENDPOINT"), "https://huggingface.co"),
            hf_token: if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { hf_token().and_then(|token| Secret::new(&token)) },
            ms_endpoint: endpoint(text("MODELSCOPE_ENDPOINT").or_else(|| text("MODELSCOPE_DOMAIN")), "https://modelscope.cn"),
            ms_cache: path("MODELSCOPE_CACHE").unwrap_or_else(|| home.join(".cache").join("modelscope")),
            ms_token: text("MODELSCOPE_API_TOKEN").and_then(|token| Secret::new(&token)),
            offline: is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE"),
            proxy_from_env: true,
            certificates: path("SSL_CERT_FILE"),
            hf_cache,
            ..Settings::in_folder(&home)
        }
    }

    /// Settings that read no environment: both caches below `folder`, the public addresses, no token, no proxy.
    pub fn in_folder(folder: &Path) -> Settings {
        Settings {
            hf_endpoint: endpoint(None, "https://huggingface.co"),
            hf_cache: folder.join("huggingface").join("hub"),
            hf_token: None,
            ms_endpoint: endpoint(None, "https://modelscope.cn"),
            ms_cache: folder.join("modelscope"),
            ms_token: None,
            offline: false,
            proxy_from_env: false,
            certificates: None,
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(60),
            retries: 5,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }

    pub(super) fn endpoint(&self, hub: Hub) -> &str {
        match hub {
            Hub::HuggingFace => &self.hf_endpoint,
            Hub::ModelScope => &self.ms_endpoint,
        }
    }
}

/// An address without a slash at the end; a bare domain gets `https://`.
fn endpoint(given: Option<String>, default: &str) -> String {
    let address = given.as_deref().map_or(default, str::trim).trim_end_matches('/');
    if address.contains("://") { address.to_owned() } else { format!("https://{address}") }
}

/// `~` and `~/x` below the home folder, everything else as it is.
fn expand(path: PathBuf, home: &Path) -> PathBuf {
    path.strip_prefix("~").map(|rest| home.join(rest)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Settings::from_variables(find, Some(PathBuf::from("home")))
    }

    #[test]
    fn caches_follow_the_precedence_of_huggingface_hub() {
        let cache = |variables: &[(&str, &str)]| settings(variables).hf_cache;
        let path = |parts: &[&str]| parts.iter().collect::<PathBuf>();
        assert_eq!(cache(&[]), path(&["home", ".cache", "huggingface", "hub"]));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "xdg")]), path(&["xdg", "huggingface", "hub"]));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "xdg"), ("HF_HOME", "hf")]), path(&["hf", "hub"]));
        assert_eq!(cache(&[("HF_HOME", "hf"), ("HF_HUB_CACHE", "~/models")]), path(&["home", "models"]));
        assert_eq!(cache(&[("HF_HOME", "hf"), ("HF_HUB_CACHE", "")]), path(&["hf", "hub"]));
        assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "old")]), path(&["old"]));
    }

    #[test]
    fn modelscope_is_found_where_its_own_package_looks() {
        assert_eq!(settings(&[]).ms_cache, ["home", ".cache", "modelscope"].iter().collect::<PathBuf>());
        assert_eq!(settings(&[("MODELSCOPE_CACHE", "ms")]).ms_cache, PathBuf::from("ms"));
        assert_eq!(settings(&[]).ms_endpoint, "https://modelscope.cn");
        assert_eq!(settings(&[("MODELSCOPE_DOMAIN", "www.modelscope.ai/")]).ms_endpoint, "https://www.modelscope.ai");
        assert_eq!(settings(&[("MODELSCOPE_DOMAIN", "a"), ("MODELSCOPE_ENDPOINT", "http://b/")]).ms_endpoint, "http://b");
    }

    #[test]
    fn switches_are_on_for_the_words_that_python_takes() {
        for (value, on) in [("1", true), ("yes", true), ("ON", true), ("True", true), ("0", false), ("", false), ("2", false)] {
            assert_eq!(settings(&[("HF_HUB_OFFLINE", value)]).offline, on, "{value}");
            assert_eq!(settings(&[("HF_TOKEN", "t"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", value)]).hf_token.is_none(), on, "{value}");
        }
        assert!(settings(&[("TRANSFORMERS_OFFLINE", "1")]).offline);
    }

    #[test]
    fn a_token_comes_from_the_variable_or_its_file_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(settings(&[("HF_HOME", home)]).hf_token.unwrap().expose(), "from-file");
        let both = settings(&[("HF_HOME", home), ("HF_TOKEN", " from-variable ")]);
        assert_eq!(both.hf_token.as_ref().unwrap().expose(), "from-variable");
        assert!(!format!("{both:?}").contains("from-variable"));
        assert_eq!(Secret::new("two words"), None);
    }
}
