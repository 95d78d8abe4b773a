//! The dashboard as a picture: the same panels and queries, drawn without Grafana.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::Panel;
use crate::support::prometheus::{Prometheus, encoded};

/// A panel, and the part of it where the curves are.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 190.0;
const CURVES: f64 = 110.0;
const COLUMNS: usize = 3;
const COLOURS: [&str; 9] = [
    "#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#17becf", "#8c564b", "#e377c2",
    "#7f7f7f",
];

/// A curve: its legend, and its points as seconds since the start and values.
type Curve = (String, Vec<(f64, f64)>);

/// For how many seconds the load shall run before the picture.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment how long to run")]
pub fn seconds() -> u64 {
    let asked = std::env::var("TEST_PICTURE_SECONDS");
    asked.map_or(5, |seconds| seconds.parse().expect("TEST_PICTURE_SECONDS is a number"))
}

/// The panels over the last seconds.
pub fn draw(prometheus: &Prometheus, panels: &[Panel], seconds: u64) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * rows as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"10\" fill=\"#333\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        let (x, y) = (WIDTH * (at % COLUMNS) as f64, HEIGHT * (at / COLUMNS) as f64);
        let curves: Vec<_> = panel
            .queries
            .iter()
            .flat_map(|(query, legend)| curves(prometheus, query, legend, seconds))
            .collect();
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw_panel(&mut svg, panel, shown(curves), seconds as f64);
        svg.push_str("</g>\n");
    }
    svg + "</svg>\n"
}

fn curves(prometheus: &Prometheus, query: &str, legend: &str, seconds: u64) -> Vec<Curve> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (query, start) = (encoded(query), now - seconds);
    let path = format!("/api/v1/query_range?query={query}&start={start}&end={now}&step=1");
    let found = prometheus.ask(&path);
    let curve = |series: &Value| {
        let mut legend = legend.to_owned();
        for (label, value) in series["metric"].as_object().unwrap() {
            legend = legend.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap());
        }
        // Which port the kernel chose is of no interest.
        let legend = legend.replace("127.0.0.1:", "server :");
        let point = |point: &Value| {
            let value: f64 = point[1].as_str()?.parse().ok()?;
            value.is_finite().then_some((point[0].as_f64()? - start as f64, value))
        };
        (legend, series["values"].as_array().unwrap().iter().filter_map(point).collect())
    };
    found["result"].as_array().unwrap().iter().map(curve).collect()
}

/// The curves that are not zero throughout, the highest first; else the first one.
fn shown(mut curves: Vec<Curve>) -> Vec<Curve> {
    curves.sort_by(|a, b| top(b).total_cmp(&top(a)));
    let keep = curves.iter().filter(|curve| top(curve) > 0.0).count().clamp(1, COLOURS.len());
    curves.truncate(keep);
    curves
}

fn top((_, points): &Curve) -> f64 {
    points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
}

fn draw_panel(svg: &mut String, panel: &Panel, curves: Vec<Curve>, seconds: f64) {
    let most = curves.iter().map(top).fold(0.0, f64::max);
    let most = if most > 0.0 { most * 1.1 } else { 1.0 };
    let (left, right, above) = (48.0, WIDTH - 14.0, 28.0);
    let below = above + CURVES;
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"18\" font-size=\"12\" font-weight=\"bold\">{}</text>",
        panel.title
    );
    for part in 0..=2 {
        let share = f64::from(part) / 2.0;
        let (y, value) = (below - CURVES * share, most * share);
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 5.0,
            y + 3.0,
            amount(value, &panel.unit)
        );
    }
    let mut legend = left;
    let mut line = below + 17.0;
    for ((name, points), colour) in curves.iter().zip(COLOURS) {
        let place = |(at, value): &(f64, f64)| {
            let x = left + (right - left) * at / seconds;
            format!("{x:.1},{:.1}", below - CURVES * value / most)
        };
        let path: Vec<_> = points.iter().map(place).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            path.join(" ")
        );
        let room = 20.0 + 5.4 * name.len() as f64;
        if legend + room > WIDTH {
            (legend, line) = (left, line + 13.0);
        }
        let _ = writeln!(
            svg,
            "<rect x=\"{legend:.1}\" y=\"{:.1}\" width=\"9\" height=\"3\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{line:.1}\">{name}</text>",
            line - 5.0,
            legend + 12.0
        );
        legend += room;
    }
}

/// A value with its unit, as Grafana would write it.
fn amount(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => format!("{:.0} MiB", value / 1_048_576.0),
        "percentunit" => format!("{:.1} %", value * 100.0),
        "s" if value < 1.0 => format!("{:.1} ms", value * 1000.0),
        "s" => format!("{value:.1} s"),
        _ if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        _ if value < 0.1 => format!("{value:.4}"),
        _ => format!("{value:.2}"),
    }
}
