//! Loss and gradients of one training step are transformers' and torch's (`tests/golden/gradients`), and the towers of every family have the
//! gradients that their embeddings have.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "tests, which tell how near they came")]
#[allow(dead_code, reason = "comparing taps is for other tests")]
mod reading;

use std::path::{Path, PathBuf};

use hua_exec::{Batch, Cpu, Reference, Rows, Trainable, Training, TrainingOptions};
use hua_graph::{Graph, Regularisation, for_training};
use hua_model::checkpoint::Checkpoint;
use hua_model::{Model, OpenOptions, Tower};
use reading::{Golden, relative};

/// How far the gradient of a parameter may be from torch's: norm of the difference by norm of torch's.
const TOLERANCE: f64 = 1e-4;
/// And by the norm of all gradients of the tower, for those that are 0 but for rounding (the bias of keys changes no softmax).
const FLOOR: f64 = 1e-7;
/// How far a change of the embeddings may be from what the gradient says, by the greatest that a step of its length makes. Embeddings come in
/// f32; what is curved, and every ReLU that changes sides, adds its part.
const SLOPE: f64 = 1e-3;
/// The greatest change that is made; and the greatest step, in the space of all parameters.
const CHANGE: f64 = 0.03;
const STEP: f64 = 1e-3;

fn devices() -> Vec<Box<dyn Trainable>> {
    vec![Box::new(Reference), Box::new(Cpu { threads: 1, ..Cpu::default() })]
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(path)
}

fn open(folder: &Path) -> Model {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|e| e == "pt")).unwrap_or(folder.to_owned());
    Model::open(file, &OpenOptions::default()).unwrap()
}

fn params(tower: &Tower) -> Vec<Vec<f32>> {
    tower.weights.tensors().iter().map(|t| t.to_f32().unwrap().into_owned()).collect()
}

fn load(device: &dyn Trainable, graph: &Graph, params: &[Vec<f32>]) -> Box<dyn Training> {
    let params: Vec<_> = params.iter().map(Vec::as_slice).collect();
    device.load_training(graph, &params, &TrainingOptions::all(graph)).unwrap()
}

/// Embeddings of a batch and all gradients of a loss whose gradient with respect to them is `d`.
fn step(training: &mut dyn Training, graph: &Graph, batch: &Batch<'_>, count: usize, d: &[f32]) -> (Rows, Vec<Vec<f32>>) {
    let (rows, tape) = training.forward(batch, &vec![1; count]).unwrap();
    let mut gradients = TrainingOptions::all(graph).gradients(graph);
    training.backward(tape, d, &mut gradients).unwrap();
    (rows, gradients)
}

