//! The native form of a guest: a JSON object of file name and text, with the names that the files have
//! in an archive of Proxmox's own (`qemu-server.conf` and `qemu-server.fw`, or `pct.conf` and `pct.fw`).

use std::collections::BTreeMap;

use drs_model::VmForm;

use super::config::Config;
use super::guest::words;

/// A guest as its files tell it: its configuration without sections and lock, and its firewall rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Native {
    pub(super) form: VmForm,
    pub(super) config: Config,
    /// Empty when it has none.
    pub(super) firewall: String,
}

impl Native {
    /// The guest whose files have these texts.
    pub(super) fn new(form: VmForm, config: &str, firewall: &str) -> Self {
        let mut config = Config::parse(config);
        config.remove("lock");
        Self { form, config, firewall: firewall.to_owned() }
    }

    /// Reads the native form.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let files: BTreeMap<String, String> = serde_json::from_str(text)
            .map_err(|error| format!("it is not in our form: {error}"))?;
        let file = |name| files.get(name).map(String::as_str);
        let form = [VmForm::Machine, VmForm::Container]
            .into_iter()
            .find(|&form| files.contains_key(words(form).config))
            .ok_or("it has neither a qemu-server.conf nor a pct.conf")?;
        let words = words(form);
        let config = file(words.config).unwrap_or_default();
        Ok(Self::new(form, config, file(words.firewall).unwrap_or_default()))
    }

    /// Writes the native form.
    pub(super) fn text(&self) -> String {
        let words = words(self.form);
        let mut files = BTreeMap::from([(words.config, self.config.to_string())]);
        if !self.firewall.is_empty() {
            files.insert(words.firewall, self.firewall.clone());
        }
        serde_json::json!(files).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_native_form_reads_back_without_lock_and_sections() {
        let config = "#note\nlock: backup\nmemory: 64\n\n[snap]\nmemory: 1\n";
        let native = Native::new(VmForm::Machine, config, "[OPTIONS]\nenable: 1\n");
        assert_eq!(native.config.to_string(), "#note\nmemory: 64\n\n");
        assert_eq!(Native::parse(&native.text()), Ok(native));
        let container = Native::new(VmForm::Container, "arch: amd64\n", "");
        assert!(!container.text().contains("pct.fw"));
        assert_eq!(Native::parse(&container.text()), Ok(container));
        assert!(Native::parse("<domain/>").is_err() && Native::parse("{}").is_err());
    }
}
