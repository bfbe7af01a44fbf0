//! A plot with logarithmic axes, as SVG.

use std::fmt::Write;

/// The size of the picture, and what is left free around the plot.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 56.0;
/// The least distance between two names of lines.
const LINE: f64 = 16.0;
/// Colours that are told apart by everybody (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"];

/// What is shown.
pub struct Plot<'a> {
    /// Above it.
    pub title: &'a str,
    /// Below it.
    pub x_axis: &'a str,
    /// How a value of the horizontal axis is written.
    pub x_text: fn(f64) -> String,
    /// How a value of the vertical axis is written.
    pub y_text: fn(f64) -> String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line by its points, from left to right. All values are above zero.
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// An axis: a range of powers of ten, and where on the picture it is.
#[derive(Clone, Copy)]
struct Axis {
    lowest: f64,
    highest: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis for these values, widened to tens.
    fn around(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let lowest = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let highest = values.fold(0.0, f64::max).log10().ceil();
        Self { lowest, highest: highest.max(lowest + 1.0), from, to }
    }

    fn at(self, value: f64) -> f64 {
        self.from + (value.log10() - self.lowest) / (self.highest - self.lowest) * (self.to - self.from)
    }

    /// The powers of ten that it spans.
    fn tens(self) -> impl Iterator<Item = f64> {
        let mut exponent = self.lowest;
        std::iter::from_fn(move || {
            let value = 10_f64.powf(exponent);
            exponent += 1.0;
            (exponent <= self.highest + 1.5).then_some(value)
        })
    }
}

impl Plot<'_> {
    /// The picture; `None` if there is nothing to show.
    pub fn svg(&self) -> Option<String> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        points().next()?;
        let x = Axis::around(points().map(|(x, _)| x), LEFT, WIDTH - RIGHT);
        let y = Axis::around(points().map(|(_, y)| y), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        text(&mut svg, (LEFT, 24.0), "start", "#000000", &format!("<tspan font-size=\"15\">{}</tspan>", self.title));
        for value in x.tens() {
            rule(&mut svg, (x.at(value), y.from), (x.at(value), y.to));
            text(&mut svg, (x.at(value), y.from + 20.0), "middle", "#444444", &(self.x_text)(value));
        }
        for value in y.tens() {
            rule(&mut svg, (x.from, y.at(value)), (x.to, y.at(value)));
            text(&mut svg, (x.from - 8.0, y.at(value) + 4.0), "end", "#444444", &(self.y_text)(value));
        }
        text(&mut svg, ((x.from + x.to) / 2.0, HEIGHT - 12.0), "middle", "#444444", self.x_axis);
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let points: Vec<String> =
                line.points.iter().map(|(px, py)| format!("{:.1},{:.1}", x.at(*px), y.at(*py))).collect();
            let path = points.join(" ");
            let _ = writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
            for point in points {
                let (px, py) = point.split_once(',').unwrap_or_default();
                let _ = writeln!(svg, "<circle cx=\"{px}\" cy=\"{py}\" r=\"3.5\" fill=\"{colour}\"/>");
            }
        }
        for (name, at, colour) in self.names(y) {
            text(&mut svg, (WIDTH - RIGHT + 10.0, at + 4.0), "start", colour, name);
        }
        Some(svg + "</svg>\n")
    }

    /// The names of the lines, each beside the end of its line, without overlaps.
    fn names(&self, y: Axis) -> Vec<(&str, f64, &str)> {
        let ends = self.lines.iter().zip(COLOURS.iter().cycle()).filter_map(|(line, colour)| {
            let (_, last) = line.points.last()?;
            Some((line.name.as_str(), y.at(*last), *colour))
        });
        let mut names: Vec<_> = ends.collect();
        names.sort_by(|a, b| a.1.total_cmp(&b.1));
        for n in 1..names.len() {
            names[n].1 = names[n].1.max(names[n - 1].1 + LINE);
        }
        names
    }
}

fn rule(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#dddddd\"/>");
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, colour: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>");
}