fn norm(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// The parameters whose gradients are not the golden's.
fn wrong(what: &str, graph: &Graph, found: &[Vec<f32>], golden: &[Vec<f32>]) -> Vec<String> {
    let all = golden.iter().map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
    let mut wrong = vec![];
    let mut worst = 0.0f64;
    for ((spec, found), golden) in graph.params().iter().zip(found).zip(golden) {
        let difference: Vec<f32> = found.iter().zip(golden).map(|(a, b)| a - b).collect();
        let far = norm(&difference) / (norm(golden) + all * FLOOR / TOLERANCE);
        worst = worst.max(far);
        if far.is_nan() || far > TOLERANCE || found.len() != golden.len() {
            wrong.push(format!("{what}: `{}` is off by {far:e}", spec.name));
        }
    }
    println!("{what}: gradients are off by {worst:.1e} at most");
    wrong
}

/// CLIP's loss of normalised features (Radford et al., 2021) and its gradients with respect to the features and the logarithm of the scale, in f64.
/// Features are `[n, width]`.
fn clip_loss(image: &[f32], text: &[f32], n: usize, log_scale: f64) -> (f64, [Vec<f32>; 2], f64) {
    let width = image.len() / n;
    let unit = |x: &[f32]| -> Vec<f64> {
        x.chunks_exact(width).flat_map(|row| row.iter().map(|&x| f64::from(x) / norm(row)).collect::<Vec<_>>()).collect()
    };
    let (u, v) = (unit(image), unit(text));
    let at = |x: &[f64], i: usize| x[i * width..(i + 1) * width].to_vec();
    let cosine = |i: usize, j: usize| at(&u, i).iter().zip(at(&v, j)).map(|(a, b)| a * b).sum::<f64>();
    let logit = |i, j| log_scale.exp() * cosine(i, j);
    let (mut loss, mut d_scale) = (0.0, 0.0);
    let (mut du, mut dv) = (vec![0.0; u.len()], vec![0.0; v.len()]);
    for i in 0..n {
        for j in 0..n {
            let of_row = logit(i, j).exp() / (0..n).map(|k| logit(i, k).exp()).sum::<f64>();
            let of_column = logit(i, j).exp() / (0..n).map(|k| logit(k, j).exp()).sum::<f64>();
            let right = if i == j { 1.0 } else { 0.0 };
            loss -= right * (of_row.ln() + of_column.ln()) / (2 * n) as f64;
            let d = (of_row + of_column - 2.0 * right) / (2 * n) as f64;
            d_scale += d * logit(i, j);
            for k in 0..width {
                du[i * width + k] += d * log_scale.exp() * v[j * width + k];
                dv[j * width + k] += d * log_scale.exp() * u[i * width + k];
            }
        }
    }
    // Through the division by the length.
    let through = |x: &[f32], unit: &[f64], d: &[f64]| -> Vec<f32> {
        let row = |i: usize| {
            let (u, d) = (at(unit, i), at(d, i));
            let along: f64 = u.iter().zip(&d).map(|(u, d)| u * d).sum();
            let length = norm(&x[i * width..(i + 1) * width]);
            u.into_iter().zip(d).map(move |(u, d)| ((d - u * along) / length) as f32)
        };
        (0..n).flat_map(row).collect()
    };
    (loss, [through(image, &u, &du), through(text, &v, &dv)], d_scale)
}

/// The first batch of a golden: pixels, and ids of the real lengths.
fn first_batch(step: &Checkpoint) -> (Vec<f32>, Vec<Vec<u32>>) {
    let integers = |name: &str| -> Vec<usize> {
        step.tensor(name).unwrap().bytes().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize).collect()
    };
    let [batches, pairs, longest] = step.shape("input_ids").unwrap()[..] else { panic!("three dimensions") };
    let padded = integers("input_ids");
    let ids = padded.chunks_exact(longest).zip(integers("lengths")).take(pairs);
    let pixels = step.tensor("pixel_values").unwrap().to_f32().unwrap().into_owned();
    let ids = ids.map(|(ids, length)| ids[..length].iter().map(|&id| id as u32).collect()).collect();
    (pixels[..pixels.len() / batches].to_vec(), ids)
}

fn check_golden(name: &str) {
    let (model, golden) = (open(&root("models").join(name)), open(&root("gradients").join(name)));
    let run: serde_json::Value = serde_json::from_slice(&std::fs::read(root("gradients").join(name).join("run.json")).unwrap()).unwrap();
    let tensors = Checkpoint::open(&root("gradients").join(name).join("step.safetensors")).unwrap();
    let values = |name: &str| tensors.tensor(name).unwrap().to_f32().unwrap().into_owned();
    let (pixels, ids) = first_batch(&tensors);
    let towers = [(&model.image, &golden.image, Batch::Images(&pixels), "image"), (&model.text, &golden.text, Batch::Ids(&ids), "text")];
    for device in devices() {
        let mut trainings = towers.map(|(tower, ..)| load(&*device, &tower.graph, &params(tower)));
        let [image, text] = [0, 1].map(|i| trainings[i].forward_only(&towers[i].2, &vec![1; ids.len()]).unwrap().data);
        let (loss, d, d_scale) = clip_loss(&image, &text, ids.len(), model.logit_scale().into());
        let wanted = run["loss"].as_f64().unwrap();
        println!("{name} by {device:?}: loss {loss}, torch's {wanted}");
        assert!((loss - wanted).abs() <= TOLERANCE * wanted, "{name} by {device:?}: loss {loss}, torch's {wanted}");
        assert!((d_scale / f64::from(golden.logit_scale()) - 1.0).abs() <= TOLERANCE, "{d_scale}, torch's {}", golden.logit_scale());
        let mut all = vec![];
        for (((tower, golden, batch, which), training), d) in towers.iter().zip(&mut trainings).zip(&d) {
            let off = relative(d, &values(&format!("d_{which}_embeds")));
            assert!(off <= TOLERANCE, "{name}: the gradient of {which} features is off by {off:e}");
            let (rows, gradients) = step(&mut **training, &tower.graph, batch, ids.len(), d);
            assert!(relative(&rows.data, &values(&format!("{which}_embeds"))) <= 1e-5);
            // What no embedding needs has no gradient here and is not in the file: nothing is left out of the comparison.
            all.extend(wrong(&format!("{name} {which} by {device:?}"), &tower.graph, &gradients, &params(golden)));
        }
        assert!(all.is_empty(), "{}", all.join("\n"));
    }
}

