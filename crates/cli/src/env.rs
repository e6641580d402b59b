//! Every environment variable the program listens to, in one list. `--help` prints the list, [`crate::settings`] reads it; a
//! variable that is not here does nothing. Order of precedence: flag, then environment, then default.

/// A variable and what it does.
pub struct Variable {
    pub name: &'static str,
    pub about: &'static str,
}

const fn variable(name: &'static str, about: &'static str) -> Variable {
    Variable { name, about }
}

pub const MODEL: Variable = variable("HUA_MODEL", "model to answer with: a name on a hub or a path (as --model)");
pub const FAMILY: Variable = variable("HUA_FAMILY", "family to read the model as (as --family)");
pub const THREADS: Variable = variable("HUA_THREADS", "threads to compute with, 0 = all cores (as --threads)");
pub const DEVICE: Variable = variable("HUA_DEVICE", "`cpu` or `reference` (as --device)");
pub const PRECISION: Variable = variable("HUA_PRECISION", "`f32`, `bf16`, `int8` or `auto` (as --precision)");
pub const PACKED: Variable = variable("HUA_PACKED", "when packed weights are kept: `auto` (bf16 and int8), `always`, `off`");
/// Read where kernels are chosen, by the library.
pub const ISA: Variable = variable("HUA_ISA", "instruction set: avx512, avx2, neon or scalar; default: the best there is");
pub const CACHE: Variable = variable("HUA_CACHE", "folder of vectors and packed weights; default: `hua` in the user's caches");
pub const NO_COLOR: Variable = variable("NO_COLOR", "any value but an empty one: no colour, unless --color says otherwise");

pub const USER_CACHES: Variable = variable("XDG_CACHE_HOME", "the user's cache folder; default: `~/.cache`");

/// What the program reads itself.
pub const OURS: &[Variable] = &[MODEL, FAMILY, THREADS, DEVICE, PRECISION, PACKED, ISA, CACHE, USER_CACHES, NO_COLOR];

/// What the hub client of the library reads: the names Python's `huggingface_hub` and `modelscope` use, so that one setting and
/// one cache serve both worlds.
pub const HUB: &[Variable] = &[
    variable("HF_ENDPOINT", "address of the Hugging Face hub or of a mirror"),
    variable("HF_HOME", "folder of the Hugging Face cache and token"),
    variable("HF_HUB_CACHE", "folder of downloaded models, if not `hub` in HF_HOME"),
    variable("HF_HUB_OFFLINE", "1: never use the network"),
    variable("HF_TOKEN", "access token for models that need one"),
    variable("MODELSCOPE_ENDPOINT", "address of ModelScope"),
    variable("MODELSCOPE_CACHE", "folder of the ModelScope cache"),
    variable("MODELSCOPE_API_TOKEN", "access token of ModelScope"),
    variable("SSL_CERT_FILE", "certificate authorities to trust instead of the built-in ones, a PEM file"),
    variable("HTTPS_PROXY", "proxy for downloads; also ALL_PROXY, HTTP_PROXY, NO_PROXY"),
];

/// The list as `--help` shows it.
pub fn help() -> String {
    let width = OURS.iter().chain(HUB).map(|v| v.name.len()).max().unwrap_or(0);
    let mut text = String::from("Environment (a flag wins over a variable):\n");
    for variable in OURS.iter().chain(HUB) {
        text.push_str(&format!("  {:width$}  {}\n", variable.name, variable.about));
    }
    text.push_str("\nExit codes: 0 done, 1 a file or this program failed, 2 the call was wrong.");
    text
}
