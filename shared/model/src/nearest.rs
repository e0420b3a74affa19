//! The word that a writer most likely meant.

/// The known word nearest to the given one, when it is near enough to be a slip of the keyboard: equal
/// but for case, or at most two edits away (one for words shorter than five characters).
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    let edits_max = if folded.chars().count() < 5 { 1 } else { 2 };
    known
        .into_iter()
        .map(|candidate| (strsim::levenshtein(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let known = ["web1", "web-frontend", "Database"];
        assert_eq!(nearest("web2", known), Some("web1"));
        assert_eq!(nearest("web-fronted", known), Some("web-frontend"));
        assert_eq!(nearest("DATABASE", known), Some("Database"));
        assert_eq!(nearest("mail", known), None);
    }
}
