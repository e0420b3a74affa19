//! Values made of properties: `local:vm-112-disk-0,discard=on,size=8M`.

use std::fmt;

/// A value made of properties, read without loss.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::proxmox) struct Properties {
    /// Key, if any, and value.
    parts: Vec<(Option<String>, String)>,
}

impl Properties {
    /// Reads a value; every text is one.
    pub(in crate::proxmox) fn parse(text: &str) -> Self {
        let part = |part: &str| match part.split_once('=') {
            Some((key, value)) => (Some(key.to_owned()), value.to_owned()),
            None => (None, part.to_owned()),
        };
        match text.is_empty() {
            true => Self::default(),
            false => Self { parts: text.split(',').map(part).collect() },
        }
    }

    /// The value of a key.
    pub(in crate::proxmox) fn get(&self, key: &str) -> Option<&str> {
        self.pairs().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The value that stands without a key, or under the key that may be left out (`file`, `volume`,
    /// `enabled`).
    pub(in crate::proxmox) fn leading(&self, key: &str) -> Option<&str> {
        let bare = self.parts.iter().find(|(name, _)| name.is_none());
        bare.map(|(_, value)| value.as_str()).or_else(|| self.get(key))
    }

    /// Keys and values in their order.
    pub(in crate::proxmox) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().filter_map(|(key, value)| Some((key.as_deref()?, value.as_str())))
    }

    /// Gives a key a value, in its place or at the end.
    pub(in crate::proxmox) fn set(&mut self, key: &str, value: impl Into<String>) {
        match self.parts.iter_mut().find(|(name, _)| name.as_deref() == Some(key)) {
            Some((_, old)) => *old = value.into(),
            None => self.parts.push((Some(key.to_owned()), value.into())),
        }
    }

    /// Gives the value that stands without a key another one.
    pub(in crate::proxmox) fn set_leading(&mut self, key: &str, value: impl Into<String>) {
        match self.parts.iter_mut().find(|(name, _)| name.is_none()) {
            Some((_, old)) => *old = value.into(),
            None => self.set(key, value),
        }
    }

    /// Removes a key.
    pub(in crate::proxmox) fn remove(&mut self, key: &str) {
        self.parts.retain(|(name, _)| name.as_deref() != Some(key));
    }
}

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.parts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match key {
                Some(key) => write!(f, "{comma}{key}={value}")?,
                None => write!(f, "{comma}{value}")?,
            }
        }
        Ok(())
    }
}
