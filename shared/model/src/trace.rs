//! Where a span stands in a distributed trace, in the form in which it travels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A W3C `traceparent` of version 00: `00-TRACE-SPAN-FLAGS` in lower-case hexadecimal digits, 32, 16
/// and 2 of them (<https://www.w3.org/TR/trace-context/#traceparent-header>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext(String);

/// A text that is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no trace context; 00-TRACE-SPAN-FLAGS in lower-case hexadecimal digits is one")]
pub struct InvalidTraceContext;

impl TraceContext {
    /// As text, the value of the `traceparent` header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_hex(part: &str, digits: usize) -> bool {
    part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_zero(part: &str) -> bool {
    part.bytes().all(|b| b == b'0')
}

impl FromStr for TraceContext {
    type Err = InvalidTraceContext;
    fn from_str(text: &str) -> Result<Self, InvalidTraceContext> {
        let parts: Vec<&str> = text.split('-').collect();
        match parts[..] {
            ["00", trace, span, flags]
                if is_hex(trace, 32)
                    && is_hex(span, 16)
                    && is_hex(flags, 2)
                    && !is_zero(trace)
                    && !is_zero(span) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidTraceContext),
        }
    }
}

impl TryFrom<String> for TraceContext {
    type Error = InvalidTraceContext;
    fn try_from(text: String) -> Result<Self, InvalidTraceContext> {
        text.parse()
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> Self {
        context.0
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_traceparent_is_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(good.parse::<TraceContext>().map(|c| c.to_string()).as_deref(), Ok(good));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(bad.parse::<TraceContext>(), Err(InvalidTraceContext), "{bad}");
        }
    }
}