#[test]
fn loss_and_gradients_of_altclip_are_those_of_torch() {
    check_golden("altclip-hf");
}

#[test]
fn loss_and_gradients_of_chinese_clip_are_those_of_torch() {
    check_golden("chinese-clip-hf");
}

/// SplitMix64's numbers from -1 to 1.
fn random(seed: u64, n: usize) -> Vec<f32> {
    let number = |i: usize| {
        let z = (seed.wrapping_mul(1_000_003).wrapping_add(i as u64 + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(number).collect()
}

/// Along directions in the space of all parameters, embeddings change as the gradients say: along the gradient itself, and two random ones. And
/// every trained parameter that embeddings need has a gradient.
fn check_tower(what: &str, tower: &Tower, graph: &Graph, batch: &Batch<'_>, count: usize) {
    let params = params(tower);
    let mut training = load(&Reference, graph, &params);
    let seeds = vec![1; count];
    let d = random(5, training.forward_only(batch, &seeds).unwrap().data.len());
    let (_, gradients) = step(&mut *training, graph, batch, count, &d);

    let needed = graph.needed(&[graph.output("embedding").unwrap()]);
    let used: Vec<_> = graph.nodes().iter().zip(needed).filter(|(_, needed)| *needed).flat_map(|(n, _)| n.op.params()).collect();
    for (i, (spec, gradient)) in graph.params().iter().zip(&gradients).enumerate() {
        let wanted = spec.trained && used.iter().any(|p| p.index() == i);
        assert_eq!(gradient.iter().any(|&g| g != 0.0), wanted, "{what}: `{}`", spec.name);
    }

    let greatest = gradients.iter().map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
    for which in 0..3 {
        let size = |i: usize| if graph.params()[i].trained { params[i].len() } else { 0 };
        let direction: Vec<Vec<f32>> =
            (0..params.len()).map(|i| if which == 0 { gradients[i].clone() } else { random(which * 1000 + i as u64, size(i)) }).collect();
        let length = direction.iter().map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
        let step = STEP.min(CHANGE / greatest) / length;
        let mut moved = |by: f64| -> (Vec<Vec<f32>>, f64) {
            let one = |(p, d): (&Vec<f32>, &Vec<f32>)| -> Vec<f32> {
                let by = |i: usize| d.get(i).map_or(0.0, |&d| by * f64::from(d));
                p.iter().enumerate().map(|(i, &x)| (f64::from(x) + by(i)) as f32).collect()
            };
            let moved: Vec<Vec<f32>> = params.iter().zip(&direction).map(one).collect();
            training.set_params(&moved.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let rows = training.forward_only(batch, &seeds).unwrap();
            (moved, rows.data.iter().zip(&d).map(|(&x, &d)| f64::from(x) * f64::from(d)).sum())
        };
        let ((there, after), (back, before)) = (moved(step), moved(-step));
        // With the steps that were made, which f32 has rounded.
        let made: Vec<f64> = there.iter().flatten().zip(back.iter().flatten()).map(|(&a, &b)| f64::from(a) - f64::from(b)).collect();
        let all = gradients.iter().zip(&params).flat_map(|(g, p)| (0..p.len()).map(|i| g.get(i).map_or(0.0, |&g| f64::from(g))));
        let said: f64 = all.zip(&made).map(|(g, d)| g * d).sum();
        let far = made.iter().map(|d| d * d).sum::<f64>().sqrt();
        let off = (after - before - said).abs() / (greatest * far);
        assert!(off <= SLOPE, "{what}: a change of {}, by the gradients {said}: off by {off:e}", after - before);
    }
}

#[test]
fn towers_of_every_family_have_the_gradients_that_their_embeddings_have() {
    let regularisation = Regularisation { dropout: 0.2, keep_tokens: 0.6 };
    let mut folders: Vec<_> = std::fs::read_dir(root("models")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 17, "{folders:?}");
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let (model, golden) = (open(&folder), Golden::open(&folder));
        let (pixels, ids) = (golden.values("pixel_values"), golden.ids());
        for (which, tower, batch, count) in
            [("image", &model.image, Batch::Images(&pixels), 2), ("text", &model.text, Batch::Ids(&ids), ids.len())]
        {
            check_tower(&format!("{name} {which}"), tower, &tower.graph, &batch, count);
            let graph = for_training(&tower.graph, &regularisation).unwrap();
            check_tower(&format!("{name} {which}, regularised"), tower, &graph, &batch, count);
        }
    }
}
