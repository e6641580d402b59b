//! `hua pull`: a model from a hub into the cache that Python's programs share.

use clap::Args;
use hua::hub::{self, Progress};
use hua::shown::thousands;

use crate::complaint::Complaint;
use crate::progress::{Bar, Unit};
use crate::session::Session;

/// Download a model from Hugging Face or ModelScope
///
/// Takes what hua reads (one form of the weights, configuration, tokenizer, licence) into the hub's own cache, so that Python's programs find
/// it there too and nothing is stored twice. A pull that was cut goes on where it stopped; every file's checksum is compared. The folder
/// is printed on stdout. HF_ENDPOINT names a mirror; commands other than this one never use the network.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua pull chinese-clip-vit-b-16
  hua pull hf:BAAI/AltCLIP-m9 --revision main
  hua pull ms:iic/multi-modal_clip-vit-base-patch16_zh
  hua search --model \"$(hua pull OFA-Sys/chinese-clip-vit-base-patch16)\" ~/Pictures 猫")]
pub struct Arguments {
    /// `owner/name`, with `hf:` or `ms:` before it to name the hub, `@revision` behind; or a short name of a published model
    #[arg(value_name = "NAME")]
    name: String,
    /// Branch, tag or commit
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// Take the files that match this pattern instead of choosing; repeatable
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { name, revision, include } = arguments;
    let name = match revision {
        Some(_) if name.contains('@') => {
            return Err(Complaint::caller(format!("`{name}` names a revision already, and so does `--revision`")).into());
        }
        Some(revision) => format!("{name}@{revision}"),
        None => name,
    };
    let bar = Bar::new(&session.printer, Unit::Bytes);
    let mut files = Files { session, bar, current: String::new(), done: 0 };
    let pulled = hub::pull(&name, &hub::Settings::from_env(), &include, &mut |progress| files.tell(&progress)).map_err(hua::Error::from)?;
    drop(files);
    let how_much = if pulled.downloaded == 0 {
        "everything was here".to_owned()
    } else {
        format!("{} bytes downloaded", thousands(pulled.downloaded))
    };
    session.printer.note(format!("{}: {how_much}", pulled.name));
    Ok(session.printer.data(pulled.folder.display())?)
}

/// A bar for the file that comes in.
struct Files<'a> {
    session: &'a Session,
    bar: Bar,
    current: String,
    done: u64,
}

impl Files<'_> {
    fn tell(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Bytes { file, done, size } => {
                if self.current != *file || *done < self.done {
                    self.bar.begin(file, *size);
                    self.current = (*file).to_owned();
                    self.done = 0;
                }
                self.bar.step(done - self.done);
                self.done = *done;
            }
            Progress::Finished { file, size, fresh } => {
                self.bar.end();
                let verb = if *fresh { "pulled" } else { "have" };
                self.session.printer.note(format!("{verb} {file} ({} bytes)", thousands(*size)));
            }
            Progress::Planned { files, bytes } => {
                self.session.printer.note(format!("{files} files, {} bytes", thousands(*bytes)));
            }
            Progress::Repeating { file, reason, pause } => {
                self.bar.end();
                self.current.clear();
                self.session.printer.warning(format!("{file}: {reason}; again in {:.1} s", pause.as_secs_f32()));
            }
            Progress::Waiting { file } => self.session.printer.note(format!("another process downloads {file}; waiting for it")),
            _ => {}
        }
    }
}
