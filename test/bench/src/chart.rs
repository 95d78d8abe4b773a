//! Curves as SVG, readable on a light and on a dark page.

use std::fmt::Write as _;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 44.0;
const TOP: f64 = 34.0;
const RIGHT: f64 = 14.0;
const COLOURS: [&str; 3] = ["#1a7f64", "#b35900", "#5b5bd6"];

/// One picture's panel: curves over the same axis.
pub struct Panel {
    pub title: &'static str,
    pub x: &'static str,
    /// Whether equal steps on the axis are equal factors.
    pub factors: bool,
    pub curves: Vec<(&'static str, Vec<(f64, f64)>)>,
}

/// Panels beside each other.
pub fn picture(panels: &[Panel]) -> String {
    let width = WIDTH * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (n, panel) in panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", WIDTH * n as f64);
        panel.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let points = || self.curves.iter().flat_map(|(_, points)| points);
        let most = points().fold(0.0_f64, |most, point| most.max(point.1));
        let step = step(most / 4.0);
        let top = (most / step).ceil().max(1.0) * step;
        let scale = |x: f64| if self.factors { x.log2() } else { x };
        let first = if self.factors { points().fold(f64::MAX, |a, p| a.min(p.0)) } else { 0.0 };
        let last = points().fold(first, |a, p| a.max(p.0));
        let at_x = |x: f64| {
            let share = (scale(x) - scale(first)) / (scale(last) - scale(first));
            LEFT + share * (WIDTH - LEFT - RIGHT)
        };
        let at_y = |y: f64| HEIGHT - BOTTOM - y / top * (HEIGHT - BOTTOM - TOP);
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"16\" font-weight=\"bold\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            self.title,
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 8.0,
            self.x
        );
        let mut y = 0.0;
        while y <= top * 1.001 {
            let line = at_y(y);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {line:.1}H{}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                line + 4.0,
                label(y)
            );
            y += step;
        }
        let mut marks: Vec<f64> = points().map(|point| point.0).collect();
        marks.sort_by(f64::total_cmp);
        marks.dedup();
        for x in marks {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                at_x(x),
                HEIGHT - BOTTOM + 16.0,
                label(x)
            );
        }
        for (n, ((name, points), colour)) in self.curves.iter().zip(COLOURS).enumerate() {
            let at = |(x, y): &(f64, f64)| format!("{:.1} {:.1}", at_x(*x), at_y(*y));
            let line: Vec<_> = points.iter().map(at).collect();
            let line = line.join("L");
            let _ = writeln!(
                svg,
                "<path d=\"M{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            );
            for (x, y) in points {
                let (x, y) = (at_x(*x), at_y(*y));
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
                );
            }
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" fill=\"{colour}\">{name}</text>",
                LEFT + 10.0,
                TOP + 14.0 + 15.0 * n as f64
            );
        }
    }
}

/// A round step of an axis, not below `least`.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 2.5, 5.0]
        .map(|n| n * power)
        .into_iter()
        .find(|n| *n >= least)
        .unwrap_or(power * 10.0)
}

fn label(figure: f64) -> String {
    match figure {
        thousands if thousands >= 1_000.0 => format!("{:.0}k", thousands / 1e3),
        whole if whole.fract() == 0.0 => format!("{whole:.0}"),
        figure => format!("{figure:.2}").trim_end_matches('0').to_owned(),
    }
}
