//! Finds the name that an operator most likely meant.

use drs_model::VmName;

/// The known name nearest to the wanted one, when it is near enough to be a slip of the keyboard:
/// equal but for case, or at most two edits away (one for names shorter than five characters).
pub(crate) fn similar<'a>(
    wanted: &VmName,
    known: impl IntoIterator<Item = &'a VmName>,
) -> Option<String> {
    let folded = wanted.as_str().to_lowercase();
    let edits_max = if folded.chars().count() < 5 { 1 } else { 2 };
    known
        .into_iter()
        .map(|name| (distance(&folded, &name.as_str().to_lowercase()), name))
        .filter(|(edits, _)| *edits <= edits_max)
        .min()
        .map(|(_, name)| name.to_string())
}

/// Levenshtein's distance: insertions, deletions and replacements from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let known: Vec<VmName> =
            ["web1", "web-frontend", "Database"].map(|n| n.parse().expect("a name")).to_vec();
        let ask = |name: &str| similar(&name.parse().expect("a name"), &known);
        assert_eq!(ask("web2").as_deref(), Some("web1"));
        assert_eq!(ask("web-fronted").as_deref(), Some("web-frontend"));
        assert_eq!(ask("DATABASE").as_deref(), Some("Database"));
        assert_eq!(ask("mail"), None);
    }
}
