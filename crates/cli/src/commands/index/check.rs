//! `hua index check`: whether a library is whole.

use std::path::PathBuf;

use clap::Args;
use hua::shown::thousands;

use super::open;
use crate::complaint::Complaint;
use crate::printer::printable;
use crate::session::Session;
use crate::table::counted;

/// Check that a library is whole
///
/// Reads everything: the catalogue, and every vector against its checksum and its copy for the scan. Exit code 1 if anything is wrong.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index check library
  hua index check library --json | jq '.findings[].file'")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// One JSON object: {"items", "rows", "findings": [{"file", "what"}]}
    #[arg(long)]
    json: bool,
}

pub fn run(Arguments { library, json }: Arguments, session: &Session) -> anyhow::Result<()> {
    let report = open(&library)?.check().map_err(hua::Error::from)?;
    if json {
        session.printer.json(&report)?;
    } else {
        for finding in &report.findings {
            session.printer.data(printable(&format!("{}: {}", finding.file, finding.what)))?;
        }
    }
    let (items, rows) = (thousands(report.items), thousands(report.rows));
    session.printer.note(format!("{items} pictures and {rows} vectors in `{}` were looked at", library.display()));
    if report.findings.is_empty() {
        return Ok(());
    }
    let message = format!("`{}` is damaged: {} found", library.display(), counted(report.findings.len(), "fault"));
    Err(Complaint::file(message).hint("index the pictures into a new library, or restore a copy").into())
}
