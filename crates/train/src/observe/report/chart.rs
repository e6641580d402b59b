//! Curves as SVG inside the page: colours come from the style, so that they follow a light or dark desktop.
//!
//! What it decided: many steps become at most [`COLUMNS`] points, each the mean of its steps, with a band from the least to the greatest
//! of them, so that a spike stays visible; numbers that are not finite are gaps. Each curve carries its points in attributes, from which
//! the page's script reads the values under the pointer; without the script the picture is the same.

use hua::shown::escaped;

use super::html::put;

/// One curve.
pub struct Series {
    pub name: String,
    /// Step and value, by step.
    pub points: Vec<(u64, f64)>,
    /// Drawn above the others, thicker and in the colour of text.
    pub leads: bool,
}

impl Series {
    pub fn new(name: impl Into<String>, points: Vec<(u64, f64)>) -> Self {
        Self { name: name.into(), points, leads: false }
    }
}

/// A chart: one or more curves over the steps.
pub struct Chart<'a> {
    pub title: &'a str,
    /// What the numbers are: `%`, `samples/s`; empty for a plain number.
    pub unit: &'a str,
    pub series: Vec<Series>,
    /// Whether each value is a measurement of its own (marked), not one of a stream.
    pub marked: bool,
    /// Whether the axis begins at 0.
    pub from_zero: bool,
}

/// Points of a curve at most.
const COLUMNS: usize = 240;
/// Size of the drawing and of its plot, in units of the view box.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 508.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 204.0;
/// Colours that the style has.
const COLORS: usize = 9;

/// Steps put together: the middle of their steps, mean, least and greatest value.
struct Column {
    step: f64,
    mean: f64,
    least: f64,
    greatest: f64,
}

impl Chart<'_> {
    /// Draws the chart as a `<figure>`; nothing if it has no point.
    pub fn draw(&self, page: &mut String) {
        let curves: Vec<(&Series, Vec<Column>)> = self.series.iter().map(|series| (series, columns(&series.points))).collect();
        let all = || curves.iter().flat_map(|(_, columns)| columns);
        let steps = all().map(|column| column.step);
        let (Some(first), Some(last)) = (steps.clone().reduce(f64::min), steps.reduce(f64::max)) else { return };
        let least = all().map(|column| column.least).fold(if self.from_zero { 0.0 } else { f64::INFINITY }, f64::min);
        let greatest = all().map(|column| column.greatest).fold(f64::NEG_INFINITY, f64::max);
        let axis = ticks(least, greatest);
        let (low, high) = (axis[0].min(least), axis[axis.len() - 1].max(greatest));
        let x = |step: f64| LEFT + (RIGHT - LEFT) * if last > first { (step - first) / (last - first) } else { 0.5 };
        let y = |value: f64| BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low);

        let unit = if self.unit.is_empty() { String::new() } else { format!(" <span>{}</span>", escaped(self.unit)) };
        put(page, format_args!("<figure>\n<figcaption>{}{unit}</figcaption>\n", escaped(self.title)));
        put(
            page,
            format_args!(
                "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\" data-top=\"{TOP}\" data-bottom=\"{BOTTOM}\">\n",
                escaped(self.title)
            ),
        );
        for tick in &axis {
            let at = y(*tick);
            put(page, format_args!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>"));
            put(
                page,
                format_args!(
                    "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                    LEFT - 6.0,
                    at + 3.5,
                    short(*tick)
                ),
            );
        }
        let below = if last > first { ticks(first, last) } else { vec![first] };
        for tick in below.iter().filter(|tick| (first..=last).contains(*tick) && tick.fract() == 0.0) {
            put(
                page,
                format_args!(
                    "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                    x(*tick),
                    BOTTOM + 17.0,
                    short(*tick)
                ),
            );
        }
        // The curve that leads lies over the others.
        let mut order: Vec<usize> = (0..curves.len()).collect();
        order.sort_by_key(|&number| curves[number].0.leads);
        for number in order {
            let (series, columns) = &curves[number];
            let color = self.color(number);
            if columns.iter().any(|column| column.greatest > column.least) {
                let up = columns.iter().map(|column| (x(column.step), y(column.greatest)));
                let down = columns.iter().rev().map(|column| (x(column.step), y(column.least)));
                put(page, format_args!("<path class=\"band {color}\" d=\"{}Z\"/>", path(up.chain(down))));
            }
            let line = path(columns.iter().map(|column| (x(column.step), y(column.mean))));
            put(page, format_args!("<path class=\"line {color}\" data-name=\"{}\" data-points=\"", escaped(&series.name)));
            for (column, number) in columns.iter().zip(0..) {
                let (step, value) = (column.step.round(), column.mean);
                put(
                    page,
                    format_args!("{}{step},{},{:.1},{:.1}", if number > 0 { " " } else { "" }, precise(value), x(column.step), y(value)),
                );
            }
            put(page, format_args!("\" d=\"{line}\"/>\n"));
            if self.marked || columns.len() == 1 {
                for column in columns {
                    put(
                        page,
                        format_args!("<circle class=\"dot {color}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"/>", x(column.step), y(column.mean)),
                    );
                }
            }
        }
        page.push_str("\n</svg>\n");
        if self.series.len() > 1 {
            page.push_str("<ul class=\"legend\">");
            for (series, number) in self.series.iter().zip(0..) {
                put(page, format_args!("<li class=\"{}\">{}</li>", self.color(number), escaped(&series.name)));
            }
            page.push_str("</ul>\n");
        }
        page.push_str("</figure>\n");
    }

    /// The class that colours a curve.
    fn color(&self, number: usize) -> String {
        if self.series[number].leads {
            return "lead".to_owned();
        }
        let before = self.series[..number].iter().filter(|series| !series.leads).count();
        format!("c{}", before % COLORS)
    }
}

