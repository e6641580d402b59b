//! What `--help` and `--version` say.

use insta::assert_snapshot;

use crate::Place;

#[test]
fn help_shows_commands_options_and_environment() {
    // clap leaves blanks at the ends of some lines.
    let help = Place::new().hua(&["--help"]).ok();
    assert_snapshot!(help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"), @"
    Search pictures with words of many languages.

    hua puts pictures and words into one space with models of the CLIP, Chinese-CLIP, AltCLIP and Taiyi
    families, so that words find pictures, pictures find pictures, and labels name them. Without a model
    named, a small built-in one answers (en zh es fr ru ja ko ar it).

    Usage: hua [OPTIONS] <COMMAND>

    Commands:
      bench       Measure how fast a model is on this machine
      classify    Choose the label that fits a picture, without training
      convert     Write a model in another layout of its family, or with other numbers
      data        Convert, check and describe data sets of pictures and texts
      embed       Write the vectors of texts and pictures into a file
      eval        Score a model on a data set
      index       Take pictures into a library, and tend it
      inspect     Show what a model is: family, towers, sizes, parameters, cost, preprocessing
      pull        Download a model from Hugging Face or ModelScope
      search      Find the pictures that are nearest to words or to a picture
      similarity  Show the cosines of texts and pictures with each other
      train       Train a model by a recipe, on this machine
      help        Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Options of every command:
      -m, --model <NAME-OR-PATH>
              Model to answer with: a name on a hub (`OFA-Sys/chinese-clip-vit-base-patch16`) or a path;
              default: the built-in one

          --family <FAMILY>
              Read the model as this family (`clip`, `chinese-clip`, `altclip`, `taiyi`) instead of
              recognising it

          --image-from <NAME-OR-PATH>
              Second folder that holds the image tower, for models that publish only the text tower
              (Taiyi)

          --context-length <TOKENS>
              Longest text that is read, tokens; at most what the model has positions for [default: what
              the model was trained with]

          --threads <N>
              Threads to compute with; 0 = all cores

          --device <DEVICE>
              What computes: `cpu` is the fast one, `reference` the slow definition that the fast one is
              tested against

              [possible values: cpu, reference]

          --precision <PRECISION>
              Which numbers weights are kept in: `f32`, `bf16`, `int8`, or `auto`, the faster of f32 and
              bf16 on this machine [default: f32]

          --compat
              Match the original Python code where hua does better: ignores EXIF orientation, keeps
              cn_clip's resize and tokenizer rules

          --shrink-on-load
              Decode JPEGs far larger than the model's input at a half, a quarter or an eighth of their
              size (libjpeg's DCT scaling): nearly twice as quick, for slightly other vectors

      -q, --quiet
              No notes and no progress on stderr, only warnings and errors

          --color <WHEN>
              When to colour

              [default: auto]
              [possible values: always, auto, never]

    Environment (a flag wins over a variable):
      HUA_MODEL             model to answer with: a name on a hub or a path (as --model)
      HUA_FAMILY            family to read the model as (as --family)
      HUA_THREADS           threads to compute with, 0 = all cores (as --threads)
      HUA_DEVICE            `cpu` or `reference` (as --device)
      HUA_PRECISION         `f32`, `bf16`, `int8` or `auto` (as --precision)
      HUA_PACKED            when packed weights are kept: `auto` (bf16 and int8), `always`, `off`
      HUA_ISA               instruction set: avx512, avx2, neon or scalar; default: the best there is
      HUA_CACHE             folder of vectors and packed weights; default: `hua` in the user's caches
      XDG_CACHE_HOME        the user's cache folder; default: `~/.cache`
      NO_COLOR              any value but an empty one: no colour, unless --color says otherwise
      HF_ENDPOINT           address of the Hugging Face hub or of a mirror
      HF_HOME               folder of the Hugging Face cache and token
      HF_HUB_CACHE          folder of downloaded models, if not `hub` in HF_HOME
      HF_HUB_OFFLINE        1: never use the network
      HF_TOKEN              access token for models that need one
      MODELSCOPE_ENDPOINT   address of ModelScope
      MODELSCOPE_CACHE      folder of the ModelScope cache
      MODELSCOPE_API_TOKEN  access token of ModelScope
      SSL_CERT_FILE         certificate authorities to trust instead of the built-in ones, a PEM file
      HTTPS_PROXY           proxy for downloads; also ALL_PROXY, HTTP_PROXY, NO_PROXY

    Exit codes: 0 done, 1 a file or this program failed, 2 the call was wrong.
    ");
}

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    for command in ["classify", "convert", "embed", "index", "inspect", "pull", "search", "similarity"] {
        let help = place.hua(&["help", command]).ok();
        assert!(help.contains("Examples:\n  hua ") || help.contains("Examples:\n  echo "), "{command}: {help}");
        assert_eq!(help, place.hua(&[command, "--help"]).ok());
    }
    assert!(place.hua(&["eval", "retrieval", "--help"]).ok().contains("Examples:\n  hua eval retrieval"));
}

#[test]
fn version_is_the_crates() {
    assert_eq!(Place::new().hua(&["--version"]).ok(), concat!("hua ", env!("CARGO_PKG_VERSION"), "\n"));
}
