//! Model names: `owner/name`, `owner/name@revision`, with `hf:` or `ms:` in front to choose the hub, or a short alias.
//!
//! A [`ModelName`] that exists is safe to put into an address and into a path: the rules are those of `huggingface_hub`'s
//! `validate_repo_id`, which ModelScope's names also obey. Aliases are the names of the presets that are on a hub, and the shorter ones of
//! `aliases.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use super::error::{HubError, Result};

/// Where a model is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hub {
    /// `huggingface.co`, or the mirror that `HF_ENDPOINT` names.
    HuggingFace,
    /// `modelscope.cn`, or what `MODELSCOPE_ENDPOINT` names.
    ModelScope,
}

impl Hub {
    /// The branch that is meant when a name has no `@revision`.
    pub fn default_revision(self) -> &'static str {
        match self {
            Hub::HuggingFace => "main",
            Hub::ModelScope => "master",
        }
    }
}

/// A model on a hub. Parsed from text; displays as text that parses to the same model; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelName {
    /// Where to look.
    pub hub: Hub,
    /// Whether the name itself said so; without it, both caches are looked through and Hugging Face is asked.
    pub hub_given: bool,
    parts: Arc<Parts>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    owner: String,
    name: String,
    revision: Option<String>,
}

impl ModelName {
    /// `owner/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.parts.owner, self.parts.name)
    }

    /// The user or organisation.
    pub fn owner(&self) -> &str {
        &self.parts.owner
    }

    /// The repository's own name.
    pub fn repository(&self) -> &str {
        &self.parts.name
    }

    /// A branch, tag or commit: what was asked for, or the hub's default branch.
    pub fn revision(&self) -> &str {
        self.parts.revision.as_deref().unwrap_or(self.hub.default_revision())
    }

    /// The same model on another hub.
    pub(super) fn on(&self, hub: Hub) -> ModelName {
        ModelName { hub, ..self.clone() }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hub == Hub::ModelScope {
            f.write_str("ms:")?;
        }
        write!(f, "{}/{}", self.parts.owner, self.parts.name)?;
        self.parts.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

impl FromStr for ModelName {
    type Err = HubError;

    /// ```
    /// use hua::hub::{Hub, ModelName};
    ///
    /// let name: ModelName = "ms:OFA-Sys/demo@v1.0".parse()?;
    /// assert_eq!((name.hub, name.id().as_str(), name.revision()), (Hub::ModelScope, "OFA-Sys/demo", "v1.0"));
    /// assert_eq!("altclip".parse::<ModelName>()?.to_string(), "BAAI/AltCLIP");
    /// # Ok::<(), hua::hub::HubError>(())
    /// ```
    fn from_str(text: &str) -> Result<ModelName> {
        let bad = |why| HubError::BadName { name: text.to_owned(), why };
        let (bare, revision) = match text.split_once('@') {
            Some((bare, revision)) => (bare, Some(revision)),
            None => (text, None),
        };
        let full = ALIASES.get(bare.to_ascii_lowercase().as_str()).map_or(bare, String::as_str);
        let (hub, hub_given, id) = match full.split_once(':') {
            None => (Hub::HuggingFace, false, full),
            Some(("hf" | "huggingface", id)) => (Hub::HuggingFace, true, id),
            Some(("ms" | "modelscope", id)) => (Hub::ModelScope, true, id),
            Some(_) => return Err(bad("only `hf:` and `ms:` may stand before a name")),
        };
        let (owner, name) = id.split_once('/').ok_or_else(|| bad("it is no known alias and has no `owner/`"))?;
        if !is_component(owner) || !is_component(name) {
            return Err(bad("owner and name are made of letters, digits, `-`, `_` and `.`, at most 96, without `--` or `..`"));
        }
        if revision.is_some_and(|revision| !is_revision(revision)) {
            return Err(bad("a revision is made of letters, digits, `-`, `_`, `.` and single `/`, without `..`"));
        }
        let parts = Parts { owner: owner.to_owned(), name: name.to_owned(), revision: revision.map(str::to_owned) };
        Ok(ModelName { hub, hub_given, parts: Arc::new(parts) })
    }
}

/// The short names and what they stand for, in alphabetical order.
pub fn aliases() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALIASES.iter().map(|(alias, name)| (*alias, name.as_str()))
}

static ALIASES: LazyLock<BTreeMap<&str, String>> = LazyLock::new(|| {
    let short: BTreeMap<&str, String> = serde_json::from_str(include_str!("aliases.json")).expect("a test parses this file");
    let on_hubs = hua_model::presets().iter().filter(|preset| !preset.source.contains("://"));
    on_hubs.map(|preset| (preset.name.as_str(), preset.source.clone())).chain(short).collect()
});

fn is_component(text: &str) -> bool {
    (1..=96).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
        && !text.contains("--")
        && !text.contains("..")
}

fn is_revision(text: &str) -> bool {
    text.len() <= 200
        && text.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with(['-', '.'])
                && !part.ends_with('.')
                && !part.contains("..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_is_short_and_stands_for_a_valid_name() {
        for (alias, name) in aliases() {
            assert_eq!(alias, alias.to_ascii_lowercase());
            assert!(!alias.contains(['/', ':', '@']), "{alias}");
            let parsed: ModelName = name.parse().unwrap();
            assert_eq!(alias.parse::<ModelName>().unwrap(), parsed);
            assert!(hua_model::presets().iter().any(|preset| preset.source == name), "the sizes of {name} are not known");
        }
        assert_eq!("chinese-clip-vit-b-16".parse::<ModelName>().unwrap(), "chinese-clip-base".parse().unwrap());
    }

    #[test]
    fn a_name_displays_as_text_that_parses_back() {
        for text in ["BAAI/AltCLIP", "ms:damo/multi-modal_clip-vit-base-patch16_zh", "a/b@refs/pr/1", "ms:a/b@v1.0.1"] {
            assert_eq!(text.parse::<ModelName>().unwrap().to_string(), text);
        }
        assert_eq!("modelscope:a/b".parse::<ModelName>().unwrap().to_string(), "ms:a/b");
        assert_eq!("hf:a/b".parse::<ModelName>().unwrap().to_string(), "a/b");
        assert_eq!("AltCLIP@main".parse::<ModelName>().unwrap().to_string(), "BAAI/AltCLIP@main");
    }

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for text in [
            "",
            "gpt",
            "/etc/passwd",
            "a/b/c",
            "../b",
            "a/..",
            "a/b@../x",
            "a/b@",
            "a/b@x//y",
            "a/b@-x",
            "a/b@/x",
            "a\\b",
            "C:/x",
            "a/b\0",
            "a/b c",
            "a/b--c",
            "a/b?x",
            "a/b#x",
            "a/b%2e",
            "s3:a/b",
            "a/b@.x",
            ".a/b",
            "名/字",
        ] {
            let error = text.parse::<ModelName>().unwrap_err();
            assert!(matches!(error, HubError::BadName { .. }), "{text}: {error}");
        }
    }
}
