use drs_model::{HostName, JobId, JobSpec, Timestamp, VmRef};

use super::*;

fn message() -> JobMessage {
    let vm: VmRef = "dc/web".parse().expect("a VM");
    let needs = vec![Need::vm(vm.clone()), Need::host_slot(vm.host.clone(), 2)];
    let job = Job::new(JobId::from_key("a"), JobSpec::backup(vm), needs, Timestamp::UNIX_EPOCH);
    JobMessage {
        trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
        ..(&job).into()
    }
}

fn reason(body: &[u8], properties: &BasicProperties) -> String {
    decode(body, properties).expect_err("it is not fit").0
}

#[test]
fn a_message_reads_back_and_carries_its_trace() {
    let (body, properties) = encode(&message()).expect("a small message");
    assert_eq!(decode(&body, &properties), Ok(message()));
    assert_eq!(decode(&body, &BasicProperties::default()), Ok(message()), "without headers");
    let trace = header(&properties, "traceparent").and_then(words);
    assert_eq!(trace, message().trace.map(|trace| trace.to_string()));
    let id = properties.message_id().as_ref().map(ToString::to_string);
    assert_eq!(id, Some(message().id.to_string()));
}

#[test]
fn a_version_that_is_not_known_is_told() {
    let (body, _) = encode(&message()).expect("a small message");
    for (version, says) in [
        (AMQPValue::LongInt(2), "its format is 2"),
        (text("7"), "its format is 7"),
        (AMQPValue::LongInt(0), "no number of a version"),
        (AMQPValue::Boolean(true), "no number of a version"),
    ] {
        let mut headers = FieldTable::default();
        headers.insert(VERSION_HEADER.into(), version);
        let said = reason(&body, &BasicProperties::default().with_headers(headers));
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn what_is_no_job_message_is_told_with_a_reason() {
    let none = BasicProperties::default();
    let json = |change: fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(message()).expect("JSON");
        change(&mut value);
        serde_json::to_vec(&value).expect("JSON")
    };
    for body in [
        b"".to_vec(),
        b"\xff\xfe".to_vec(),
        b"[]".to_vec(),
        b"{\"id\":".to_vec(),
        json(|value| value["id"] = 7.into()),
        json(|value| value["spec"]["kind"] = "fly".into()),
        json(|value| value["spec"] = serde_json::Value::Null),
        json(|value| value["class"] = "royal".into()),
        json(|value| value["lane"] = "a lane".into()),
        json(|value| value["needs"] = "vm:dc/web".into()),
    ] {
        let said = reason(&body, &none);
        assert!(said.starts_with("it is no job message: "), "{said}");
        assert!(said.chars().count() <= REASON_CHARS);
    }
    let said = reason(&vec![b' '; BYTES_MAX + 1], &none);
    assert!(said.contains("262144 are allowed"), "{said}");
}

#[test]
fn a_job_that_could_never_be_claimed_or_would_share_its_vm_is_no_job() {
    let none = BasicProperties::default();
    let vm: VmRef = "dc/web".parse().expect("a VM");
    let host = |i: usize| -> HostName { format!("h{i}").parse().expect("a host") };
    let slots = |n| (0..n).map(|i| Need::host_slot(host(i), 1));
    let own = Need::vm(vm.clone());
    for (needs, says) in [
        (vec![], "it does not ask for vm:dc/web"),
        (slots(7).collect(), "7 resources, 6 are allowed"),
        (vec![own.clone(), own.clone()], "twice"),
        (vec![own.clone(), Need::host_slot(host(0), 0)], "no 0 jobs can share host:h0"),
        (vec![Need { capacity: 2, ..own }], "no 2 jobs can share vm:dc/web"),
    ] {
        let body = serde_json::to_vec(&JobMessage { needs, ..message() }).expect("JSON");
        let said = reason(&body, &none);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_message_that_is_too_large_is_not_sent() {
    let vm: VmRef = "dc/web".parse().expect("a VM");
    let needs = vec![Need::vm(vm); 10_000];
    let refused = encode(&JobMessage { needs, ..message() }).expect_err("it is too large");
    assert!(refused.to_string().contains("262144 are allowed"), "{refused}");
}
