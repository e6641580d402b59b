//! `hua inspect`: what a model is, what it costs, and what it computes.

use clap::Args;
use hua::graph::Graph;
use hua::image::{Geometry, Preprocess};
use hua::model::{ImageTower, Preset, TextTower, TokenizerKind, preset, presets};
use hua::shown::thousands;
use hua::{Embedder, hub};
use serde::Serialize;

use crate::session::Session;
use crate::table::{Align, Table, with_prefix};

/// Length of a usual text, tokens: what the cost of texts is told for, beside the longest.
const USUAL_TEXT: usize = 16;

/// Show what a model is: family, towers, sizes, parameters, cost, preprocessing
///
/// FLOPs are those of the matrix products for one picture or text, two for a multiply and an add; memory is that of the weights as they
/// are stored. Without a model the built-in one is shown; the name of a published model shows its sizes even if its files are not here.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua inspect
  hua inspect chinese-clip-vit-b-16
  hua inspect ./altclip --graph
  hua inspect --presets")]
pub struct Arguments {
    /// A name on a hub, a path, or the name of a published model; default: what `--model` says, or the built-in one
    #[arg(value_name = "MODEL")]
    name: Option<String>,
    /// Show every step of both towers
    #[arg(long)]
    graph: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// List the published models whose sizes are known
    #[arg(long, conflicts_with_all = ["name", "graph"])]
    presets: bool,
}

/// What is shown.
#[derive(Serialize)]
struct Report {
    name: String,
    family: String,
    /// How its file names its tensors; of a preset, where it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    layout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    image: ImageTower,
    text: TextTower,
    embedding_width: usize,
    context_length: usize,
    parameters: Parameters,
    flops: Flops,
    /// Bytes of the weights, as stored; of a preset, in f32.
    weight_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    preprocessing: Option<Preprocess>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenizer: Option<TokenizerKind>,
    text_outputs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logit_scale: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    graphs: Option<Graphs>,
}

#[derive(Serialize)]
struct Parameters {
    image: u64,
    text: u64,
    /// With the logit scale.
    total: u64,
}

#[derive(Serialize)]
struct Flops {
    image: u64,
    text_16_tokens: u64,
    text_longest: u64,
}

/// The towers as text.
#[derive(Serialize)]
struct Graphs {
    image: String,
    text: String,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { name, graph, json, presets, .. } = arguments;
    if presets {
        return list_presets(session, json);
    }
    let name = name.or_else(|| session.settings.model.clone());
    let options = session.open_options()?;
    let report = match name {
        None => of_model(&Embedder::embedded(&options)?, graph),
        Some(name) => match (hub::resolve(&name, &options.hub), published(&name)) {
            (Err(_), Some(preset)) => {
                session.printer.note(format!("the files of `{name}` are not here; these are its published sizes"));
                of_preset(preset, graph)?
            }
            (Err(error), None) => {
                let names: Vec<&str> = hua::model::presets().iter().map(|preset| preset.name.as_str()).collect();
                session.printer.note(format!("published models whose sizes are known: {}", names.join(", ")));
                return Err(hua::Error::from(error).into());
            }
            (Ok(_), _) => of_model(&Embedder::open_with(&name, &options)?, graph),
        },
    };
    if json {
        return session.printer.json_pretty(&report);
    }
    session.printer.data(describe(&report))?;
    if let Some(graphs) = &report.graphs {
        for (title, graph) in [("image tower", &graphs.image), ("text tower", &graphs.text)] {
            session.printer.data("")?;
            session.printer.heading(title)?;
            session.printer.data(graph.trim_end())?;
        }
    }
    Ok(())
}

/// The published model of that name, of its name here or on the hub.
fn published(name: &str) -> Option<&'static Preset> {
    let on_hub = || {
        let id = name.parse::<hub::ModelName>().ok()?.id();
        presets().iter().find(|preset| preset.source == id)
    };
    preset(name).or_else(on_hub)
}

fn of_model(embedder: &Embedder, graph: bool) -> Report {
    let (spec, model) = (embedder.spec(), embedder.model());
    let tensors = model.image.weights.tensors().iter().chain(model.text.weights.tensors());
    Report {
        layout: Some(spec.layout.clone()),
        source: None,
        weight_bytes: tensors.map(|tensor| tensor.bytes().len() as u64).sum(),
        preprocessing: Some(*embedder.preprocess()),
        tokenizer: Some(spec.tokenizer.kind),
        logit_scale: Some(embedder.logit_scale()),
        fingerprint: Some(spec.fingerprint.clone()),
        ..report(
            Sizes {
                name: embedder.name(),
                family: &spec.family,
                towers: (&spec.image, &spec.text),
                graphs: (&model.image.graph, &model.text.graph),
                context_length: spec.context_length,
            },
            graph,
        )
    }
}

fn of_preset(preset: &Preset, graph: bool) -> anyhow::Result<Report> {
    let (image, text) = preset.graphs()?;
    let report = report(
        Sizes {
            name: &preset.name,
            family: &preset.family,
            towers: (&preset.image, &preset.text),
            graphs: (&image, &text),
            context_length: preset.context_length,
        },
        graph,
    );
    Ok(Report { source: Some(preset.source.clone()), ..report })
}

/// What models and presets have in common.
struct Sizes<'a> {
    name: &'a str,
    family: &'a str,
    towers: (&'a ImageTower, &'a TextTower),
    graphs: (&'a Graph, &'a Graph),
    context_length: usize,
}

