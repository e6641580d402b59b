//! Every preset has its published number of parameters, and a graph that is looked at when it changes.
use hua_model::{BertHead, TextTower, preset, presets};

#[test]
fn every_preset_has_its_published_number_of_parameters() {
    for preset in presets() {
        let (image, text) = preset.graphs().unwrap();
        let logit_scale = 1;
        assert_eq!(image.parameter_count() + text.parameter_count() + logit_scale, preset.parameters, "{}", preset.name);
        assert_eq!(preset.image.embedding_width(), preset.text.embedding_width(), "{}", preset.name);
    }
}

#[test]
fn towers_have_their_published_number_of_parameters() {
    let towers = |name: &str| {
        let (image, text) = preset(name).unwrap().graphs().unwrap();
        (image.parameter_count(), text.parameter_count())
    };
    assert_eq!(towers("chinese-clip-rn50"), (38_316_896, 37_886_208 + 786_432));
    assert_eq!(towers("chinese-clip-vit-b-16"), (86_192_640, 101_677_056 + 393_216));
    assert_eq!(towers("chinese-clip-vit-l-14"), (303_966_208, 101_677_056 + 589_824));
    assert_eq!(towers("chinese-clip-vit-l-14-336"), (304_293_888, 101_677_056 + 589_824));
    assert_eq!(towers("chinese-clip-vit-h-14"), (632_076_800, 324_472_832 + 1_048_576));
    assert_eq!(towers("altclip"), (303_179_776 + 768 * 1024, 558_840_832 + 789_248 + 768 * 768));
}

#[test]
fn hugging_face_counts_m18_without_the_conditioning_layer() {
    let preset = preset("altclip-m18").unwrap();
    let TextTower::Bert(mut bert) = preset.text.clone() else { panic!("m18 reads with a BERT") };
    bert.head = BertHead::AltClip { hidden: 1024, conditioning: false, embedding: 1024 };
    let text = TextTower::Bert(bert).graph().unwrap();
    assert_eq!(preset.image.graph().unwrap().parameter_count() + text.parameter_count() + 1, 1_193_017_857);
}

#[test]
fn every_preset_has_the_graph_on_file() {
    for preset in presets() {
        let (image, text) = preset.graphs().unwrap();
        let tokens = preset.context_length;
        let shown = format!(
            "image, {:.2} GFLOP a picture\n{image}\ntext, {:.2} GFLOP for {tokens} tokens\n{text}",
            image.flops("embedding", 0) as f64 * 1e-9,
            text.flops("embedding", tokens) as f64 * 1e-9,
        );
        insta::assert_snapshot!(preset.name.as_str(), shown);
    }
}
