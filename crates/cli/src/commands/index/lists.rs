//! How files that list pictures are read, for the commands that read them.

use clap::Args;
use hua::data::{Columns, Options};

#[derive(Args)]
#[command(next_help_heading = "Lists and archives")]
pub struct Lists {
    /// The column of tables that holds paths of pictures, if its name does not tell
    #[arg(long, value_name = "NAME")]
    path_column: Option<String>,
    /// The column of tables that holds the bytes of pictures
    #[arg(long, value_name = "NAME")]
    bytes_column: Option<String>,
    /// A column of tables that holds captions; repeatable
    #[arg(long = "caption-column", value_name = "NAME")]
    caption_columns: Vec<String>,
    /// Of Chinese-CLIP's data sets, this split only
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Tag each picture with the folder below DIR that it lies in
    #[arg(long)]
    folders_are_tags: bool,
    /// Do not look for captions and facts in files beside a picture (`name.txt`, `name.json`)
    #[arg(long)]
    no_sidecars: bool,
}

impl Lists {
    /// As the library takes them.
    pub fn options(self) -> Options {
        Options {
            sidecars: !self.no_sidecars,
            folders_are_tags: self.folders_are_tags,
            columns: Columns { path: self.path_column, bytes: self.bytes_column, captions: self.caption_columns },
            split: self.split,
            ..Options::default()
        }
    }
}
