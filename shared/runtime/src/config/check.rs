//! Holds a file against the schema and collects every mistake.

use std::net::SocketAddr;
use std::ops::Range;

use drs_model::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;
use super::schema::{KEYS, Key, Rule, SOCKET, Value, Values};

/// The values of a file.
///
/// # Errors
/// Everything that is wrong with it, by line.
pub(super) fn check(text: &str) -> Result<Values, Vec<Mistake>> {
    let (document, syntax) = DeTable::parse_recoverable(text);
    let mut checker = Checker { text, values: Values::default(), mistakes: Vec::new() };
    for error in syntax {
        checker.mistake(error.span().unwrap_or(0..0), error.message().to_owned());
    }
    checker.document(document.get_ref());
    let mut mistakes = checker.mistakes;
    mistakes.sort_by_key(|mistake| mistake.line);
    if mistakes.is_empty() { Ok(checker.values) } else { Err(mistakes) }
}

struct Checker<'t> {
    text: &'t str,
    values: Values,
    mistakes: Vec<Mistake>,
}

impl Checker<'_> {
    fn mistake(&mut self, at: Range<usize>, what: String) {
        let before = self.text.as_bytes().iter().take(at.start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        self.mistakes.push(Mistake { line, what });
    }

    fn document(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let section = name.get_ref().as_ref();
            if !KEYS.iter().any(|key| key.section == section) {
                self.unknown(name.span(), "section", section, KEYS.iter().map(|key| key.section));
                continue;
            }
            match value.get_ref() {
                DeValue::Table(table) => self.section(section, table),
                _ => self.mistake(
                    name.span(),
                    format!("{section} is a section, written [{section}] on a line of its own"),
                ),
            }
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let known = || KEYS.iter().filter(|key| key.section == section);
            match known().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => self.value(key, value),
                None => {
                    let what = format!("key in [{section}]:");
                    self.unknown(name.span(), &what, name.get_ref(), known().map(|key| key.name));
                }
            }
        }
    }

    fn unknown(
        &mut self,
        at: Range<usize>,
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'static str>,
    ) {
        let mut known: Vec<&str> = known.collect();
        known.dedup();
        let hint = match nearest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("known: {}", known.join(", ")),
        };
        self.mistake(at, format!("unknown {what} {name}; {hint}"));
    }

    fn value(&mut self, key: &Key, value: &Spanned<DeValue<'_>>) {
        match read(key.rule, value.get_ref()) {
            Ok(value) => self.values.put(key, value),
            Err(wanted) => {
                let found = match key.rule {
                    // It may hold a password.
                    Rule::Url(_) => "what stands there",
                    _ => self.text.get(value.span()).unwrap_or_default().trim(),
                };
                let what = format!("{}.{} must be {wanted}, not {found}", key.section, key.name);
                self.mistake(value.span(), what);
            }
        }
    }
}

/// The value, or what it should have been.
fn read(rule: Rule, value: &DeValue<'_>) -> Result<Value, String> {
    match (rule, value) {
        (Rule::Integer(least, most), DeValue::Integer(number)) => {
            u32::from_str_radix(number.as_str(), number.radix())
                .ok()
                .filter(|number| (least..=most).contains(number))
                .map(Value::Integer)
                .ok_or_else(|| format!("from {least} to {most}"))
        }
        (Rule::Integer(least, most), _) => Err(format!("a whole number from {least} to {most}")),
        (Rule::OneOf(words), DeValue::String(text)) if words.contains(&text.as_ref()) => {
            Ok(Value::Text(text.to_string()))
        }
        (Rule::OneOf(words), _) => Err(format!("one of \"{}\"", words.join("\", \""))),
        (Rule::AbsolutePath, DeValue::String(text)) if text.starts_with('/') => {
            Ok(Value::Text(text.to_string()))
        }
        (Rule::AbsolutePath, _) => Err("a path in quotes that begins with /".into()),
        (Rule::Url(schemes), DeValue::String(text))
            if schemes.iter().any(|scheme| text.starts_with(scheme)) =>
        {
            Ok(Value::Text(text.to_string()))
        }
        (Rule::Url(schemes), _) => {
            Err(format!("a URL in quotes that begins with {}", schemes.join(" or ")))
        }
        (Rule::Lanes, DeValue::Array(items)) if !items.is_empty() => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => text.parse().map_err(|error| format!("lanes; {error}")),
                _ => Err("a list of names in quotes".into()),
            })
            .collect::<Result<_, _>>()
            .map(Value::Lanes),
        (Rule::Socket, DeValue::String(text)) if text.parse::<SocketAddr>().is_ok() => {
            Ok(Value::Text(text.to_string()))
        }
        (Rule::Socket, _) => Err(SOCKET.into()),
        (Rule::Lanes, _) => Err("a list of names in quotes, as in [\"main\"]".into()),
    }
}
