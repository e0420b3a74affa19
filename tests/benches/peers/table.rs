//! The table of `make bench-peers`.

/// One figure of each.
pub(crate) struct Row {
    name: String,
    cells: [String; 3],
}

impl Row {
    /// Celery's fastest setting, Celery as durable as ours, ours; empty where there is nothing to tell.
    pub(crate) fn new(name: impl Into<String>, cells: [String; 3]) -> Self {
        Self { name: name.into(), cells }
    }
}

/// Prints all rows.
pub(crate) fn print(rows: &[Row]) {
    let line = |name: &str, [fastest, durable, ours]: [&str; 3]| {
        println!("  {name:<46} {fastest:>20} {durable:>20} {ours:>20}");
    };
    println!();
    line("", ["Celery, fastest", "Celery, durable", "DR Switch"]);
    for Row { name, cells: [fastest, durable, ours] } in rows {
        line(name, [fastest, durable, ours]);
    }
}

/// The median.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
