//! A plot of lines in SVG.

use super::{axis::Scale, html::escape};
use std::fmt::Write;

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stroke {
    Solid,
    Dashed,
    Dotted,
}

impl Stroke {
    fn class(self) -> &'static str {
        match self {
            Self::Solid => "solid",
            Self::Dashed => "dashed",
            Self::Dotted => "dotted",
        }
    }
}

pub(super) struct Line {
    pub(super) name: String,
    /// A colour of the style sheet: `s0` to `s7`.
    pub(super) colour: &'static str,
    pub(super) stroke: Stroke,
    /// Points that are no numbers are left out.
    pub(super) points: Vec<(f64, f64)>,
}

pub(super) struct Plot {
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) x_text: fn(f64) -> String,
    pub(super) y_text: fn(f64) -> String,
    pub(super) lines: Vec<Line>,
}

/// The colours that tell lines apart; with more of them they come again.
pub(super) const COLOURS: [&str; 8] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 28.0;
/// Points with a mark of their own, for pointing at; between more of them there would be no room.
const MARKS_MAX: usize = 150;

impl Plot {
    /// The legend and the picture; nothing without a point.
    pub(super) fn html(&self) -> String {
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return super::html::paragraph("soft", "Nothing was measured for this.");
        }
        self.legend() + &self.svg()
    }

    fn legend(&self) -> String {
        let mut out = "<ul class=\"legend\">".to_owned();
        for line in &self.lines {
            let _ =
                write!(out, "<li><i class=\"{} {}\"></i>{}</li>", line.colour, line.stroke.class(), escape(&line.name));
        }
        out + "</ul>\n"
    }

    fn svg(&self) -> String {
        let names: Vec<&str> = self.lines.iter().map(|line| line.name.as_str()).collect();
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&names.join(", "))
        );
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in self.y.ticks() {
            let (y, text) = (self.y_at(tick), escape(&(self.y_text)(tick)));
            let _ = writeln!(
                out,
                "<line class=\"grid-line\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 7.0,
                y + 4.0
            );
        }
        for tick in self.x.ticks() {
            let (x, text) = (self.x_at(tick), escape(&(self.x_text)(tick)));
            let anchor = if x > right - 16.0 { "end" } else { "middle" };
            let _ = writeln!(
                out,
                "<line class=\"grid-line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
                bottom + 18.0
            );
        }
        let _ = writeln!(out, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>");
        self.lines.iter().for_each(|line| self.draw(&mut out, line));
        out + "</svg>\n"
    }

    fn draw(&self, out: &mut String, line: &Line) {
        let points: Vec<_> = line.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        let _ = write!(out, "<polyline class=\"line {} {}\" points=\"", line.colour, line.stroke.class());
        for (place, (x, y)) in points.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            let _ = write!(out, "{space}{:.1},{:.1}", self.x_at(*x), self.y_at(*y));
        }
        out.push_str("\"/>\n");
        if points.len() > MARKS_MAX {
            return;
        }
        let radius = if points.len() > 40 { 1.8 } else { 2.6 };
        for (x, y) in points {
            let words = format!("{}: {} at {}", line.name, (self.y_text)(*y), (self.x_text)(*x));
            let _ = writeln!(
                out,
                "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"><title>{}</title></circle>",
                line.colour,
                self.x_at(*x),
                self.y_at(*y),
                escape(&words)
            );
        }
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{axis, html};

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        let line = Line { name: "a < b".into(), colour: "s0", stroke: Stroke::Solid, points };
        Plot {
            x: Scale::linear(10.0),
            y: Scale::linear(100.0),
            x_text: axis::seconds,
            y_text: axis::short,
            lines: vec![line],
        }
    }

    #[test]
    fn points_lie_where_the_axes_say() {
        let text = plot(vec![(0.0, 0.0), (5.0, 50.0), (10.0, 100.0), (3.0, f64::NAN)]).html();
        html::tests::assert_well_formed(&html::page("t", "", &text));
        assert!(text.contains("points=\"62.0,242.0 324.0,126.0 586.0,10.0\""), "{text}");
        assert!(text.contains("<title>a &lt; b: 50 at 5 s</title>"), "{text}");
    }

    #[test]
    fn without_points_there_is_no_picture() {
        let text = plot(Vec::new()).html();
        assert!(!text.contains("<svg") && text.contains("Nothing was measured"), "{text}");
    }

    #[test]
    fn marks_are_left_out_where_there_is_no_room() {
        let text = plot((0..=MARKS_MAX).map(|n| (n as f64 / 20.0, 1.0)).collect()).html();
        assert!(text.contains("<polyline") && !text.contains("<circle"), "{text}");
    }
}