/// At most [`COLUMNS`] columns of equal numbers of points; what is not finite is left out.
fn columns(points: &[(u64, f64)]) -> Vec<Column> {
    let finite: Vec<(f64, f64)> = points.iter().filter(|(_, value)| value.is_finite()).map(|&(step, value)| (step as f64, value)).collect();
    let each = finite.len().div_ceil(COLUMNS).max(1);
    let column = |points: &[(f64, f64)]| {
        let count = points.len() as f64;
        Column {
            step: points.iter().map(|(step, _)| step).sum::<f64>() / count,
            mean: points.iter().map(|(_, value)| value).sum::<f64>() / count,
            least: points.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min),
            greatest: points.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max),
        }
    };
    finite.chunks(each).map(column).collect()
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (x, y) in points {
        let step = if out.is_empty() { 'M' } else { 'L' };
        put(&mut out, format_args!("{step}{x:.1} {y:.1}"));
    }
    out
}

/// Three to seven round numbers that enclose `least` and `greatest`.
fn ticks(least: f64, greatest: f64) -> Vec<f64> {
    // A flat curve still needs a height.
    let (least, greatest) = if greatest - least > greatest.abs().max(least.abs()) * 1e-9 {
        (least, greatest)
    } else {
        (least - least.abs().max(1e-12) * 0.5, greatest + greatest.abs().max(1e-12) * 0.5)
    };
    let rough = (greatest - least) / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
    let (from, to) = ((least / step + 1e-9).floor() as i64, (greatest / step - 1e-9).ceil() as i64);
    (from..=to).map(|count| count as f64 * step).collect()
}

/// A number at an axis: `2.5k`, `0.001`, `1e-5`.
fn short(value: f64) -> String {
    let size = value.abs();
    let trimmed = |text: String| if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    match size {
        _ if size == 0.0 => "0".to_owned(),
        _ if size >= 1e6 => format!("{}M", trimmed(format!("{:.3}", value / 1e6))),
        _ if size >= 1e4 => format!("{}k", trimmed(format!("{:.2}", value / 1e3))),
        _ if size >= 1e-3 => trimmed(format!("{:.4}", value)),
        _ => {
            let power = size.log10().floor() as i32;
            format!("{}e{power}", trimmed(format!("{:.2}", value / 10_f64.powi(power))))
        }
    }
}

/// A number to read: four or five figures.
pub fn precise(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if size < 1e-3 {
        format!("{value:.3e}")
    } else if size >= 1e3 {
        format!("{value:.0}")
    } else {
        let figures = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
        format!("{value:.figures$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: Vec<(u64, f64)>) -> String {
        let mut page = String::new();
        let series = vec![Series::new("loss", points)];
        Chart { title: "Loss", unit: "", series, marked: false, from_zero: false }.draw(&mut page);
        page
    }

    #[test]
    fn many_steps_become_few_points_and_a_spike_stays_within_the_band() {
        let points = (1..=100_000).map(|step| (step, if step == 50_001 { 900.0 } else { 1.0 })).collect::<Vec<_>>();
        let columns = columns(&points);
        assert!(columns.len() <= COLUMNS);
        assert_eq!(columns.iter().map(|column| column.greatest).fold(0.0, f64::max), 900.0);
        let drawing = drawn(points);
        assert!(drawing.contains("class=\"band c0\"") && drawing.len() < 40_000, "{}", drawing.len());
    }

    #[test]
    fn numbers_that_are_not_finite_are_gaps_and_no_points_are_no_chart() {
        assert_eq!(drawn(vec![]), "");
        assert_eq!(drawn(vec![(1, f64::NAN), (2, f64::INFINITY)]), "");
        let drawing = drawn(vec![(1, 2.0), (2, f64::NAN), (3, 1.0)]);
        assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{drawing}");
        assert!(drawing.contains("data-points=\"1,2.000,46.0,10.0 3,1.000,508.0,204.0\""), "{drawing}");
    }

    #[test]
    fn flat_tiny_and_huge_curves_have_an_axis() {
        for value in [0.0, 1.0, -3.0, 1e-12, 1e12] {
            let drawing = drawn(vec![(1, value), (2, value)]);
            assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{value}: {drawing}");
            assert!((3..=7).contains(&drawing.matches("class=\"grid\"").count()), "{value}: {drawing}");
        }
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(ticks(0.0, 10.0), [0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(ticks(0.31, 0.93), [0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!([0.0, 0.6000000000000001, 2e-5, 12_500.0, 3e6, 0.001].map(short), ["0", "0.6", "2e-5", "12.5k", "3M", "0.001"]);
        assert_eq!([0.0, 2.34567, 1234.5, 1.5e-5, 0.012345].map(precise), ["0", "2.346", "1234", "1.500e-5", "0.01235"]);
    }
}
