//! The table for people and the lines for machines.

use serde_json::{Map, Value, json};

/// A figure with what it must reach.
pub struct Row {
    mode: &'static str,
    name: &'static str,
    figure: f64,
    unit: &'static str,
    target: Target,
}

/// What a figure must reach.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// It is told for itself.
    None,
}

impl Target {
    fn met(self, figure: f64) -> Option<bool> {
        match self {
            Target::AtLeast(least) => Some(figure >= least),
            Target::AtMost(most) => Some(figure <= most),
            Target::None => None,
        }
    }
}

/// All rows of a run.
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub fn new() -> Self {
        Report { rows: Vec::new() }
    }

    pub fn add(
        &mut self,
        mode: &'static str,
        name: &'static str,
        figure: f64,
        unit: &'static str,
        target: Target,
    ) {
        eprintln!("  {name}: {} {unit}", short(figure));
        self.rows.push(Row { mode, name, figure, unit, target });
    }

    pub fn print(&self) {
        if self.rows.is_empty() {
            return;
        }
        println!("\n{:<10} {:<46} {:>10} {:<22} {:>12}", "mode", "figure", "", "", "must reach");
        for Row { mode, name, figure, unit, target } in &self.rows {
            let wanted = match target {
                Target::AtLeast(least) => format!(">= {least}"),
                Target::AtMost(most) => format!("<= {most}"),
                Target::None => String::new(),
            };
            let verdict = match target.met(*figure) {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let figure = short(*figure);
            println!("{mode:<10} {name:<46} {figure:>10} {unit:<22} {wanted:>12} {verdict}");
        }
        println!();
        let mut modes: Vec<&str> = self.rows.iter().map(|row| row.mode).collect();
        modes.dedup();
        for mode in modes {
            println!("{}", self.json(mode));
        }
    }

    fn json(&self, mode: &str) -> Value {
        let rows = self.rows.iter().filter(|row| row.mode == mode);
        let figures = rows.map(|row| {
            let target = match row.target {
                Target::AtLeast(figure) | Target::AtMost(figure) => json!(figure),
                Target::None => Value::Null,
            };
            let figure = json!({
                "figure": row.figure,
                "unit": row.unit,
                "target": target,
                "met": row.target.met(row.figure),
            });
            (row.name.to_owned(), figure)
        });
        json!({ "mode": mode, "figures": Value::Object(figures.collect::<Map<_, _>>()) })
    }
}

fn short(figure: f64) -> String {
    match figure.abs() {
        big if big >= 100.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.3}"),
    }
}

/// The middle one; of an even number the mean of both.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        n => f64::midpoint(figures[(n - 1) / 2], figures[n / 2]),
    }
}

/// The smallest figure that so large a share of all do not exceed.
pub fn quantile(mut figures: Vec<f64>, share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = (figures.len() as f64 * share).ceil() as usize;
    figures.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
