//! The optimiser against PyTorch's numbers, and against itself with other numbers of threads.
#![allow(clippy::unwrap_used, reason = "tests")]
use std::path::{Path, PathBuf};

use hua_model::checkpoint::Checkpoint;
use hua_model::{Model, OpenOptions};
use hua_train::optim::{Average, Group, Norm, Optimiser, groups, norm, scale};
use hua_train::recipe::{Decay, NoDecay, OptimKind, OptimSection, TowerSection};
use hua_train::schedule::Schedule;
use hua_train::{Grads, ParamSet};
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn twenty_steps_with_given_gradients_end_where_pytorch_ends() {
    let file = Checkpoint::open(&golden("optim/adamw.safetensors")).unwrap();
    let read = |name: &str| file.tensor(name).unwrap().to_f32().unwrap().into_owned();
    let settings: Value = serde_json::from_slice(&std::fs::read(golden("optim/adamw.json")).unwrap()).unwrap();
    let shapes: Vec<Vec<usize>> = serde_json::from_value(settings["shapes"].clone()).unwrap();
    let steps = settings["steps"].as_u64().unwrap();
    for (name, run) in settings["runs"].as_object().unwrap() {
        let mut set = ParamSet::new("extra");
        for (i, shape) in shapes.iter().enumerate() {
            set.push(&i.to_string(), shape.clone(), read(&format!("start.{i}")), true);
        }
        let mut sets = [set];
        let orthogonal = run["kind"] == "muon";
        let of = |i: usize| Group {
            decays: run["decays"][i] == 1,
            lr_factor: number(&run["factors"][i]),
            orthogonal: orthogonal && shapes[i].len() == 2,
        };
        let groups = vec![(0..shapes.len()).map(of).collect::<Vec<_>>()];
        let section = OptimSection {
            beta1: number(&run["betas"][0]),
            beta2: number(&run["betas"][1]),
            eps: number(&run["eps"]),
            weight_decay: number(&run["weight_decay"]),
            ..OptimSection::default()
        };
        let warmup = run["warmup"].as_u64().unwrap();
        let schedule = Schedule { peak: number(&run["lr"]), warmup, total: steps, decay: Decay::Cosine, final_share: 0.0 };
        let mut optimiser = Optimiser::new(&section, &sets, groups);
        for step in 0..steps {
            let mut grads = Grads::zeros(&sets);
            for (i, grad) in grads.set(0).iter_mut().enumerate() {
                let all = read(&format!("grads.{i}"));
                let len = grad.len();
                grad.copy_from_slice(&all[step as usize * len..][..len]);
            }
            let Norm::Finite(norm) = norm(&sets, &grads) else { panic!("golden gradients are finite") };
            scale(&mut grads, norm, number(&run["clip"]));
            optimiser.update(&mut sets, &grads, schedule.lr(step));
        }
        for (i, values) in sets[0].values.iter().enumerate() {
            for (found, wanted) in values.iter().zip(read(&format!("{name}.{i}"))) {
                assert!((found - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "{name}.{i}: {found} {wanted}");
            }
        }
    }
}

/// Parameters of several pieces, small ones among them, and frozen ones.
fn many() -> (Vec<ParamSet>, Grads) {
    let mut sets = [ParamSet::new("image"), ParamSet::new("text")];
    let mut grads = Grads::default();
    for (s, set) in sets.iter_mut().enumerate() {
        let mut of_set = vec![];
        for (i, len) in [40_000usize, 3, 1, 16_384, 16_385].into_iter().enumerate() {
            let wave = |k: usize, phase: f32| ((k * 7 + s * 3 + i) as f32 * 0.37 + phase).sin();
            set.push(
                &format!("p{i}"),
                if i == 0 { vec![len / 100, 100] } else { vec![len] },
                (0..len).map(|k| wave(k, 0.0)).collect(),
                i != 1,
            );
            of_set.push(if i == 1 { vec![] } else { (0..len).map(|k| 3.0 * wave(k, 1.0)).collect() });
        }
        grads.0.push(of_set);
    }
    (sets.into(), grads)
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        let (mut sets, mut grads) = many();
        let orthogonal = |i: usize| i == 0;
        let of = |i: usize| Group { decays: true, lr_factor: 1.0, orthogonal: orthogonal(i) };
        let groups = vec![(0..5).map(of).collect::<Vec<_>>(); 2];
        let (mut optimiser, mut average) = (Optimiser::new(&OptimSection::default(), &sets, groups), Average::new(0.9, &sets));
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            for _ in 0..3 {
                let Norm::Finite(found) = norm(&sets, &grads) else { panic!("finite") };
                scale(&mut grads, found, 1.0);
                optimiser.update(&mut sets, &grads, 1e-2);
                average.update(&sets);
            }
            (sets, optimiser, average)
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
    let before = many().0;
    assert_eq!(one.0[0].values[1], before[0].values[1], "frozen");
    assert!(one.0[0].values[0].iter().zip(&before[0].values[0]).all(|(now, then)| now != then), "trained");
}

#[test]
fn a_tower_that_is_locked_for_now_begins_afresh_when_it_is_unlocked() {
    let (mut sets, mut grads) = many();
    let groups = vec![vec![Group { decays: true, lr_factor: 1.0, orthogonal: false }; 5]; 2];
    let mut optimiser = Optimiser::new(&OptimSection::default(), &sets, groups);
    let of_text = std::mem::replace(&mut grads.0[1], vec![vec![]; 5]);
    let before = sets[1].clone();
    for _ in 0..7 {
        optimiser.update(&mut sets, &grads, 1e-3);
    }
    assert_eq!((&sets[1], &optimiser.updates), (&before, &vec![7, 0]));
    grads.0[1] = of_text;
    optimiser.update(&mut sets, &grads, 1e-3);
    // The first update of a number goes as far as the learning rate, whatever its gradient.
    let (now, then) = (sets[1].values[2][0], before.values[2][0] * (1.0 - 1e-3 * 0.01));
    assert!(((now - then).abs() - 1e-3).abs() < 1e-5, "{now} {then}");
}

#[test]
fn a_gradient_that_is_no_number_is_named() {
    let (sets, mut grads) = many();
    grads.0[1][3][16_383] = f32::NAN;
    assert_eq!(norm(&sets, &grads), Norm::NotFinite("text.p3".to_owned()));
    grads.0[0][0][0] = f32::INFINITY;
    assert_eq!(norm(&sets, &grads), Norm::NotFinite("image.p0".to_owned()));
    // Its square would be infinite in single precision.
    let (sets, mut grads) = many();
    grads.0[0][0][0] = 1e30;
    assert!(matches!(norm(&sets, &grads), Norm::Finite(n) if (n - 1e30).abs() < 1e24));
}

#[test]
fn clipping_brings_the_norm_to_its_bound_and_leaves_smaller_ones() {
    let (sets, mut grads) = many();
    let of = |grads: &Grads| match norm(&sets, grads) {
        Norm::Finite(norm) => norm,
        Norm::NotFinite(name) => panic!("{name}"),
    };
    let before = of(&grads);
    let copy = grads.clone();
    scale(&mut grads, before, before * 2.0);
    scale(&mut grads, before, 0.0);
    assert_eq!(grads, copy);
    scale(&mut grads, before, 2.0);
    assert!((of(&grads) - 2.0).abs() < 1e-5, "{}", of(&grads));
}

#[test]
fn the_average_follows_and_a_short_run_forgets_its_beginning() {
    let mut sets = [ParamSet::new("extra")];
    sets[0].push("x", vec![], vec![0.0], true);
    let mut average = Average::new(0.999, &sets);
    sets[0].values[0][0] = 1.0;
    for _ in 0..20 {
        average.update(&sets);
    }
    // The product of (1 + t) / (10 + t) for t in 0..20 is what is left of the beginning.
    let left: f64 = (0..20).map(|t| (1.0 + f64::from(t)) / (10.0 + f64::from(t))).product();
    assert!((f64::from(average.values[0][0][0]) - (1.0 - left)).abs() < 1e-6);
    average.swap(&mut sets);
    assert_eq!(average.values[0][0][0], 1.0);
    assert!(sets[0].values[0][0] < 1.0);
}

/// The sets of a golden model, with what stands beside its towers.
fn sets_of(path: &str) -> Vec<ParamSet> {
    let model = Model::open(golden("models").join(path), &OpenOptions::default()).unwrap();
    let mut extra = ParamSet::new("extra");
    extra.push("logit_scale", vec![], vec![model.logit_scale()], true);
    let [image, text] = [("image", &model.image), ("text", &model.text)].map(|(name, tower)| ParamSet::of_tower(name, tower).unwrap());
    vec![image, text, extra]
}

/// Names of the parameters that do not decay.
fn frozen_weights(sets: &[ParamSet], no_decay: NoDecay) -> Vec<String> {
    let section = OptimSection { no_decay, ..OptimSection::default() };
    let groups = groups(sets, &section, &TowerSection::default(), &TowerSection::default());
    let names = sets.iter().zip(&groups).flat_map(|(set, groups)| set.names.iter().zip(groups).map(|(name, g)| (&set.name, name, g)));
    names.filter(|(_, _, group)| !group.decays).map(|(set, name, _)| format!("{set}.{name}")).collect()
}

#[test]
fn upstreams_rule_is_applied_to_upstreams_names() {
    let sets = sets_of("chinese-clip-pt-bare/epoch_latest.pt");
    let free = frozen_weights(&sets, NoDecay::CnClip);
    let has = |name: &str| free.iter().any(|free| free == name);
    // `visual.ln_pre.weight`, `visual.transformer.resblocks.0.ln_1.weight` and `logit_scale` are hit.
    for name in
        ["image.embed.norm.weight", "image.blocks.0.norm.weight", "image.final.norm.weight", "extra.logit_scale", "text.blocks.0.q.bias"]
    {
        assert!(has(name), "{name}");
    }
    // `bert.encoder.layer.0.output.LayerNorm.weight`, embeddings and projections are not.
    for name in ["text.embed.norm.weight", "text.blocks.0.mlp.norm.weight", "text.embed.tokens.weight", "image.embed.class"] {
        assert!(!has(name), "{name}");
    }
    let residual = frozen_weights(&sets_of("chinese-clip-rn50/clip_cn_rn-tiny.pt"), NoDecay::CnClip);
    assert!(residual.contains(&"image.embed.norm1.weight".to_owned()));
    let shortcuts = residual.iter().filter(|name| name.ends_with("norm_shortcut.weight")).count();
    assert_eq!(shortcuts, 0, "`downsample.1.weight` decays");
    let clip = frozen_weights(&sets_of("clip-openai-vit/ViT-tiny.pt"), NoDecay::CnClip);
    assert!(clip.contains(&"text.blocks.0.norm.weight".to_owned()) && clip.contains(&"text.final.norm.weight".to_owned()));
}

#[test]
fn vectors_do_not_decay_and_by_the_standard_rule_neither_do_tables() {
    let sets = sets_of("altclip-hf");
    let open_clip = frozen_weights(&sets, NoDecay::OpenClip);
    let vectors = sets.iter().flat_map(|set| &set.shapes).filter(|shape| shape.len() < 2).count();
    assert_eq!(open_clip.len(), vectors);
    let standard = frozen_weights(&sets, NoDecay::Standard);
    let tables: Vec<_> = standard.iter().filter(|name| !open_clip.contains(name)).map(String::as_str).collect();
    let wanted = ["image.embed.positions", "text.embed.tokens.weight", "text.embed.positions.weight", "text.embed.types.weight"];
    assert_eq!(tables.len(), wanted.len(), "{tables:?}");
    assert!(wanted.iter().all(|name| tables.contains(name)), "{tables:?}");
    assert!(frozen_weights(&sets, NoDecay::None).is_empty());
}

#[test]
fn lower_blocks_learn_more_slowly_if_the_recipe_says_so() {
    let sets = sets_of("altclip-hf");
    let text = TowerSection { lr_factor: 0.5, layer_decay: 0.5, embeddings_lr_factor: 0.1, ..TowerSection::default() };
    let section = OptimSection { logit_scale_lr_factor: 0.25, ..OptimSection::default() };
    let groups = groups(&sets, &section, &TowerSection::default(), &text);
    let factor = |set: usize, name: &str| groups[set][sets[set].find(name).unwrap()].lr_factor;
    let layers = sets[1].names.iter().filter(|name| name.ends_with(".q.weight")).count() as i32;
    assert_eq!(factor(1, "final.project.weight"), 0.5);
    assert_eq!(factor(1, &format!("blocks.{}.q.weight", layers - 1)), 0.25);
    let tokens = 0.5 * f64::from(0.1f32) * 0.5f64.powi(layers + 1);
    assert!((factor(1, "embed.tokens.weight") - tokens).abs() < 1e-12);
    assert_eq!(factor(0, "blocks.0.q.weight"), 1.0);
    assert_eq!(factor(2, "logit_scale"), 0.25);
}

#[test]
fn muon_is_for_the_matrices_of_blocks() {
    let sets = sets_of("altclip-hf");
    let section = OptimSection { kind: OptimKind::Muon, ..OptimSection::default() };
    let groups = groups(&sets, &section, &TowerSection::default(), &TowerSection::default());
    let all: Vec<_> = sets.iter().zip(&groups).flat_map(|(set, groups)| set.names.iter().zip(groups)).collect();
    let muon: Vec<_> = all.iter().filter(|(_, group)| group.orthogonal).map(|(name, _)| name.as_str()).collect();
    for name in ["blocks.0.q.weight", "blocks.0.out.weight", "blocks.0.mlp.up.weight", "blocks.1.mlp.down.weight"] {
        assert!(muon.contains(&name), "{name}");
    }
    assert!(muon.iter().all(|name| name.starts_with("blocks.") && !name.contains("norm")), "{muon:?}");
    let optimiser = Optimiser::new(&section, &sets, groups.clone());
    let moments = optimiser.moments.iter().flatten().zip(all);
    assert!(moments.into_iter().all(|(moments, (_, group))| moments.square.is_empty() == (group.orthogonal || moments.mean.is_empty())));
}
