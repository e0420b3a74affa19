//! The table of figures, printed line by line as they are measured.

use std::fmt::Display;

/// Prints figures and remembers which missed their target.
#[derive(Default)]
pub(crate) struct Table {
    missed: Vec<String>,
}

impl Table {
    /// Begins a part of the table.
    pub(crate) fn section(&mut self, about: &str) {
        println!("\n{about}");
        println!("  {:<56} {:>14}  {:<14} {:>6}", "figure", "measured", "target", "ratio");
    }

    /// A figure without a target.
    pub(crate) fn note(&mut self, name: impl Display, measured: impl Display) {
        println!("  {name:<56} {measured:>14}");
    }

    /// A figure that should be at most `target`.
    pub(crate) fn at_most(&mut self, name: impl Display, measured: f64, target: f64, unit: &str) {
        self.against(&name, measured, ("<=", target), unit, measured <= target);
    }

    /// A figure that should be at least `target`.
    pub(crate) fn at_least(&mut self, name: impl Display, measured: f64, target: f64, unit: &str) {
        self.against(&name, measured, (">=", target), unit, measured >= target);
    }

    fn against(
        &mut self,
        name: &impl Display,
        measured: f64,
        (sign, target): (&str, f64),
        unit: &str,
        held: bool,
    ) {
        let verdict = if held { "" } else { "  MISSED" };
        let (with_unit, wanted) = (format!("{measured:.2} {unit}"), format!("{sign} {target:.2}"));
        let ratio = measured / target;
        println!("  {name:<56} {with_unit:>14}  {wanted:<14} {ratio:>6.2}{verdict}");
        if !held {
            self.missed.push(name.to_string());
        }
    }

    /// Ends the table.
    pub(crate) fn end(&self) {
        match self.missed.as_slice() {
            [] => println!("\nbench: every target is met"),
            missed => println!("\nbench: missed: {}", missed.join("; ")),
        }
    }
}
