//! Several processes on one file: this program starts itself again as the others.
#![expect(clippy::disallowed_methods, reason = "only real processes show what processes do")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use drs_backend::Backend;
use drs_backend_sqlite::SqliteBackend;
use drs_model::{Job, JobClass, JobId, JobSpec, Need, SignedDuration, Timestamp, VmRef};
use drs_protocol::store::ClaimAnswer;

const PROCESSES: usize = 4;
const JOBS: usize = 60;
const TTL: SignedDuration = SignedDuration::from_secs(600);
const CHILD: &str = "--as-child";

type Failed = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, child, duty, path, name] = arguments.as_slice()
        && child == CHILD
    {
        return act(duty, Path::new(path), name).await;
    }
    processes_that_open_a_new_file_at_once_all_succeed()?;
    processes_that_claim_the_same_jobs_never_share_one().await?;
    a_message_of_one_process_reaches_a_worker_of_another().await?;
    println!("ok: 3 checks with {PROCESSES} processes each");
    Ok(())
}

/// What a child does: it says when it is ready, waits for the word, and prints what it did.
async fn act(duty: &str, path: &Path, name: &str) -> Result<(), Failed> {
    if duty == "open" {
        ready()?;
        SqliteBackend::open(path)?;
        return Ok(());
    }
    let backend = SqliteBackend::open(path)?.backend();
    ready()?;
    match duty {
        "claim" => claim_all(&backend, name).await,
        _ => print_next(&backend).await,
    }
}

fn ready() -> Result<(), Failed> {
    println!("ready");
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

/// Claims the job that each line of the input names, and answers `claimed JOB TOKEN` or `not`.
async fn claim_all(backend: &Backend, name: &str) -> Result<(), Failed> {
    for line in std::io::stdin().lock().lines() {
        let job = job(line?.parse()?)?;
        let claim = backend.store.claim(Timestamp::now(), &(&job).into(), name, TTL).await?;
        if let ClaimAnswer::Claimed(job) = claim {
            println!("claimed {} {}", job.id, job.fence);
        } else {
            println!("not");
        }
    }
    Ok(())
}

async fn print_next(backend: &Backend) -> Result<(), Failed> {
    let delivery = backend.dispatch.next(&[JobClass::Normal], Duration::from_secs(30)).await?;
    println!("{}", delivery.ok_or("no message came")?.message.id);
    Ok(())
}

/// Jobs that all need places on one host, so that processes meet on jobs and on resources.
fn job(number: usize) -> Result<Job, Failed> {
    let vm: VmRef = format!("dc/vm{number}").parse()?;
    let needs = vec![Need::vm(vm.clone()), Need::host_slot(vm.host.clone(), JOBS as u32)];
    let id = JobId::from_key(&number.to_string());
    Ok(Job::new(id, JobSpec::backup(vm), needs, Timestamp::UNIX_EPOCH))
}

struct Other {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Other {
    fn start(duty: &str, path: &Path, name: &str) -> Result<Self, Failed> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([CHILD, duty])
            .arg(path)
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let mut other = Self { process, output: BufReader::new(output) };
        let mut line = String::new();
        other.output.read_line(&mut line)?;
        if line == "ready\n" { Ok(other) } else { Err(format!("got {line:?}").into()) }
    }

    fn say(&mut self, line: &str) -> Result<(), Failed> {
        let input = self.process.stdin.as_mut().ok_or("no input")?;
        Ok(input.write_all(format!("{line}\n").as_bytes())?)
    }

    fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Ends its input and returns what it still prints.
    fn lines(mut self) -> Result<Vec<String>, Failed> {
        drop(self.process.stdin.take());
        let lines = self.output.lines().collect::<Result<_, _>>()?;
        let status = self.process.wait()?;
        if status.success() {
            Ok(lines)
        } else {
            Err(format!("a child ended with {status}").into())
        }
    }
}

/// Starts the children, lets them go together and returns what they printed.
fn together(duty: &str, path: &Path) -> Result<Vec<Vec<String>>, Failed> {
    let mut others = Vec::new();
    for number in 0..PROCESSES {
        others.push(Other::start(duty, path, &format!("w{number}"))?);
    }
    others.iter_mut().try_for_each(|other| other.say("go"))?;
    others.into_iter().map(Other::lines).collect()
}

fn processes_that_open_a_new_file_at_once_all_succeed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for round in 0..10 {
        let path = folder.path().join(format!("{round}.db"));
        together("open", &path)?;
        SqliteBackend::open(&path)?;
    }
    Ok(())
}

async fn processes_that_claim_the_same_jobs_never_share_one() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("drs.db");
    let backend = SqliteBackend::open(&path)?.backend();
    let mut others = Vec::new();
    for number in 0..PROCESSES {
        others.push(Other::start("claim", &path, &format!("w{number}"))?);
    }
    others.iter_mut().try_for_each(|other| other.say("go"))?;
    let mut fences = Vec::new();
    for number in 0..JOBS {
        backend.store.create(&job(number)?).await?;
        others.iter_mut().try_for_each(|other| other.say(&number.to_string()))?;
        let mut owners = 0;
        for other in &mut others {
            if let Some((_, fence)) =
                other.line()?.strip_prefix("claimed ").and_then(|claim| claim.split_once(' '))
            {
                owners += 1;
                fences.push(fence.parse::<u64>()?);
            }
        }
        assert_eq!(owners, 1, "owners of job {number}");
    }
    for other in others {
        other.lines()?;
    }
    assert_eq!(fences.len(), JOBS);
    assert!(fences.is_sorted_by(|one, next| one < next), "each token is larger: {fences:?}");
    Ok(())
}

async fn a_message_of_one_process_reaches_a_worker_of_another() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("drs.db");
    let backend = SqliteBackend::open(&path)?.backend();
    let mut others = Vec::new();
    for number in 0..PROCESSES {
        others.push(Other::start("next", &path, &format!("w{number}"))?);
    }
    others.iter_mut().try_for_each(|other| other.say("go"))?;
    let mut sent = Vec::new();
    for number in 0..PROCESSES {
        let job = job(number)?;
        backend.dispatch.publish(&(&job).into()).await?;
        sent.push(job.id.to_string());
    }
    let mut came: Vec<String> = Vec::new();
    for other in others {
        came.extend(other.lines()?);
    }
    sent.sort();
    came.sort();
    assert_eq!(came, sent, "each worker got one message, and none two");
    Ok(())
}
