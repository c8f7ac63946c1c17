//! What a seed file says, in TOML or YAML.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Toml,
    Yaml,
}

impl Format {
    /// By the file's name: TOML unless it ends as YAML does.
    pub(super) fn of(path: &Path) -> Self {
        let ending = path.extension().unwrap_or_default();
        if ["yaml", "yml"].iter().any(|yaml| ending.eq_ignore_ascii_case(yaml)) { Self::Yaml } else { Self::Toml }
    }
}

/// Each entry with its line.
pub(super) fn read(format: Format, text: &str) -> Result<Vec<(u64, Entry)>, String> {
    match format {
        Format::Toml => toml(text),
        Format::Yaml => yaml(text),
    }
}

fn toml(text: &str) -> Result<Vec<(u64, Entry)>, String> {
    let file: File<toml::Spanned<Entry>> = toml::from_str(text).map_err(|e| e.to_string())?;
    let line = |at: usize| text[..at].matches('\n').count() as u64 + 1;
    Ok(file.device.into_iter().map(|entry| (line(entry.span().start), entry.into_inner())).collect())
}

fn yaml(text: &str) -> Result<Vec<(u64, Entry)>, String> {
    // In YAML 1.2 `on` and `no` are words.
    let options = serde_saphyr::options! { strict_booleans: true };
    let read = serde_saphyr::from_str_with_options(text, options);
    let file: File<serde_saphyr::Spanned<Entry>> =
        read.map_err(|e| e.to_string().trim_start_matches("error: ").to_owned())?;
    Ok(file.device.into_iter().map(|entry| (entry.referenced.line(), entry.value)).collect())
}

/// `S` is an entry and its place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<S> {
    #[serde(default = "Vec::new")]
    device: Vec<S>,
}

/// One device, or many of a kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) id: String,
    #[serde(default = "one")]
    pub(super) count: u32,
    #[serde(default = "one")]
    pub(super) first: u32,
    #[serde(default)]
    pub(super) edge: bool,
    pub(super) status: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) primary_key: Option<String>,
    pub(super) secondary_key: Option<String>,
    pub(super) tags: Option<Map<String, Value>>,
    pub(super) desired: Option<Map<String, Value>>,
    #[serde(default)]
    pub(super) module: Vec<ModuleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModuleEntry {
    pub(super) id: String,
    pub(super) primary_key: Option<String>,
    pub(super) secondary_key: Option<String>,
    pub(super) tags: Option<Map<String, Value>>,
    pub(super) desired: Option<Map<String, Value>>,
}

fn one() -> u32 {
    1
}
