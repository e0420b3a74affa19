//! `ExportTraceServiceRequest` of opentelemetry-proto 1.x. Field numbers are those of its definition.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Span;
use super::wire::{Field, Malformed, fields};

/// The spans of an export.
pub(super) fn read(export: &[u8]) -> Result<Vec<Span>, Malformed> {
    let mut spans = Vec::new();
    for resource_spans in numbered(export, 1)? {
        let mut service = String::new();
        for resource in numbered(resource_spans, 1)? {
            service = attributes(resource, 1)?.remove("service.name").unwrap_or_default();
        }
        for scope_spans in numbered(resource_spans, 2)? {
            for span in numbered(scope_spans, 2)? {
                spans.push(span_of(span, &service)?);
            }
        }
    }
    Ok(spans)
}

fn span_of(message: &[u8], service: &str) -> Result<Span, Malformed> {
    let mut span = Span {
        trace_id: String::new(),
        span_id: String::new(),
        parent_id: String::new(),
        name: String::new(),
        service: service.to_owned(),
        attributes: attributes(message, 9)?,
        start_ns: 0,
        end_ns: 0,
    };
    for (number, field) in fields(message)? {
        match number {
            1 => span.trace_id = hex(field.bytes()),
            2 => span.span_id = hex(field.bytes()),
            4 => span.parent_id = hex(field.bytes()),
            5 => span.name = field.text(),
            7 => span.start_ns = field.number(),
            8 => span.end_ns = field.number(),
            _ => {}
        }
    }
    Ok(span)
}

/// The messages in a field that repeats.
fn numbered(message: &[u8], wanted: u64) -> Result<impl Iterator<Item = &[u8]>, Malformed> {
    let all = fields(message)?.into_iter();
    Ok(all.filter(move |(number, _)| *number == wanted).map(|(_, field)| field.bytes()))
}

/// The `KeyValue`s in a field that repeats.
fn attributes(message: &[u8], wanted: u64) -> Result<BTreeMap<String, String>, Malformed> {
    let mut attributes = BTreeMap::new();
    for pair in numbered(message, wanted)? {
        let (mut key, mut value) = (String::new(), None);
        for (number, field) in fields(pair)? {
            match number {
                1 => key = field.text(),
                2 => value = value_of(field)?,
                _ => {}
            }
        }
        attributes.extend(value.map(|value| (key, value)));
    }
    Ok(attributes)
}

/// An `AnyValue` as text; nothing for lists, maps and bytes.
fn value_of(value: Field<'_>) -> Result<Option<String>, Malformed> {
    let Some((number, field)) = fields(value.bytes())?.into_iter().next_back() else {
        return Ok(None);
    };
    Ok(match number {
        1 => Some(field.text()),
        2 => Some((field.number() != 0).to_string()),
        3 => Some(field.number().cast_signed().to_string()),
        4 => Some(f64::from_bits(field.number()).to_string()),
        _ => None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
