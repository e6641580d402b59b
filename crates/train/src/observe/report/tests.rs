//! The page as text: whole, closed, safe whatever texts and names say, and asking for nothing.

use super::*;
use crate::observe::Event;
use crate::observe::metrics::Line;
use crate::observe::tests::{evaluated, finished, start, step};
use crate::trainer::Hit;

fn history(events: &[Event]) -> History {
    let mut history = History::default();
    events.iter().for_each(|event| history.add(&Line::from(event)));
    history
}

fn run() -> History {
    let mut events = vec![start(0), evaluated(0, 10.0)];
    events.extend((1..=20).map(step));
    events.extend([evaluated(10, 30.0), evaluated(20, 25.0)]);
    events.push(Event::Warning { step: 3, message: "left out `a.png`: cut off".into() });
    events.push(Event::Warning { step: 4, message: "left out `a.png`: cut off".into() });
    events.push(finished(20));
    history(&events)
}

fn example(text: &str) -> Example {
    let hit = Hit { picture: text.into(), score: 0.5, right: true, preview: b"no picture".to_vec() };
    Example { query: text.into(), language: text.into(), hits: vec![hit] }
}

/// The names of the elements of `page` in order, with `/` before those that close.
fn tags(page: &str) -> Vec<String> {
    let body = page.replace(SCRIPT, "").replace(STYLE, "");
    let name = |tag: &str| tag.split(|c: char| !c.is_ascii_alphanumeric() && c != '/' && c != '!').next().unwrap().to_owned();
    // An element that closes itself is none to be closed.
    body.split('<').skip(1).filter(|tag| !tag.split('>').next().unwrap().ends_with('/')).map(name).collect()
}

/// What a name, a text or a warning could try.
const HOSTILE: [&str; 7] = [
    "<script>alert(1)</script>.png",
    "\"><img src=x onerror=alert(1)>.jpg",
    "' onclick='alert(1)",
    "</title></style></bdi></p><iframe src=https://example.com>",
    "<!--",
    "]]>&lt;&#60;script&#62;",
    "photo\u{202e}gpj.exe\0\r\u{2069}<b>",
];

#[test]
fn hostile_text_adds_no_element_and_no_attribute() {
    let page = |text: &str| {
        let mut history = run();
        let message = text.to_owned();
        history.add(&Line::Warning { step: 9, message });
        history.skipped.push((8, text.to_owned()));
        history.parts.insert(text.to_owned(), vec![(1, 1.0)]);
        for evaluated in &mut history.evaluations {
            evaluated.metrics.insert(format!("t2i/{text}/r1"), 1.0);
        }
        let quoted = serde_json::to_string(text).unwrap();
        history.recipe += &format!("[{quoted}]\nname = {quoted}\n");
        draw(text, &history, &[example(text)])
    };
    let plain = page("cat");
    for text in HOSTILE {
        let hostile = page(text);
        // A slash in the name of a metric's language moves it to another chart.
        if !text.contains('/') {
            assert_eq!(tags(&hostile), tags(&plain), "{text}");
        }
        let count = |page: &str, name: &str| tags(page).iter().filter(|tag| *tag == name).count();
        assert!(["iframe", "img", "b"].iter().all(|name| count(&hostile, name) == count(&plain, name)), "{text}");
        assert_eq!(hostile.matches("<script").count(), 1, "{text}");
        assert!(!hostile.contains(['\u{202e}', '\u{2069}', '\0']));
    }
}

#[test]
fn every_element_is_closed() {
    let page = draw("run", &run(), &[example("قطة"), example("猫")]);
    let mut open: Vec<String> = Vec::new();
    for tag in tags(&page) {
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop().as_deref(), Some(closed)),
            None if ["!DOCTYPE", "meta", "img"].contains(&tag.as_str()) => {}
            None => open.push(tag),
        }
    }
    assert_eq!(open, Vec::<String>::new());
}

