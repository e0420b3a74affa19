//! A small XML tree: enough to read a domain's description, change parts of it and write it back.

use std::fmt;

use quick_xml::XmlVersion;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;

/// An element with its attributes, and elements or text inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    text: String,
}

impl Element {
    pub(super) fn new(name: &str) -> Self {
        let (attributes, children) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), attributes, children, text: String::new() }
    }

    /// Reads a document. Comments are dropped, and text beside elements: a domain has none.
    pub(super) fn parse(document: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(document);
        let mut open: Vec<Self> = Vec::new();
        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(start) if open.len() < DEPTH_MAX => open.push(Self::start(&start)?),
                Event::Start(_) => return Err("it is nested too deeply".into()),
                Event::Empty(start) => {
                    if let Some(root) = Self::close(&mut open, Self::start(&start)?) {
                        return Ok(root);
                    }
                }
                Event::End(_) => {
                    let Some(element) = open.pop() else {
                        return Err("an end without a start".into());
                    };
                    if let Some(root) = Self::close(&mut open, element) {
                        return Ok(root);
                    }
                }
                Event::Text(text) => Self::append(&mut open, &text.xml10_content()),
                Event::CData(text) => Self::append(&mut open, &text.xml10_content()),
                Event::GeneralRef(name) => {
                    let raw = format!("&{};", name.xml10_content());
                    let text = quick_xml::escape::unescape(&raw).map_err(|e| e.to_string())?;
                    Self::append(&mut open, &text);
                }
                Event::DocType(_) => return Err("it has a document type definition".into()),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
                Event::Eof => return Err("it is cut short".into()),
            }
        }
    }

    fn start(start: &BytesStart<'_>) -> Result<Self, String> {
        let mut element = Self::new(start.name().as_ref());
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|error| error.to_string())?.into_owned();
            element.attributes.push((attribute.key.as_ref().to_owned(), value));
        }
        Ok(element)
    }

    fn append(open: &mut [Self], text: &str) {
        if let Some(element) = open.last_mut() {
            element.text.push_str(text);
        }
    }

    fn close(open: &mut [Self], mut element: Self) -> Option<Self> {
        if !element.children.is_empty() {
            element.text.clear();
        }
        match open.last_mut() {
            None => Some(element),
            Some(parent) => {
                parent.children.push(element);
                None
            }
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.attributes.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn unset(&mut self, name: &str) {
        self.attributes.retain(|(key, _)| key != name);
    }

    /// With an attribute.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// With a child.
    pub(super) fn containing(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// With text.
    pub(super) fn saying(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }

    /// The text inside, without the white space around it.
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first element at a path such as `os/type`.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        path.split('/')
            .try_fold(self, |here, name| here.children.iter().find(|child| child.name == name))
    }

    /// As [`Element::at`], to be changed.
    pub(super) fn at_mut(&mut self, path: &str) -> Option<&mut Self> {
        path.split('/')
            .try_fold(self, |here, name| here.children.iter_mut().find(|child| child.name == name))
    }

    /// Removes the children of that name.
    pub(super) fn remove(&mut self, name: &str) {
        self.children.retain(|child| child.name != name);
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(f, "{:depth$}<{}", "", self.name, depth = depth * 2)?;
        for (name, value) in &self.attributes {
            write!(f, " {name}=\"{}\"", escape(value.as_str()))?;
        }
        if self.children.is_empty() {
            return match self.text() {
                "" => writeln!(f, "/>"),
                text => writeln!(f, ">{}</{}>", escape(text), self.name),
            };
        }
        writeln!(f, ">")?;
        for child in &self.children {
            child.write(f, depth + 1)?;
        }
        writeln!(f, "{:depth$}</{}>", "", self.name, depth = depth * 2)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_back() {
        let text =
            r#"<?xml version="1.0"?><!-- x --><d a="1&quot;&lt;2"><n>a &amp; b &#60;</n> <e/></d>"#;
        let element = Element::parse(text).expect("a document");
        assert_eq!(element.attribute("a"), Some("1\"<2"));
        assert_eq!(element.at("n").map(Element::text), Some("a & b <"));
        assert_eq!(Element::parse(&element.to_string()), Ok(element));
    }

    #[test]
    fn broken_and_hostile_documents_are_refused() {
        for text in [
            "",
            "<a>",
            "<a><b></a>",
            "<a x=1/>",
            "<a>&unknown;</a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            &"<a>".repeat(100_000),
        ] {
            assert!(Element::parse(text).is_err(), "{:.40}", text);
        }
    }
}