fn report(sizes: Sizes<'_>, graph: bool) -> Report {
    let (image, text) = sizes.graphs;
    let parameters = (image.parameter_count(), text.parameter_count());
    let total = parameters.0 + parameters.1 + 1;
    Report {
        name: sizes.name.to_owned(),
        family: sizes.family.to_owned(),
        layout: None,
        source: None,
        image: sizes.towers.0.clone(),
        text: sizes.towers.1.clone(),
        embedding_width: sizes.towers.0.embedding_width(),
        context_length: sizes.context_length,
        parameters: Parameters { image: parameters.0, text: parameters.1, total },
        flops: Flops {
            image: image.flops("embedding", 0),
            text_16_tokens: text.flops("embedding", USUAL_TEXT.min(sizes.context_length)),
            text_longest: text.flops("embedding", sizes.context_length),
        },
        weight_bytes: total * 4,
        preprocessing: None,
        tokenizer: None,
        text_outputs: text.outputs().iter().map(|output| output.name.clone()).collect(),
        logit_scale: None,
        fingerprint: None,
        graphs: graph.then(|| Graphs { image: image.to_string(), text: text.to_string() }),
    }
}

fn describe(report: &Report) -> Table {
    let mut table = Table::plain(&[Align::Left, Align::Left]);
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("model", report.name.clone());
    row("family", report.family.clone());
    for (what, value) in [("files", &report.layout), ("published as", &report.source)] {
        if let Some(value) = value {
            row(what, value.clone());
        }
    }
    row("image tower", describe_image(&report.image));
    row("text tower", describe_text(&report.text));
    row("embedding", format!("{} numbers", report.embedding_width));
    row("longest text", format!("{} tokens", report.context_length));
    let Parameters { image, text, total } = report.parameters;
    row("parameters", format!("{} (image {}, text {}, scale 1)", thousands(total), thousands(image), thousands(text)));
    let Flops { image, text_16_tokens, text_longest } = report.flops;
    let longest = report.context_length;
    row("one picture", format!("{}FLOP", with_prefix(image)));
    let usual = USUAL_TEXT.min(longest);
    row("one text", format!("{}FLOP of {usual} tokens, {}FLOP of {longest}", with_prefix(text_16_tokens), with_prefix(text_longest)));
    row("weights", format!("{}B", with_prefix(report.weight_bytes)));
    if let Some(preprocessing) = &report.preprocessing {
        row("pictures", describe_preprocessing(preprocessing));
    }
    if let Some(tokenizer) = report.tokenizer {
        let name = match tokenizer {
            TokenizerKind::ClipBpe => "CLIP's byte-pair encoding",
            TokenizerKind::Unigram => "SentencePiece unigram",
            TokenizerKind::WordPiece => "WordPiece",
        };
        row("tokenizer", format!("{name}, {} ids", thousands(report.text.vocabulary() as u64)));
    }
    row("text outputs", report.text_outputs.join(", "));
    if let Some(scale) = report.logit_scale {
        row("scale", format!("{scale:.2}"));
    }
    if let Some(fingerprint) = &report.fingerprint {
        row("fingerprint", fingerprint.clone());
    }
    table
}

fn describe_image(tower: &ImageTower) -> String {
    match tower {
        ImageTower::ResNet(sizes) => {
            let blocks: Vec<String> = sizes.layers.iter().map(ToString::to_string).collect();
            format!("ResNet, {0}×{0} pixels, blocks {1}, width {2}", sizes.image_size, blocks.join("+"), sizes.width)
        }
        ImageTower::Vit(sizes) => format!(
            "ViT, {0}×{0} pixels, patches of {1}, {2} layers, width {3}, {4} heads",
            sizes.image_size, sizes.patch, sizes.layers, sizes.width, sizes.heads
        ),
    }
}

fn describe_text(tower: &TextTower) -> String {
    match tower {
        TextTower::Bert(sizes) => format!("BERT, {} layers, width {}, {} heads", sizes.layers, sizes.width, sizes.heads),
        TextTower::Clip(sizes) => format!("CLIP, {} layers, width {}, {} heads", sizes.layers, sizes.width, sizes.heads),
    }
}

fn describe_preprocessing(preprocess: &Preprocess) -> String {
    let filter = format!("{:?}", preprocess.filter).to_lowercase();
    let mut text = match preprocess.geometry {
        Geometry::Crop(size) => format!("the middle {}×{}", size.width, size.height),
        Geometry::ShortestEdge { edge, crop } => {
            format!("shorter side to {edge} ({filter}), then the middle {}×{}", crop.width, crop.height)
        }
        Geometry::Squash { to, crop } if to == crop => format!("squashed to {}×{} ({filter})", to.width, to.height),
        Geometry::Squash { to, crop } => {
            format!("squashed to {}×{} ({filter}), then the middle {}×{}", to.width, to.height, crop.width, crop.height)
        }
    };
    if let Some(normalize) = preprocess.normalize {
        let list = |values: [f64; 3]| values.map(|value| format!("{value:.3}")).join(" ");
        text.push_str(&format!(", mean {}, deviation {}", list(normalize.mean), list(normalize.std)));
    }
    text
}

fn list_presets(session: &Session, json: bool) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        name: &'a str,
        family: &'a str,
        parameters: u64,
        source: &'a str,
    }
    let rows = presets().iter().map(|p| Row { name: &p.name, family: &p.family, parameters: p.parameters, source: &p.source });
    if json {
        return session.printer.json_pretty(&rows.collect::<Vec<_>>());
    }
    let left = |title| (title, Align::Left);
    let mut table = Table::titled(&[left("name"), left("family"), ("parameters", Align::Right), left("published as")]);
    for row in rows {
        table.row([row.name.to_owned(), row.family.to_owned(), thousands(row.parameters), row.source.to_owned()]);
    }
    Ok(session.printer.data(table)?)
}
