//! What every source file must be: small, well named, documented; and the adapters named in one.

use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["common", "core", "util", "utils", "helper", "helpers", "type", "types", "misc", "shared"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                rust_files(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    rust_files(&root(), &mut found);
    assert!(found.len() > 50, "the sources are found");
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source");
            (path.strip_prefix(root()).expect("inside").to_path_buf(), text)
        })
        .collect()
}

fn crate_roots() -> Vec<(PathBuf, String)> {
    sources()
        .into_iter()
        .filter(|(path, _)| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs"))
        .collect()
}

/// Lines of a file without its inline tests.
fn lines_without_tests(text: &str) -> usize {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count()
}

#[test]
fn the_first_line_of_every_crate_is_its_charter() {
    for (path, text) in crate_roots() {
        let first = text.lines().next().unwrap_or_default();
        let charter = first.strip_prefix("//! ").unwrap_or_else(|| {
            panic!("{} does not begin with its charter", path.display());
        });
        let sentence = charter.ends_with(['.', ':']) && charter.len() > 30;
        assert!(sentence, "{}: {charter:?} is no charter in one sentence", path.display());
    }
}

#[test]
fn nothing_bears_a_name_that_says_nothing() {
    for (path, _) in sources() {
        for part in path.components() {
            let name = part.as_os_str().to_string_lossy();
            let name = name.trim_end_matches(".rs");
            let the_shelf = path.starts_with("shared") && name == "shared";
            assert!(
                the_shelf || !EMPTY_NAMES.contains(&name),
                "{}: {name} says nothing",
                path.display()
            );
            assert_ne!(name, "mod", "{}: modules are foo.rs and foo/", path.display());
        }
    }
}

#[test]
fn files_are_at_most_800_lines() {
    for (path, text) in sources() {
        let lines = lines_without_tests(&text);
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", path.display());
    }
}

struct Functions {
    file: PathBuf,
    long: Vec<String>,
}

impl Functions {
    fn look(&mut self, name: &syn::Ident, body: &syn::Block) {
        let span = body.span();
        let lines = span.end().line - span.start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            self.long.push(format!("{}: {name} has {lines} lines", self.file.display()));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.look(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.look(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }
}

#[test]
fn functions_are_at_most_70_lines() {
    let mut long = Vec::new();
    for (file, text) in sources() {
        let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let mut functions = Functions { file, long: Vec::new() };
        functions.visit_file(&parsed);
        long.extend(functions.long);
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn the_adapters_are_named_in_one_file() {
    let adapters = [
        "drs_backend_sqlite",
        "AmqpDispatch",
        "RedisStore",
        "PostgresCatalog",
        "SshRemote",
        "ShellGuard",
        "LibvirtDriver",
        "ProxmoxDriver",
        "SimulatedDriver",
        "DirVault",
    ];
    for (path, text) in sources() {
        if !path.starts_with("cli/src") || path.ends_with("wiring.rs") {
            continue;
        }
        for adapter in adapters {
            assert!(!text.contains(adapter), "{} names {adapter}", path.display());
        }
    }
}

#[test]
fn nothing_is_left_undone_or_skipped() {
    let marks = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[ig", "nore")];
    for (path, text) in sources() {
        for mark in marks {
            assert!(!text.contains(mark), "{} has {mark}", path.display());
        }
    }
}