#[test]
fn the_page_shows_curves_tables_retrievals_warnings_and_the_recipe() {
    let page = draw("emoji", &run(), &[example("猫")]);
    for wanted in [
        "<h1><bdi>emoji</bdi></h1>",
        "contrastive, done; 5 of 10 parameters trained (50.0 %)",
        "<figcaption>Loss</figcaption>",
        "<figcaption>text → image R@1 <span>%, held-out set</span></figcaption>",
        "<caption>Best, step 10</caption>",
        "<caption>Last, step 20</caption>",
        "<td>zh</td><td>27.00<small class=\"up\">+15.00</small></td>",
        "<tr class=\"lead\"><td>mean</td><td>26.00<small class=\"up\">+15.00</small></td>",
        "<li class=\"right\">",
        "<td>3 to 4</td><td>2</td>",
        "left out `a.png`: cut off",
        "<caption>[train]</caption>",
        "<td>batch</td><td><bdi>64</bdi></td>",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
}

#[test]
fn a_run_of_which_nothing_is_known_yet_has_a_page() {
    let page = draw("run", &History::default(), &[]);
    assert!(page.contains("running") && page.ends_with("</html>\n") && !page.contains("NaN"));
}

#[test]
fn the_page_asks_for_nothing_from_elsewhere() {
    let page = draw("run", &run(), &[example("猫")]).replace("http://www.w3.org/2000/svg", "");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("@import") && !page.contains("url("));
}

#[test]
fn the_policy_lets_the_script_run_and_no_other() {
    use base64::Engine;
    let digest = ring::digest::digest(&ring::digest::SHA256, SCRIPT.as_bytes());
    assert_eq!(SCRIPT_HASH, base64::engine::general_purpose::STANDARD.encode(digest), "the script changed: this is its hash now");
}

/// For looking at: `cargo test -p hua-train draws_a_page -- --ignored`, then open the file that is named.
#[test]
#[ignore = "draws a page to look at"]
fn draws_a_page() {
    let mut events = vec![start(0)];
    let noise = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
    for number in 1..=1200u64 {
        let mut event = step(number);
        if let Event::Step { loss, parts, lr, grad_norm, took, data_wait, .. } = &mut event {
            *loss = 5.5 / (1.0 + number as f32 / 150.0) + 0.6 * noise(number) / (1.0 + number as f32 / 400.0);
            *parts = vec![("image_text", *loss * 0.7), ("text_text", *loss * 0.3), ("logit_scale", 14.0 + number as f32 / 60.0)];
            *lr = 1e-3 * (number as f32 / 60.0).min(0.5 + 0.5 * (number as f32 / 1200.0 * std::f32::consts::PI).cos());
            *grad_norm = 1.0 + noise(number + 7);
            *took = std::time::Duration::from_secs_f32(1.3 + 0.2 * noise(number + 1));
            *data_wait = std::time::Duration::from_secs_f32(0.02 + 0.02 * noise(number + 2));
        }
        events.push(event);
        if number % 100 == 0 {
            let metrics = ["en", "zh", "es", "fr", "ru", "ja", "ko", "ar", "it"].iter().zip(0..).flat_map(|(language, shift)| {
                ["t2i", "i2t"].into_iter().flat_map(move |way| {
                    ["r1", "r5", "r10"].into_iter().zip(0..).map(move |(measure, k)| {
                        let base = 75.0 * (1.0 - (-(number as f64) / 300.0).exp());
                        (
                            format!("{way}/{language}/{measure}"),
                            base + f64::from(k) * 8.0 - f64::from(shift) + f64::from(noise(number + shift as u64)),
                        )
                    })
                })
            });
            let Event::Evaluated { examples, .. } = evaluated(number, 1.0) else { unreachable!() };
            let took = std::time::Duration::from_secs(4);
            events.push(Event::Evaluated {
                step: number,
                metrics: metrics.collect(),
                headline: number as f64 / 20.0,
                best: true,
                examples,
                took,
            });
        }
    }
    let picture = |hue: u8| hua_image::Picture::from_rgb8(64, 64, [hue, 120, 255 - hue].repeat(64 * 64)).unwrap().encode_png();
    let hits = |right: usize| {
        (0..5)
            .map(|n| Hit {
                picture: format!("{n}-concept.webp"),
                score: 0.5 - n as f32 / 20.0,
                right: n == right,
                preview: picture(n as u8 * 50),
            })
            .collect()
    };
    let examples = [("海边的日落", "zh"), ("قطة", "ar"), ("猫の顔", "ja"), ("rainbow", "en")]
        .iter()
        .zip(0..)
        .map(|((query, language), n)| Example { query: (*query).into(), language: (*language).into(), hits: hits(n) });
    let path = std::env::temp_dir().join("hua-report.html");
    std::fs::write(&path, draw("emoji-9l", &history(&events), &examples.collect::<Vec<_>>())).unwrap();
    println!("{}", path.display());
}
