use super::schema::TEMPLATE;
use super::*;

fn mistakes(text: &str) -> Vec<String> {
    let mistakes = Config::parse(text).expect_err("the text has mistakes");
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_file_a_missing_file_and_the_template_are_the_defaults() {
    let defaults = Config::parse("").expect("an empty file is valid");
    assert_eq!(defaults.worker.slots, 4);
    assert_eq!(defaults.log.format, LogFormat::Text);
    assert_eq!(Config::parse(TEMPLATE).expect("the template is valid"), defaults);
    assert_eq!(Config::load(Path::new("/nowhere/drs.toml")).expect("defaults"), defaults);
}

#[test]
fn the_template_names_every_key_and_its_values_are_valid() {
    let full: String = TEMPLATE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = Config::parse(&full).expect("the defaults are valid");
    assert_eq!(config.vault.path.as_deref(), Some(Path::new("/srv/drs-vault")));
    for key in schema::KEYS {
        assert!(full.contains(&format!("\n{} = ", key.name)), "{} is missing", key.name);
    }
    let defaults = Config::parse("").expect("an empty file is valid");
    let cluster = config.cluster.as_ref().expect("a cluster");
    assert_eq!(cluster.amqp.url, "amqps://drs@rabbitmq.example/drs");
    assert_eq!(cluster.lanes, [drs_model::Lane::default()]);
    assert_eq!(
        Config {
            vault: defaults.vault.clone(),
            cluster: None,
            telemetry: defaults.telemetry.clone(),
            ..config
        },
        defaults
    );
}

#[test]
fn what_the_file_says_of_a_cluster_stays_when_the_environment_names_the_servers() {
    let text = "[cluster]\nlanes = [\"north\"]\nca_file = \"/etc/drs/ca.pem\"\n";
    let cluster = Config::parse(text).expect("it is valid").cluster.expect("a section");
    assert_eq!(cluster.lanes, ["north".parse().expect("a lane")]);
    assert_eq!(cluster.ca_file.as_deref(), Some(Path::new("/etc/drs/ca.pem")));
}

#[test]
fn the_template_takes_any_path_that_is_text() {
    for path in ["/srv/v", "/srv/a \"b\" c", "/srv/tab\tand\\slash", "/srv/#hash"] {
        let text = template(Some(Path::new(path))).expect("it is text");
        let config = Config::parse(&text).expect("it is valid");
        assert_eq!(config.vault.path.as_deref(), Some(Path::new(path)));
    }
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text =
        "[worker]\nslotz = 3\nlease_seconds = 1\n\n[log]\nlevel = 7\n[vualt]\npath = \"/x\"\n";
    assert_eq!(
        mistakes(text),
        [
            "line 2: unknown key in [worker]: slotz; did you mean slots?",
            "line 3: worker.lease_seconds must be from 3 to 3600, not 1",
            "line 6: log.level must be one of \"error\", \"warn\", \"info\", \"debug\", \"trace\", not 7",
            "line 7: unknown section vualt; did you mean vault?",
        ]
    );
}

#[test]
fn a_broken_line_does_not_hide_the_other_mistakes() {
    let told = mistakes("[worker]\nslots =\nattempts_max = \"five\"\n");
    assert!(told.iter().any(|mistake| mistake.starts_with("line 2: ")), "{told:?}");
    assert!(told.iter().any(|mistake| mistake.starts_with("line 3: ")), "{told:?}");
}

#[test]
fn wrong_types_are_told() {
    assert_eq!(
        mistakes("worker = 3\n[vault]\npath = \"relative\"\n[log]\nformat = true\n"),
        [
            "line 1: worker is a section, written [worker] on a line of its own",
            "line 3: vault.path must be a path in quotes that begins with /, not \"relative\"",
            "line 5: log.format must be one of \"text\", \"json\", not true",
        ]
    );
    assert_eq!(
        mistakes("[worker]\nslots = -1\n"),
        ["line 2: worker.slots must be from 1 to 256, not -1"]
    );
}
