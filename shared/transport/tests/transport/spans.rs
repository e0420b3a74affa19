//! What the spans of commands tell, and what they never tell.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use drs_transport::{Argv, HostGuard, Remote, ShellGuard};
use tokio::io::AsyncReadExt;
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::guard::grip;
use crate::sshd::{Sshd, eventually};

/// Every span's name, and every field that was ever recorded, as `name=value`.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn has(&self, text: &str) -> bool {
        self.0.lock().expect("heard").iter().any(|heard| heard == text)
    }

    fn all(&self) -> String {
        self.0.lock().expect("heard").join("\n")
    }
}

impl Visit for Heard {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.lock().expect("heard").push(format!("{}={value:?}", field.name()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.lock().expect("heard").push(format!("{}={value}", field.name()));
    }
}

impl<S: tracing::Subscriber> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.0.lock().expect("heard").push(attributes.metadata().name().to_owned());
        attributes.record(&mut self.clone());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

#[tokio::test]
async fn a_span_tells_the_program_and_how_it_ended_and_no_argument() {
    let (sshd, heard) = (Sshd::start(), Heard::default());
    let subscriber = tracing_subscriber::registry().with(heard.clone());
    // While there is but one, what another test meets first is held to be of no interest to anybody.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let work = async {
        let remote = sshd.remote();
        let argv = Argv::new("/bin/sh").args(["-c", "printf 12345; exit 3", "hush"]);
        remote.exec(&argv, Bytes::from_static(b"hush")).await.expect("it runs");
        for told in ["ssh.exec", "host=dc1", "program=sh", "code=3", "bytes=5"] {
            assert!(heard.has(told), "{told} is not in {}", heard.all());
        }
        let argv = Argv::new("printf").args(["%s", "hush"]);
        let mut spawned = remote.spawn(&argv).await.expect("it runs");
        let mut read = String::new();
        spawned.stream.read_to_string(&mut read).await.expect("read");
        spawned.exit.await.expect("it ends");
        for told in ["ssh.stream", "program=printf", "code=0", "bytes=4"] {
            assert!(heard.has(told), "{told} is not in {}", heard.all());
        }
        let guard = ShellGuard::new(remote);
        let argv = Argv::new("echo").arg("hush");
        guard.start(&grip("spans", 1), "step", &argv).await.expect("it starts");
        for told in ["verb=start", "program=drs-guard", "program=echo"] {
            assert!(heard.has(told), "{told} is not in {}", heard.all());
        }
        eventually("it has ended", async || {
            let status = guard.status(&grip("spans", 1), "step").await.expect("a status");
            matches!(status, drs_model::GuardStatus::Exit(_))
        })
        .await;
        assert!(!heard.all().contains("hush"), "{}", heard.all());
        let key = sshd.dir.path().display().to_string();
        assert!(!heard.all().contains(&key), "{}", heard.all());
    };
    work.with_subscriber(subscriber).await;
}
