//! The built-in model and gallery: words of nine languages find the same picture.

use crate::Place;

const RAINBOW: [&str; 9] = ["rainbow", "彩虹", "arcoíris", "arc-en-ciel", "радуга", "虹", "무지개", "ألوان الطيف", "arcobaleno"];
const VIOLIN: [&str; 9] = ["violin", "小提琴", "violín", "violon", "скрипка", "バイオリン", "바이올린", "كمان", "violino"];

#[test]
fn a_thing_is_found_by_its_name_in_each_of_nine_languages() {
    let place = Place::new();
    let arguments = ["search", "--json", "-k", "3", "--sheet", "sheet.png"];
    let answers = place.hua(&[&arguments[..], &RAINBOW, &VIOLIN].concat()).json_lines();
    assert_eq!(answers.len(), 18);
    let mut first = 0;
    for (answer, name) in answers.iter().zip([" rainbow"; 9].into_iter().chain([" violin"; 9])) {
        let at = answer["hits"].as_array().unwrap().iter().position(|hit| hit["path"].as_str().unwrap().ends_with(name));
        first += usize::from(at == Some(0));
        assert!(at.is_some(), "{answer}");
    }
    assert!(first >= 17, "{first} of 18");
    assert!(crate::decode(&place.path("sheet.png")).height() > 18 * 250);
}
