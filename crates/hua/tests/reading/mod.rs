//! Reads a golden, `golden.safetensors`, and compares a model with it.
use std::path::Path;

use hua_exec::{Batch, Device};
use hua_graph::Graph;
use hua_model::checkpoint::Checkpoint;
use hua_model::{Model, Tower};

/// What the reference computed.
pub struct Golden {
    tensors: Checkpoint,
}

/// How far one value is from the reference's.
#[derive(Debug)]
pub struct Distance {
    /// The golden's name of the value.
    pub tap: String,
    /// Norm of the difference by norm of the reference.
    pub relative: f64,
}

impl Golden {
    /// The golden in that folder.
    pub fn open(folder: &Path) -> Self {
        Self::open_file(&folder.join("golden.safetensors"))
    }

    /// The golden in a file of another name.
    pub fn open_file(path: &Path) -> Self {
        Self { tensors: Checkpoint::open(path).unwrap() }
    }

    /// The numbers of a tensor.
    pub fn values(&self, name: &str) -> Vec<f32> {
        self.tensors.tensor(name).unwrap().to_f32().unwrap().into_owned()
    }

    /// The token ids of each text.
    pub fn ids(&self) -> Vec<Vec<u32>> {
        let integers = |name: &str| -> Vec<u32> {
            let tensor = self.tensors.tensor(name).unwrap();
            tensor.bytes().chunks_exact(8).map(|b| u32::try_from(i64::from_le_bytes(b.try_into().unwrap())).unwrap()).collect()
        };
        let longest = self.tensors.shape("input_ids").unwrap()[1];
        let lengths = integers("lengths");
        integers("input_ids").chunks_exact(longest).zip(lengths).map(|(ids, length)| ids[..length as usize].to_vec()).collect()
    }

    /// Runs both towers on `device` and compares their embeddings and every tap of the golden.
    pub fn compare(&self, model: &Model, device: &dyn Device) -> Vec<Distance> {
        let pixels = self.values("pixel_values");
        let ids = self.ids();
        let mut distances = self.compare_tower(&model.image, "image", &Batch::Images(&pixels), device);
        distances.extend(self.compare_tower(&model.text, "text", &Batch::Ids(&ids), device));
        distances
    }

    fn compare_tower(&self, tower: &Tower, which: &str, batch: &Batch<'_>, device: &dyn Device) -> Vec<Distance> {
        let mut graph = tower.graph.clone();
        let mut taps = vec![(format!("{which}_embeds"), "embedding".to_owned())];
        for name in self.tensors.names().filter(|name| name.starts_with(&format!("{which}."))) {
            let node = node_of(&graph, name).unwrap_or_else(|| panic!("no node for `{name}` in\n{graph}"));
            assert!(graph.output(&node).is_some() || graph.expose(&node), "{node}");
            taps.push((name.to_owned(), node));
        }
        let program = device.load(&graph, &tower.weights).unwrap();
        let outputs: Vec<&str> = taps.iter().map(|(_, node)| node.as_str()).collect();
        let results = program.run(batch, &outputs).unwrap();
        let compared = taps
            .iter()
            .zip(results)
            .map(|((tap, _), rows)| Distance { tap: tap.clone(), relative: relative(&rows.data, &self.values(tap)) });
        compared.collect()
    }
}

/// The node or output that a golden's tap looks at.
fn node_of(graph: &Graph, tap: &str) -> Option<String> {
    let (tower, place) = tap.split_once('.')?;
    let first_of = |names: &[&str]| names.iter().find(|name| graph.find(name).is_some()).map(|name| (*name).to_owned());
    let last_in = |prefix: &str| graph.nodes().iter().rfind(|node| node.name.starts_with(prefix)).map(|node| node.name.clone());
    match (tower, place) {
        (_, "embed") => first_of(&["embed.norm", "embed.embed"]),
        (_, "norm") => first_of(&["final.norm"]),
        ("image", "final") => first_of(&["final.norm", "pool.pick"]),
        ("text", "final") => first_of(&["final.act", "final.pick"]),
        ("image", "stem") => first_of(&["embed.avg_pool"]),
        (_, "last_hidden_state" | "projection_state") => Some(place.to_owned()),
        _ => match place.strip_prefix("layer") {
            Some(stage) => last_in(&format!("stage{stage}.")),
            None => last_in(&format!("{place}.")),
        },
    }
}

/// Norm of the difference by norm of `wanted`.
pub fn relative(found: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut found.iter().zip(wanted).map(|(a, b)| f64::from(*a) - f64::from(*b))) / norm(&mut wanted.iter().map(|b| f64::from(*b)))
}
