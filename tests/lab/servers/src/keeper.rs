//! The process that ends a server, also when nobody is left to ask for it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::command;

/// By this variable a server's processes are known; its value is the server's directory.
const MARK: &str = "DRS_LAB_SERVER";

/// An order to the keeper: see `keeper.sh`.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Kill,
    Freeze,
    Thaw,
    LeaveDirectory,
}

/// Keeps one server. Dropped, or with this process gone, it ends the server's processes and removes the
/// directory.
pub(crate) struct Keeper {
    process: Child,
    /// Taken when the keeper is let go: its end is the keeper's end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// A keeper of the server in `dir`, out of reach of a terminal's Ctrl-C.
    pub(crate) fn of(dir: &Path) -> Self {
        let mut process = command::start(
            command::program("sh")
                .args(["-c", include_str!("keeper.sh"), "keeper"])
                .arg(dir)
                .current_dir("/")
                .env_remove(MARK)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .process_group(0),
        );
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("standard output is a pipe"));
        Self { process, orders, answers }
    }

    /// Makes a command's process, and all that it starts, the server's of `dir`.
    pub(crate) fn mark<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
        command.env(MARK, dir).current_dir(dir).process_group(0)
    }

    /// Gives an order and waits until it is carried out.
    pub(crate) fn obey(&mut self, order: Order) {
        let word = match order {
            Order::Kill => "KILL",
            Order::Freeze => "STOP",
            Order::Thaw => "CONT",
            Order::LeaveDirectory => "KEEP",
        };
        let orders = self.orders.as_mut().expect("a keeper listens until it is dropped");
        writeln!(orders, "{word}").expect("the keeper takes orders");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the keeper answers");
        assert_eq!(answer, "done\n", "the keeper of a server died");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
        // A panic here, amid another, would hide why the test failed.
        if let Err(e) = self.process.wait() {
            eprintln!("the keeper of a server is lost: {e}");
        }
    }
}
